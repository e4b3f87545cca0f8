"""The videos of an index that may be among the best, and a certificate that no other one is.

The certificate is Fagin's threshold (Fagin, Lotem and Naor, "Optimal aggregation algorithms for middleware", PODS
2001): an index gives the videos with the largest dot products, of whole videos, of key images, or of both, as the model
scores. A video that none of them gave is bounded by the last dot product of each (`bounds`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import UsageError
from ..protocols import ExactIndex, Index
from ..types import Filter, FloatArray, IdArray, Level, Scoring, row_ids, video_of
from . import bounds
from .similarity import Gallery

_SCORED = 4_096  # videos whose vectors are read together

# Video numbers -> how many key images those have that may be shown; a number that is missing is passed over.
CountMoments = Callable[[Iterable[int]], Mapping[int, int]]
Search = Callable[[FloatArray, int, Filter], tuple[FloatArray, IdArray]]


@dataclass(frozen=True, slots=True)
class Candidates:
    """The numbers of videos that may be among the best of a query, and how many were `scored` to be sure of that."""

    numbers: frozenset[int]
    scored: int = 0


def exact_index(index: Index) -> ExactIndex:
    """Return an index that can search exactly. UsageError where it cannot."""
    if isinstance(index, ExactIndex):
        return index
    raise UsageError(
        f"an exact search needs an index that can search exactly; {type(index).__name__} cannot: "
        "leave out exact, or use the index auto, flat, faiss or milvus"
    )


def measured_reach(queries: FloatArray, scoring: Scoring, where: Filter, search: Search) -> bounds.Reach:
    """Return how far the z of queries (N, D) reaches in each block with a sigmoid, among what passes the filter."""
    reach = {}
    for block in scoring.blocks:
        if block.squash is None:
            continue
        probes = bounds.reach_probe(queries, scoring, block)
        largest, negated = search(np.concatenate([probes, -probes]), 1, where)[0].reshape(2, -1)
        if np.isfinite(largest).all():  # else there is nothing to search
            reach[block.name] = bounds.widened(-negated, largest, probes)
    return reach


class CandidateSearch:
    """Asks an index for candidates. `videos`: the numbers of those to search among; None for all."""

    def __init__(self, index: Index, scoring: Scoring, videos: frozenset[int] | None = None) -> None:
        self._index = index
        self._scoring = scoring
        weights: dict[Level, float] = {"video": 1 - scoring.moment_weight, "moment": scoring.moment_weight}
        self._levels = [(Filter(level, videos), weight) for level, weight in weights.items() if weight > 0]

    def nearest(self, queries: FloatArray, limit: int) -> list[Candidates]:
        """Return for each query (N, D) the videos of the `limit` best vectors of each level that counts."""
        answers = []
        for where, _ in self._levels:
            probes = self._bound(queries, where, self._index.search).probes
            ids = self._index.search(probes.reshape(-1, probes.shape[2]), limit, where)[1]
            answers += list(ids.reshape(*probes.shape[:2], -1))
        ids = np.concatenate(answers, axis=1)  # (N, candidates)
        return [Candidates(frozenset(np.unique(video_of(row[row >= 0])).tolist())) for row in ids]

    def certified(self, query: FloatArray, count: int, limit: int, count_moments: CountMoments) -> Candidates:
        """Return at most `limit` videos, among which are the best `count` of the whole collection.

        Scores that differ by no more than float32 rounds count as equal, and equal ones are all looked at.

        Args:
            query: (D,).
            count: how many are certified.
            limit: how many vectors are fetched first; twice as many each further time. At least `count`.
            count_moments: says which videos may be shown.

        Raises:
            UsageError: the index cannot search exactly.
        """
        search = exact_index(self._index).search_exact
        bound_of = [self._bound(query[None], where, search) for where, _ in self._levels]
        scores: dict[int, float] = {}
        seen: set[int] = set()
        fetched = limit
        while True:
            threshold, complete = 0.0, False
            numbers: set[int] = set()
            for (where, weight), bound in zip(self._levels, bound_of, strict=True):
                products, ids = search(bound.probes[:, 0], fetched, where)
                numbers |= set(np.unique(video_of(ids[ids >= 0])).tolist())
                complete |= bool((ids < 0).any()) or ids.shape[1] < fetched
                threshold += weight * float((products[:, -1] + bound.offsets[:, 0]).min())
            scores |= self._scores(query, count_moments(numbers - seen))
            seen |= numbers
            best = sorted(scores, key=lambda number: (-scores[number], number))[:limit]
            if complete or (len(best) >= count and scores[best[count - 1]] > threshold):
                return Candidates(frozenset(best), len(scores))
            fetched *= 2

    def _bound(self, queries: FloatArray, where: Filter, search: Search) -> bounds.Bound:
        """Return the bound of what passes the filter."""
        return bounds.bound(queries, self._scoring, measured_reach(queries, self._scoring, where, search))

    def _scores(self, query: FloatArray, moments: Mapping[int, int]) -> dict[int, float]:
        """Return the exact scores of videos, by number, from their stored vectors. moments: how many each has."""
        scores: dict[int, float] = {}
        numbers = sorted(moments)
        for first in range(0, len(numbers), _SCORED):
            block = numbers[first : first + _SCORED]
            ids = np.concatenate([row_ids(number, moments[number]) for number in block])
            values = Gallery.from_index(self._index, ids).score(query[None], self._scoring)[0]
            scores |= zip(block, values.tolist(), strict=True)
        return scores
