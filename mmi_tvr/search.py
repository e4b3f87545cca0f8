"""Search: a query -> the best moment of the best videos, with the seconds that every stage took.

Stage one asks the index for candidates, by whole videos and by single key images. Stage two scores the candidates
exactly, as the model says (`types.Scoring`). A re-ranker, where there is one, may then reorder the best of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, overload

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError
from .protocols import Index, Model, Reranker
from .scoring import relevance
from .scoring.joint import permutation
from .scoring.similarity import Gallery
from .types import Embeddings, Explanation, Filter, FloatArray, Hit, IdArray, Level, Query, moment_of, row_ids, video_of

MIN_CANDIDATES = 50  # stage one fetches at least so many vectors of each kind,
CANDIDATES_PER_HIT = 10  # and so many for each hit that is asked for

Entry = tuple[tuple[Path, ...], NDArray[np.float64]]  # paths of a video, and its segments (K, 3)
# Video numbers -> entries of those that may be shown; a number that is missing is passed over.
Lookup = Callable[[Iterable[int]], Mapping[int, Entry]]


class Relevance(Protocol):
    """Makes scores comparable across queries; `scoring.relevance.Relevance` is the one that a library uses."""

    def of(self, scores: FloatArray) -> FloatArray:
        """Relevance in 0..1 of scores (M,)."""
        ...


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a library a search could see: videos by state."""

    searched: int = 0
    pending: int = 0
    quarantined: int = 0


@dataclass(frozen=True)
class SearchResult(Sequence[Hit]):
    """The hits, best first, and what else is worth knowing. An empty result is an answer, too.

    `closest` is the best video of all where none was good enough to be a hit.
    """

    hits: tuple[Hit, ...]
    query: Query
    model: str
    seconds: Mapping[str, float]  # by stage, and "total"; "rerank.answer" and "rerank.judge" are parts of "rerank"
    coverage: Coverage = Coverage()
    closest: Hit | None = None

    def __len__(self) -> int:
        return len(self.hits)

    @overload
    def __getitem__(self, at: int) -> Hit: ...

    @overload
    def __getitem__(self, at: slice) -> tuple[Hit, ...]: ...

    def __getitem__(self, at: int | slice) -> Hit | tuple[Hit, ...]:
        return self.hits[at]


class Searcher:
    """Answers queries from an index. Holds nothing of the collection but what the index holds."""

    def __init__(self, model: Model, index: Index, lookup: Lookup, calibration: Relevance) -> None:
        self.model = model
        self.index = index
        self.lookup = lookup
        self.calibration = calibration

    def search(
        self,
        query: str | Query,
        top: int = 5,
        min_relevance: float | None = None,
        videos: frozenset[int] | None = None,
        reranker: Reranker | None = None,
    ) -> SearchResult:
        """The `top` best videos, among `videos` if given, in the order of the `reranker` if given.

        With `min_relevance` each hit has at least that relevance. Without, the best one has the relevance from which
        the model's hits are to be believed (`Scoring.min_relevance`), or nothing is found; re-ranking does not change
        that (decision): the relevance is that of the search's own score.
        Equal scores are ordered by video number. Raises UsageError for an empty query, `top` below 1 or
        `min_relevance` outside 0..1.
        """
        query = checked_query(query)
        if top < 1:
            raise UsageError(f"a search returns at least 1 hit, not {top}")
        if min_relevance is not None and not 0 <= min_relevance <= 1:
            raise UsageError(f"min_relevance lies between 0 and 1, not {min_relevance}")
        clock = _Clock()
        with clock.stage("embed"):
            vector = np.asarray(self.model.embed_queries([query]), dtype=np.float32)  # (1, D)
        with clock.stage("search"):
            found = self.lookup(self._candidates(vector, max(MIN_CANDIDATES, CANDIDATES_PER_HIT * top), videos))
        with clock.stage("score"):
            ranking = self._score(vector, found)
        found_score = ranking.scores[:1]  # the best
        if reranker is not None and len(ranking.numbers):
            with clock.stage("rerank"):
                best = ranking.first(reranker.depth)
                ranking = ranking.reordered(reranker.rerank(query, best.numbers, best.scores))
            clock.add("rerank", reranker.seconds)
        with clock.stage("relevance"):
            hits = self._hits(ranking.first(top), vector[0])
            believed = bool((self.calibration.of(found_score) >= self.model.scoring.min_relevance).any())
        if min_relevance is not None:
            kept = tuple(hit for hit in hits if hit.relevance >= min_relevance)
        else:
            kept = tuple(hits) if believed else ()
        closest = hits[0] if hits and not kept else None
        return SearchResult(kept, query, self.model.name, clock.seconds(), closest=closest)

    def _candidates(self, vector: FloatArray, limit: int, videos: frozenset[int] | None) -> list[int]:
        """Numbers of the videos that may be among the best, from the kinds of vectors that count for the score."""
        weight = self.model.scoring.moment_weight
        counts: tuple[tuple[Level, bool], ...] = (("video", weight < 1), ("moment", weight > 0))
        ids = [self.index.search(vector, limit, Filter(level, videos))[1][0] for level, used in counts if used]
        found = np.concatenate(ids)
        return [int(number) for number in np.unique(video_of(found[found >= 0]))]

    def _score(self, vector: FloatArray, found: Mapping[int, Entry]) -> _Ranking:
        """Exact scores of the candidates from their stored vectors, best first."""
        numbers = sorted(found)
        if not numbers:
            return _Ranking(np.empty(0, np.int64), np.empty(0, np.float32), [], [])
        ids = np.concatenate([row_ids(number, len(found[number][1])) for number in numbers])
        gallery = gallery_of(self.index, ids)
        scores = gallery.score(vector, self.model.scoring)[0]
        vectors = [
            Embeddings(gallery.videos[at], gallery.moments[first:last], found[number][1])
            for at, (number, first, last) in enumerate(
                zip(numbers, gallery.offsets[:-1], gallery.offsets[1:], strict=True)
            )
        ]
        paths = [found[number][0] for number in numbers]
        return _Ranking(np.array(numbers, dtype=np.int64), scores, paths, vectors).sorted(scores)

    def _hits(self, ranking: _Ranking, query: FloatArray) -> list[Hit]:
        """One hit a video: its best moment."""
        if not len(ranking.numbers):
            return []
        found = self.calibration.of(ranking.scores)
        hits = []
        for at, vectors in enumerate(ranking.vectors):
            cosines = vectors.moments @ query
            best = int(np.argmax(cosines))
            start, end, moment = (float(second) for second in vectors.segments[best])
            parts = {"video": float(vectors.video @ query), "moment": float(cosines[best])}
            path, *also = ranking.paths[at]
            score, why = float(ranking.scores[at]), ranking.why.get(int(ranking.numbers[at]))
            parts |= _parts(why) if why else {}
            hits.append(Hit(path, start, end, moment, score, float(found[at]), parts, tuple(also), why))
        return hits


