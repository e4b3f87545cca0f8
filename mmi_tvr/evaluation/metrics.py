"""Exact ranks and average precision from blocks of similarities, recalls with their intervals, and nothing of size
N x M in memory.

The rank of a query is 1 + the number of wrong candidates whose score is at least that of its best right candidate
(decision: ties are pessimistic, a wrong candidate with an equal score counts as ahead; a right one never does).
The order is that of the numbers: +inf equals +inf and is a tie, a right candidate at -inf stands behind every wrong
one. NaN has no place in an order and raises. A `tolerance` widens what counts as equal: the same two vectors multiply
to results that differ in the last bits with their place in a matrix, so copies of a video tie only up to rounding.

Several captions per video (`PROTOCOL`):
- text-to-video, "every caption": each caption is a query of its own among all videos;
- video-to-text, "best caption": a video is one query among all captions, and its rank is that of the best-ranked of
  its own captions; its other captions are right answers too and are never counted ahead.
Where every video has one caption, both are the usual ranks. (CLIP4Clip's video-to-text compares each video's best
caption alone with the best of every other video; fewer captions can stand ahead, and its recalls are no lower.)
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import MetricsError
from ..types import FloatArray, IdArray
from ..utils.intervals import wilson
from ..utils.wording import counted
from .bootstrap import drawn_numbers, group_draws, is_point, numbered_groups, two_sided_p
from .score_blocks import CELLS, Blocks, GroundTruth, RightPairs, slices

PROTOCOL: Mapping[str, str] = {"t2v": "every caption", "v2t": "best caption"}
NAMES = ("R@1", "R@5", "R@10", "MdR", "MnR")
DEPTHS = (1, 5, 10)

# Scores of unit vectors in float32 that are closer than this are ties (decision): the `tolerance` of a model's scores.
SCORE_TOLERANCE = 1e-6

MakeBlocks = Callable[[], Blocks]


class DirectionBlocks(NamedTuple):
    """Blocks whose rows are to be ranked (text-to-video), and blocks whose columns are (video-to-text)."""

    t2v: MakeBlocks
    v2t: MakeBlocks


class DirectionRanks(NamedTuple):
    """1-based ranks of both directions: `t2v` (N,) of the rows, and `v2t` (C,) of the columns `columns` (C,).

    `columns` are ascending: those that are right for at least one row.
    """

    t2v: IdArray
    v2t: IdArray
    columns: IdArray


@dataclass(frozen=True, slots=True)
class Metrics:
    """Recalls in percent, median and mean rank of `n` queries; `ci95` holds (low, high) under the same five names."""

    n: int
    r1: float
    r5: float
    r10: float
    mdr: float
    mnr: float
    ci95: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def values(self) -> dict[str, float]:
        """Return the five numbers under the field's names."""
        return dict(zip(NAMES, (self.r1, self.r5, self.r10, self.mdr, self.mnr), strict=True))

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: R@1, R@5, R@10, MdR, MnR, and ci95 with a [low, high] for each of them."""
        return {**self.values(), "ci95": {name: list(interval) for name, interval in self.ci95.items()}}


class DirectionMetrics(NamedTuple):
    """The metrics of both directions."""

    t2v: Metrics
    v2t: Metrics


def columns_of_videos(rows: Sequence[Hashable], columns: Sequence[Hashable]) -> list[list[int]]:
    """Return for each row the columns that show its video, which are right for it.

    >>> columns_of_videos(["b", "a"], ["a", "b", "a"])
    [[1], [0, 2]]
    """
    of_video: dict[Hashable, list[int]] = {}
    for column, video in enumerate(columns):
        of_video.setdefault(video, []).append(column)
    return [of_video[video] for video in rows]


def ranks(blocks: Blocks, ground_truth: GroundTruth, tolerance: float = 0.0) -> IdArray:
    """Rank each query's best right candidate among all candidates, in one pass.

    Args:
        blocks: Consecutive rows of the similarity matrix, each (rows, M), larger is better; float16 is read as float32.
        ground_truth: For each of the N rows, the set of its right candidates (column numbers).
        tolerance: A wrong candidate up to so much below the best right one counts as a tie with it.

    Returns:
        Ranks (N,), 1-based. Ties, infinities: see the module.

    Raises:
        MetricsError: For NaN, an empty set of right candidates, a candidate that does not exist, blocks that do not
            add up to N rows, and no rows at all.

    >>> ranks([np.array([[0.9, 0.1, 0.9]]), np.array([[0.2, 0.8, 0.3]])], ground_truth=[{0}, {1, 2}])
    array([2, 1])
    """
    pairs = RightPairs(ground_truth)
    row_ranks = np.empty(len(pairs), dtype=np.int64)
    for start, block in slices(blocks, pairs):
        rows = slice(start, start + len(block))
        row_ranks[rows] = _row_ranks(block, *pairs.within(rows), tolerance)
    return row_ranks


def average_precision(blocks: Blocks, ground_truth: GroundTruth, tolerance: float = 0.0) -> NDArray[np.float64]:
    """Return the average precision of each query in percent (N,): the mean, over its right candidates, of the share of
    right ones among all down to that one.

    Ties are as in `ranks`: wrong candidates stand before right ones of an equal score. scikit-learn's
    `average_precision_score` takes equal scores as one step instead, and is no lower; without ties both are the same.

    Args:
        blocks, ground_truth, tolerance: As in `ranks`.

    Raises:
        MetricsError: As `ranks` does.

    >>> average_precision([np.array([[0.9, 0.8, 0.7], [0.5, 0.5, 0.5]])], ground_truth=[{0, 2}, {1}]).round(1)
    array([83.3, 33.3])
    """
    pairs = RightPairs(ground_truth)
    precisions = np.empty(len(pairs))
    for start, block in slices(blocks, pairs):
        rows, columns = pairs.within(slice(start, start + len(block)))
        ends = np.searchsorted(rows, np.arange(len(block) + 1))
        for row, scores in enumerate(block):
            right = np.sort(scores[columns[ends[row] : ends[row + 1]]])[::-1]
            precisions[start + row] = 100 * _precision(right, np.sort(scores), tolerance)
    return precisions


def _precision(right: FloatArray, scores: FloatArray, tolerance: float) -> float:
    """Return the average precision (0..1) of right candidates, whose scores descend, among all, whose scores ascend."""
    bounds = right - tolerance
    ahead = len(scores) - np.searchsorted(scores, bounds, side="left")
    right_ahead = len(right) - np.searchsorted(right[::-1], bounds, side="left")
    places = np.arange(1, len(right) + 1)
    return float(np.mean(places / (places + ahead - right_ahead)))


def both_directions(make_blocks: MakeBlocks, ground_truth: GroundTruth, tolerance: float = 0.0) -> DirectionRanks:
    """Rank the rows among the columns, and the columns among the rows, from row blocks alone.

    The first pass ranks the rows and notes the scores of the right pairs; the second counts, for each column, the wrong
    rows at or above its best. Memory: O(N + M + right pairs) and one slice of a block.

    Args:
        make_blocks: Is called twice and gives the same blocks each time (as in `ranks`).
        ground_truth: As in `ranks`. A column that is right for no row is a distractor: it takes part and has no rank.
        tolerance: As in `ranks`.

    Raises:
        MetricsError: As `ranks` does.
    """
    pairs = RightPairs(ground_truth)
    row_ranks = np.empty(len(pairs), dtype=np.int64)
    right_scores: list[FloatArray] = []
    for start, block in slices(make_blocks(), pairs):
        rows, columns = pairs.within(slice(start, start + len(block)))
        row_ranks[start : start + len(block)] = _row_ranks(block, rows, columns, tolerance)
        right_scores.append(block[rows, columns])
    scores: FloatArray = np.concatenate(right_scores)
    best = np.full(pairs.width, -np.inf, dtype=scores.dtype)
    np.maximum.at(best, pairs.columns, scores)
    best -= tolerance
    ahead = np.zeros(pairs.width, dtype=np.int64)
    for start, block in slices(make_blocks(), pairs):
        rows, columns = pairs.within(slice(start, start + len(block)))
        # A distractor's column is compared too (with -inf) and never read: cheaper than leaving it out.
        ahead += np.count_nonzero(block[:, : pairs.width] >= best, axis=0)
        np.subtract.at(ahead, columns, block[rows, columns] >= best[columns])
    ranked_columns = np.unique(pairs.columns)
    return DirectionRanks(row_ranks, ahead[ranked_columns] + 1, ranked_columns)


def ranks_of_directions(blocks: DirectionBlocks, ground_truth: GroundTruth, tolerance: float = 0.0) -> DirectionRanks:
    """Rank both directions where each has scores of its own (re-ranking, normalisations); else as `both_directions`."""
    t2v = ranks(blocks.t2v(), ground_truth, tolerance)
    by_column = both_directions(blocks.v2t, ground_truth, tolerance)
    return DirectionRanks(t2v, by_column.v2t, by_column.columns)


def summary(
    query_ranks: Sequence[int] | IdArray,
    groups: Sequence[Hashable] | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Metrics:
    """Return recalls, median and mean rank, with 95 % intervals from the percentile bootstrap
    (Efron and Tibshirani 1993, chapter 13).

    Captions of one video rise and fall together, so whole groups are drawn, with replacement (cluster bootstrap,
    decision: drawing captions would show intervals that are too narrow). The candidates stay as they are, so an
    interval speaks of other queries to this collection. Where every resample has the same recall (0 or 100 %, or one
    group alone), the interval is Wilson's (1927), with the groups as the sample size (decision: the queries of a group
    are one). The ranks of one group alone are drawn one by one.

    Args:
        query_ranks: 1-based ranks (N,).
        groups: What each query belongs to, here its video (N,); None: every query is its own group.
        resamples: How often the groups are drawn; 0 leaves the intervals out.
        seed: Of the draws.

    Raises:
        MetricsError: Where there is nothing to summarise or a rank is below 1.
    """
    ranked = np.asarray(query_ranks)
    if ranked.ndim != 1 or ranked.size == 0:
        raise MetricsError(f"a summary needs a row of at least one rank, not an array of shape {ranked.shape}")
    if ranked.dtype.kind not in "iu" or ranked.min() < 1:
        raise MetricsError("ranks are whole numbers from 1 upwards")
    group_numbers = numbered_groups(groups, len(ranked))
    r1, r5, r10, mdr, mnr = _statistics(np.sort(ranked), np.ones((1, len(ranked)), dtype=np.int64))[:, 0].tolist()
    intervals = {}
    if resamples:
        ends = np.percentile(_resampled(ranked, drawn_numbers(group_numbers), resamples, seed), [2.5, 97.5], axis=1)
        intervals = {name: (float(low), float(high)) for name, low, high in zip(NAMES, *ends, strict=True)}
        group_count = int(group_numbers.max()) + 1
        for name, recall in zip(NAMES, (r1, r5, r10), strict=False):
            if group_count == 1 or is_point(*intervals[name]):
                intervals[name] = wilson(recall / 100, group_count)
    return Metrics(len(ranked), r1, r5, r10, mdr, mnr, intervals)


class Difference(NamedTuple):
    """Of one number between two runs: `value`, its 95 % interval, and the two-sided bootstrap `p` of no difference."""

    value: float
    low: float
    high: float
    p: float


def paired_bootstrap(
    baseline: Sequence[int] | IdArray,
    contender: Sequence[int] | IdArray,
    groups: Sequence[Hashable] | None = None,
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> dict[str, Difference]:
    """Return how much `contender` is above `baseline`, by name of the number.

    The same groups are drawn for both (paired bootstrap; Efron and Tibshirani 1993, chapters 13 and 16), which takes
    out what makes queries hard for either. Few groups are little evidence (`two_sided_p`): of one alone p is 1, and its
    queries are drawn one by one.

    Args:
        baseline: 1-based ranks (N,) of one run.
        contender: Ranks (N,) of another, of the same queries in the same order.
        groups: As in `summary`.
        resamples: How often the groups are drawn.
        seed: Of the draws.

    Raises:
        MetricsError: Where the lengths differ, or as in `summary`.
    """
    if len(baseline) != len(contender):
        raise MetricsError(
            f"{len(baseline)} and {counted(len(contender), 'rank')}: a paired test needs the same queries"
        )
    before, after = (summary(side, resamples=0).values() for side in (baseline, contender))
    group_numbers = numbered_groups(groups, len(baseline))
    resampled_before, resampled_after = (
        _resampled(np.asarray(side), drawn_numbers(group_numbers), resamples, seed) for side in (baseline, contender)
    )
    gaps = resampled_after - resampled_before  # (5, S)
    low, high = np.percentile(gaps, [2.5, 97.5], axis=1)
    p = two_sided_p(gaps.T, int(group_numbers.max()) + 1)
    return {
        name: Difference(after[name] - before[name], float(low[row]), float(high[row]), float(p[row]))
        for row, name in enumerate(NAMES)
    }


@dataclass(frozen=True, slots=True)
class DirectionGroups:
    """What is drawn together in the bootstrap: the video of each row (N,), and that of each column (M,)."""

    rows: Sequence[Hashable]
    columns: Sequence[Hashable]

    def summary(self, ranks: DirectionRanks) -> DirectionMetrics:
        """Return the metrics of both directions."""
        return DirectionMetrics(summary(ranks.t2v, self.rows), summary(ranks.v2t, self._described(ranks)))

    def gains(self, before: DirectionRanks, after: DirectionRanks) -> dict[str, Mapping[str, Difference]]:
        """Return what `after` gains over `before`, by direction (paired bootstrap)."""
        return {
            "t2v": paired_bootstrap(before.t2v, after.t2v, self.rows),
            "v2t": paired_bootstrap(before.v2t, after.v2t, self._described(before)),
        }

    def _described(self, ranks: DirectionRanks) -> list[Hashable]:
        """Return the videos that the video-to-text ranks belong to."""
        return [self.columns[column] for column in ranks.columns]


def sum_of_recalls(t2v: Metrics, v2t: Metrics) -> float:
    """Return SumR: the six recalls of both directions added up; at most 600."""
    return t2v.r1 + t2v.r5 + t2v.r10 + v2t.r1 + v2t.r5 + v2t.r10


def recalls_by_video(t2v: Sequence[int] | IdArray, v2t: Sequence[int] | IdArray) -> FloatArray:
    """Return what each of N videos with one caption adds to SumR (N,): SumR is the mean.

    Args:
        t2v: Ranks of the captions (N,), 1-based.
        v2t: Ranks of the videos (N,), in the same order.
    """
    ranks = np.array([t2v, v2t])  # (2, N)
    added: FloatArray = 100.0 * sum((ranks <= depth).sum(axis=0) for depth in DEPTHS)
    return added


def _row_ranks(block: FloatArray, rows: IdArray, columns: IdArray, tolerance: float) -> IdArray:
    """Return the rank of each row of a block, whose right pairs are (rows[p], columns[p])."""
    right_scores = block[rows, columns]
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    best = np.maximum.reduceat(right_scores, starts) - tolerance
    ahead = np.count_nonzero(block >= best[:, None], axis=1)
    right_ahead = np.add.reduceat(right_scores >= best[rows], starts, dtype=np.int64)  # not ahead of themselves
    ranked: IdArray = ahead - right_ahead + 1
    return ranked


def _statistics(ranked: IdArray, weights: IdArray) -> FloatArray:
    """Return R@1, R@5, R@10, MdR, MnR (5, S) of ascending ranks (N,), taken weights (S, N) times each."""
    counts = weights.cumsum(axis=1)
    total = counts[:, -1]
    within = [np.searchsorted(ranked, depth, side="right") for depth in DEPTHS]
    recalls = [100.0 * counts[:, n - 1] / total if n else np.zeros(len(total)) for n in within]
    middle = [(counts <= place[:, None]).sum(axis=1) for place in ((total - 1) // 2, total // 2)]
    median = (ranked[middle[0]] + ranked[middle[1]]) / 2
    return np.array([*recalls, median, weights @ ranked / total])


def _resampled(ranked: IdArray, group_numbers: IdArray, resamples: int, seed: int) -> FloatArray:
    """Return the five numbers over resamples of whole groups (5, S); blocks of resamples keep the memory small."""
    order = np.argsort(ranked, kind="stable")
    ranked, group_numbers = ranked[order], group_numbers[order]
    groups = int(group_numbers.max()) + 1
    height = max(1, (CELLS // 8) // len(ranked))
    draws = group_draws(groups, resamples, seed, height)
    return np.concatenate([_statistics(ranked, weights[:, group_numbers]) for weights in draws], axis=1)
