"""Average precision and normalised discounted cumulative gain where candidates fit queries to a degree, in 0..1, as
the multi-instance retrieval of EPIC-KITCHENS-100 measures them (Damen et al., IJCV 2022, section 5.5).

- nDCG: of a query with K candidates of any relevance, the first K that are ranked count: the sum of their relevances,
  each divided by log2(1 + rank), and divided by the same sum of the best order.
- mAP: the average, over a query's full matches (relevance 1), of the precision at the rank of each; at rank k that is
  the sum of the relevances so far divided by k. Partial matches add to it, so it is no average precision of full
  matches alone: random scores get about the mean relevance. With relevances 0 and 1 it is the usual one.

Queries without a full match are left out of both. Decision: among equal scores the less relevant candidate comes first,
and scores that are closer than a `tolerance` are equal, as in `metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import MetricsError
from ..types import FloatArray, IdArray
from ..utils.tables import interval, text_table
from .bootstrap import bootstrap_means, numbered_groups
from .metrics import DirectionBlocks

NAMES = ("mAP", "nDCG")
_CELLS = 1 << 26  # scores held, where columns are ranked
_HEIGHT = 256  # rows, or columns, looked at together

# Numbers of rows (R,) and columns (C,) -> how well they fit each other (R, C), in 0..1.
Relevance = Callable[[IdArray, IdArray], FloatArray]


@dataclass(frozen=True, slots=True)
class GradedMetrics:
    """The mean average precision and nDCG of `n` queries in percent; `ci95` holds (low, high) under `NAMES`."""

    n: int
    mean_ap: float
    ndcg: float
    ci95: Mapping[str, tuple[float, float]]

    def values(self) -> dict[str, float]:
        """Return the two numbers under the field's names."""
        return dict(zip(NAMES, (self.mean_ap, self.ndcg), strict=True))

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"n": self.n, **self.values(), "ci95": {name: list(ends) for name, ends in self.ci95.items()}}


@dataclass(frozen=True, slots=True)
class GradedDirections:
    """The graded metrics of both directions, and the means of the two, by which systems are compared."""

    t2v: GradedMetrics
    v2t: GradedMetrics

    def mean(self) -> dict[str, float]:
        """Return the mean of both directions under the field's names."""
        return {name: (value + self.v2t.values()[name]) / 2 for name, value in self.t2v.values().items()}

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"t2v": self.t2v.as_dict(), "v2t": self.v2t.as_dict(), "mean": self.mean()}

    def lines(self) -> list[str]:
        """Return the numbers as aligned plain text."""
        rows = [["by degree", "n", *NAMES]]
        for title, numbers in (("text-to-video", self.t2v), ("video-to-text", self.v2t)):
            cells = [interval(value, *numbers.ci95[name]) for name, value in numbers.values().items()]
            rows.append([title, f"{numbers.n:,}", *cells])
        rows.append(["mean of both", "", *(f"{value:.1f}" for value in self.mean().values())])
        return text_table(rows)