@dataclass(frozen=True)
class _Ranking:
    """Candidates side by side: numbers and scores (n,), paths, vectors."""

    numbers: IdArray
    scores: FloatArray
    paths: Sequence[tuple[Path, ...]]
    vectors: Sequence[Embeddings]
    why: Mapping[int, Explanation] = field(default_factory=dict)  # by number, after a re-ranking

    def sorted(self, scores: FloatArray) -> _Ranking:
        """Ordered by these scores; ties go to the smaller number."""
        return self._take(np.lexsort((self.numbers, -np.asarray(scores))), np.asarray(scores))

    def reordered(self, explanations: Sequence[Explanation]) -> _Ranking:
        """The first ones, which are explained, in the order that this means; behind them the rest."""
        count = len(explanations)
        first = permutation([each.joint_score for each in explanations])
        order = np.array([*first, *range(count, len(self.numbers))], dtype=np.intp)
        why = {int(number): each for number, each in zip(self.numbers[:count], explanations, strict=True)}
        return replace(self, why=why)._take(order, self.scores)

    def first(self, count: int) -> _Ranking:
        return self._take(np.arange(min(count, len(self.numbers))), self.scores)

    def _take(self, order: NDArray[np.intp], scores: FloatArray) -> _Ranking:
        paths, vectors = [self.paths[at] for at in order], [self.vectors[at] for at in order]
        return _Ranking(self.numbers[order], scores[order], paths, vectors, self.why)


def gallery_of(index: Index, ids: IdArray) -> Gallery:
    """Stored vectors of whole videos; `ids` are theirs, each video's own before its moments; KeyError if unknown."""
    stored = index.get(ids)
    own = moment_of(ids) < 0
    offsets = np.append(np.flatnonzero(own) - np.arange(np.count_nonzero(own)), np.count_nonzero(~own))
    return Gallery(stored[own], stored[~own], offsets)


def calibrated(model: Model, index: Index) -> Relevance:
    """The relevance of scores on this collection, from an even sample of its videos."""
    ids = index.ids()
    first = np.flatnonzero(moment_of(ids) < 0)  # where each video begins
    chosen = np.unique(np.linspace(0, len(first) - 1, min(len(first), relevance.SAMPLE)).astype(np.int64))
    sample = np.isin(video_of(ids), video_of(ids[first[chosen]]))
    return relevance.calibrate(model, gallery_of(index, ids[sample]), len(first))


def checked_query(query: str | Query) -> Query:
    """A query that any tokenizer can read. Raises UsageError where there is nothing in it.

    >>> checked_query("a dog \\ud800").text
    'a dog ?'
    """
    query = Query(query) if isinstance(query, str) else query
    text = query.text.encode("utf-8", "replace").decode()  # half characters from a terminal's wrong encoding
    if not text.replace("\0", " ").strip():
        raise UsageError('the query is empty: describe what happens, for example "a dog catches a ball"')
    return Query(text)


def _parts(why: Explanation) -> dict[str, float]:
    named = {"cosine": why.cosine, "probability": why.probability, "joint": why.joint_score}
    return {name: value for name, value in named.items() if value is not None}


class _Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._stages[name] = time.perf_counter() - started

    def add(self, stage: str, parts: Mapping[str, float]) -> None:
        """Seconds of a stage's own parts."""
        self._stages |= {f"{stage}.{part}": seconds for part, seconds in parts.items()}

    def seconds(self) -> dict[str, float]:
        return {**self._stages, "total": time.perf_counter() - self._started}