def graded_metrics(
    blocks: DirectionBlocks,
    relevance: Relevance,
    row_groups: Sequence[Hashable],
    column_groups: Sequence[Hashable],
    tolerance: float = 0.0,
) -> GradedDirections:
    """Measure how early rows find the columns that fit them, and columns the rows, by degree.

    Args:
        blocks: Consecutive rows of the scores (N, M), larger is better; those of `v2t` are gone through again for
            each set of columns that fits into memory.
        relevance: How well rows fit columns, by their numbers.
        row_groups: What each row belongs to (N,); in the bootstrap, whole groups are drawn.
        column_groups: What each column belongs to (M,).
        tolerance: Scores that are closer are equal.
    Raises:
        MetricsError: A score is NaN, or no row has a full match.
    """
    columns = np.arange(len(column_groups))
    rows = np.arange(len(row_groups))
    t2v, start = [], 0
    for block in blocks.t2v():
        here = rows[start : start + len(block)]
        t2v.append(precision_and_gain(block, relevance(here, columns), tolerance))
        start += len(block)
    v2t = []
    width = max(1, _CELLS // max(1, len(rows)))
    for first in range(0, len(columns), width):
        held = np.concatenate([block[:, first : first + width] for block in blocks.v2t()])
        for start in range(0, held.shape[1], _HEIGHT):
            here = columns[first + start : first + min(start + _HEIGHT, held.shape[1])]
            v2t.append(precision_and_gain(held[:, start : start + _HEIGHT].T, relevance(rows, here).T, tolerance))
    return GradedDirections(_summary(np.concatenate(t2v), row_groups), _summary(np.concatenate(v2t), column_groups))


def full_matches(relevance: Relevance, rows: int, columns: int) -> list[IdArray]:
    """Return the columns that fit each of N rows fully."""
    every = np.arange(columns)
    return [
        np.flatnonzero(of_row == 1)
        for start in range(0, rows, _HEIGHT)
        for of_row in relevance(np.arange(start, min(start + _HEIGHT, rows)), every)
    ]


def precision_and_gain(scores: FloatArray, relevance: FloatArray, tolerance: float = 0.0) -> FloatArray:
    """Return average precision and nDCG (see the module) of each query (Q, 2); NaN where it has no full match.

    Args:
        scores: Of Q queries with N candidates (Q, N), larger is better.
        relevance: How well they fit, (Q, N) in 0..1.
        tolerance: Scores that are closer are equal.
    Raises:
        MetricsError: A score is NaN.

    >>> precision_and_gain(np.array([[0.9, 0.8, 0.1]]), np.array([[0.5, 1.0, 0.0]])).round(3)
    array([[0.75, 0.86]])
    """
    if np.isnan(scores).any():
        raise MetricsError("a similarity is NaN and has no rank")
    ranked = _ranked_relevance(scores, relevance, tolerance)
    full = ranked == 1
    precision = np.cumsum(ranked, axis=1) / np.arange(1, ranked.shape[1] + 1)
    discount = 1 / np.log2(np.arange(2, ranked.shape[1] + 2))
    ideal = -np.sort(-relevance.astype(np.float64), axis=1)
    gain, best = ((order * discount * (ideal > 0)).sum(axis=1) for order in (ranked, ideal))
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: no full match
        average_precision = (precision * full).sum(axis=1) / full.sum(axis=1)
    return np.column_stack([average_precision, np.where(full.any(axis=1), gain / np.where(best > 0, best, 1), np.nan)])


def _ranked_relevance(scores: FloatArray, relevance: FloatArray, tolerance: float) -> FloatArray:
    """Return each query's relevances in the order of its scores, the less relevant of equal ones first (Q, N)."""
    order = np.argsort(-scores, axis=1, kind="stable")
    descending = np.take_along_axis(scores, order, axis=1)
    ties = np.zeros(order.shape, dtype=np.int64)  # the number of each candidate's run of equal scores
    ties[:, 1:] = np.cumsum(descending[:, :-1] - descending[:, 1:] > tolerance, axis=1)
    ranked = np.take_along_axis(relevance, order, axis=1).astype(np.float64)
    return np.take_along_axis(ranked, np.lexsort((ranked, ties), axis=1), axis=1)


def _summary(values: FloatArray, groups: Sequence[Hashable]) -> GradedMetrics:
    """Return the means of the queries' values (Q, 2), without those that have no full match."""
    there = ~np.isnan(values[:, 0])
    if not there.any():
        raise MetricsError("no query has a full match among the candidates: there is nothing to measure")
    percent = 100 * values[there]
    numbers = numbered_groups([group for group, is_there in zip(groups, there, strict=True) if is_there], len(percent))
    ends = bootstrap_means(percent, numbers)
    mean_ap, ndcg = percent.mean(axis=0).tolist()
    intervals = {name: (float(low), float(high)) for name, low, high in zip(NAMES, *ends, strict=True)}
    return GradedMetrics(len(percent), mean_ap, ndcg, intervals)
