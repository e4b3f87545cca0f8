"""Exact ranks from blocks of similarities, recalls with their intervals, and nothing of size N x M in memory.

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

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import index
from typing import Any, NamedTuple

import numpy as np

from ..errors import MetricsError
from ..types import FloatArray, IdArray

PROTOCOL: Mapping[str, str] = {"t2v": "every caption", "v2t": "best caption"}
NAMES = ("R@1", "R@5", "R@10", "MdR", "MnR")
DEPTHS = (1, 5, 10)
_CELLS = 1 << 22  # numbers looked at together: bounds the temporary arrays at tens of megabytes

Blocks = Iterable[FloatArray]
Truth = Sequence[Collection[int]]


class BothRanks(NamedTuple):
    """1-based ranks in both directions: `rows` (N,), and `columns` (C,) of the candidates `asked` (C,), ascending."""

    rows: IdArray
    columns: IdArray
    asked: IdArray


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
        """The five numbers under the field's names."""
        return dict(zip(NAMES, (self.r1, self.r5, self.r10, self.mdr, self.mnr), strict=True))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: R@1, R@5, R@10, MdR, MnR, and ci95 with a [low, high] for each of them."""
        return {**self.values(), "ci95": {name: list(interval) for name, interval in self.ci95.items()}}


def ranks(blocks: Blocks, truth: Truth, tolerance: float = 0.0) -> IdArray:
    """Rank of each query's best right candidate, in one pass.

    blocks: consecutive rows of the similarity matrix, each (rows, M), larger is better; float16 is read as float32.
    truth: for each of the N rows, the set of its right candidates (column numbers).
    tolerance: a wrong candidate up to so much below the best right one counts as a tie with it.
    Returns (N,), 1-based. Ties, infinities: see the module. Raises MetricsError for NaN, an empty set of right
    candidates, a candidate that does not exist, blocks that do not add up to N rows, and no rows at all.

    >>> ranks([np.array([[0.9, 0.1, 0.9]]), np.array([[0.2, 0.8, 0.3]])], truth=[{0}, {1, 2}])
    array([2, 1])
    """
    pairs = _Pairs(truth)
    found = np.empty(len(pairs), dtype=np.int64)
    for start, block in _slices(blocks, pairs):
        rows = slice(start, start + len(block))
        found[rows] = _row_ranks(block, *pairs.within(rows), tolerance)
    return found


def both_directions(make_blocks: Callable[[], Blocks], truth: Truth, tolerance: float = 0.0) -> BothRanks:
    """Ranks of the rows among the columns, and of the columns among the rows, from row blocks alone.

    make_blocks: called twice, gives the same blocks each time (as in `ranks`). The first pass ranks the rows and
    notes the scores of the right pairs; the second counts, for each column, the wrong rows at or above its best.
    truth, tolerance: as in `ranks`. A column that is right for no row is a distractor: it takes part, and is not asked.
    Memory: O(N + M + right pairs) and one slice of a block. Raises MetricsError as `ranks` does.
    """
    pairs = _Pairs(truth)
    rows = np.empty(len(pairs), dtype=np.int64)
    right: list[FloatArray] = []
    for start, block in _slices(make_blocks(), pairs):
        owners, columns = pairs.within(slice(start, start + len(block)))
        rows[start : start + len(block)] = _row_ranks(block, owners, columns, tolerance)
        right.append(block[owners, columns])
    scores: FloatArray = np.concatenate(right)
    best = np.full(pairs.width, -np.inf, dtype=scores.dtype)
    np.maximum.at(best, pairs.columns, scores)
    best -= tolerance
    asked = np.unique(pairs.columns)
    ahead = np.zeros(pairs.width, dtype=np.int64)
    for start, block in _slices(make_blocks(), pairs):
        owners, columns = pairs.within(slice(start, start + len(block)))
        # A distractor's column is compared too (with -inf) and never read: cheaper than leaving it out.
        ahead += np.count_nonzero(block[:, : pairs.width] >= best, axis=0)
        np.subtract.at(ahead, columns, block[owners, columns] >= best[columns])
    return BothRanks(rows, ahead[asked] + 1, asked)


def summary(
    found: Sequence[int] | IdArray,
    groups: Sequence[Hashable] | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Metrics:
    """Recalls, median and mean rank, with 95 % intervals from the percentile bootstrap
    (Efron and Tibshirani 1993, chapter 13).

    found: 1-based ranks (N,). groups: what each query belongs to, here its video. Captions of one video rise and fall
    together, so whole groups are drawn, with replacement (cluster bootstrap, decision: drawing captions would show
    intervals that are too narrow); None: every query is its own group. The candidates stay as they are, so an
    interval speaks of other queries to this collection. `resamples=0` leaves the intervals out.
    Raises MetricsError where there is nothing to summarise or a rank is below 1.
    """
    ranked = np.asarray(found)
    if ranked.ndim != 1 or ranked.size == 0:
        raise MetricsError(f"a summary needs a row of at least one rank, not an array of shape {ranked.shape}")
    if ranked.dtype.kind not in "iu" or ranked.min() < 1:
        raise MetricsError("ranks are whole numbers from 1 upwards")
    labels = _labels(groups, len(ranked))
    r1, r5, r10, mdr, mnr = _statistics(np.sort(ranked), np.ones((1, len(ranked)), dtype=np.int64))[:, 0].tolist()
    intervals = {}
    if resamples:
        low, high = np.percentile(_drawn(ranked, labels, resamples, seed), [2.5, 97.5], axis=1)
        intervals = {name: (float(a), float(b)) for name, a, b in zip(NAMES, low, high, strict=True)}
    return Metrics(len(ranked), r1, r5, r10, mdr, mnr, intervals)


class Difference(NamedTuple):
    """Of one number between two runs: `value`, its 95 % interval, and the two-sided bootstrap `p` of no difference."""

    value: float
    low: float
    high: float
    p: float


def paired(
    one: Sequence[int] | IdArray,
    other: Sequence[int] | IdArray,
    groups: Sequence[Hashable] | None = None,
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> dict[str, Difference]:
    """How much `other` is above `one`, number by number, when both rank the same queries in the same order.

    The same groups are drawn for both (paired bootstrap; Efron and Tibshirani 1993, chapters 13 and 16), which takes
    out what makes queries hard for either. Arguments as in `summary`. MetricsError where the lengths differ.
    """
    if len(one) != len(other):
        raise MetricsError(f"{len(one)} and {len(other)} ranks: a paired test needs the same queries")
    plain = [summary(found, resamples=0).values() for found in (one, other)]
    labels = _labels(groups, len(one))
    drawn = [_drawn(np.asarray(found), labels, resamples, seed) for found in (one, other)]
    apart = drawn[1] - drawn[0]
    low, high = np.percentile(apart, [2.5, 97.5], axis=1)
    # Davison and Hinkley 1997, section 4.2: the observed sample counts as one of the resamples.
    tails = [(1 + np.count_nonzero(side, axis=1)) / (1 + resamples) for side in (apart <= 0, apart >= 0)]
    p = np.minimum(1.0, 2 * np.minimum(*tails))
    return {
        name: Difference(plain[1][name] - plain[0][name], float(low[at]), float(high[at]), float(p[at]))
        for at, name in enumerate(NAMES)
    }


def sum_of_recalls(t2v: Metrics, v2t: Metrics) -> float:
    """SumR: the six recalls of both directions added up; at most 600."""
    return sum(each for side in (t2v, v2t) for each in (side.r1, side.r5, side.r10))


class _Pairs:
    """The right pairs in flat form: pair p says that candidate columns[p] is right for the row it belongs to."""

    def __init__(self, truth: Truth) -> None:
        sets = [sorted({index(column) for column in right}) for right in truth]
        if not sets:
            raise MetricsError("there are no queries to rank")
        for row, right in enumerate(sets):
            if not right:
                raise MetricsError(f"query {row} has no right candidate: leave it out, or say which one is right")
            if right[0] < 0:
                raise MetricsError(f"query {row}: candidate {right[0]} does not exist, candidates count from 0")
        self.offsets = np.cumsum([0, *map(len, sets)], dtype=np.int64)
        self.columns = np.array([column for right in sets for column in right], dtype=np.int64)
        self.rows = np.repeat(np.arange(len(sets)), np.diff(self.offsets))
        self.width = int(self.columns.max()) + 1  # columns beyond it are right for no one

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def within(self, rows: slice) -> tuple[IdArray, IdArray]:
        """The pairs of these rows: their rows, counted from the slice's start, and their columns."""
        pairs = slice(self.offsets[rows.start], self.offsets[rows.stop])
        return self.rows[pairs] - rows.start, self.columns[pairs]


def _slices(blocks: Blocks, pairs: _Pairs) -> Iterator[tuple[int, FloatArray]]:
    """The checked blocks with their first row's number, in slices small enough to compare at once."""
    start, width = 0, None
    for raw in blocks:
        block = _checked(raw, width, pairs)
        width = block.shape[1]
        if start + len(block) > len(pairs):
            raise MetricsError(f"the blocks have more rows than the {len(pairs)} queries that have a truth")
        height = max(1, _CELLS // max(1, width))
        for first in range(0, len(block), height):
            part = block[first : first + height]
            if np.isnan(part.max()):  # max carries NaN on, and needs no array for it
                row, column = np.argwhere(np.isnan(part))[0]
                raise MetricsError(f"query {start + row}, candidate {column}: the similarity is NaN and has no rank")
            yield start, part
            start += len(part)
    if start != len(pairs):
        raise MetricsError(f"the blocks have {start} rows and {len(pairs)} queries have a truth; each needs one row")


def _checked(raw: FloatArray, width: int | None, pairs: _Pairs) -> FloatArray:
    block = np.asarray(raw)
    if block.ndim != 2 or block.dtype.kind != "f":
        raise MetricsError(f"a block is a matrix of floating-point numbers, not {block.ndim}-dimensional {block.dtype}")
    if width is not None and block.shape[1] != width:
        raise MetricsError(f"blocks of {width} and of {block.shape[1]} candidates: each has all of them")
    if block.shape[1] < pairs.width:
        row = int(pairs.rows[pairs.columns.argmax()])
        raise MetricsError(f"query {row}: candidate {pairs.width - 1} does not exist, there are {block.shape[1]}")
    return block.astype(np.float32) if block.dtype == np.float16 else block


def _row_ranks(block: FloatArray, owners: IdArray, columns: IdArray, tolerance: float) -> IdArray:
    right = block[owners, columns]
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    best = np.maximum.reduceat(right, starts) - tolerance
    ahead = np.count_nonzero(block >= best[:, None], axis=1)
    right_too = np.add.reduceat(right >= best[owners], starts, dtype=np.int64)  # they are not ahead of themselves
    ranked: IdArray = ahead - right_too + 1
    return ranked


def _statistics(ranked: IdArray, weights: IdArray) -> FloatArray:
    """(5, S): R@1, R@5, R@10, MdR, MnR of ascending ranks (N,), taken weights (S, N) times each."""
    counts = weights.cumsum(axis=1)
    total = counts[:, -1]
    within = [np.searchsorted(ranked, depth, side="right") for depth in DEPTHS]
    recalls = [100.0 * counts[:, n - 1] / total if n else np.zeros(len(total)) for n in within]
    middle = [(counts <= place[:, None]).sum(axis=1) for place in ((total - 1) // 2, total // 2)]
    median = (ranked[middle[0]] + ranked[middle[1]]) / 2
    return np.array([*recalls, median, weights @ ranked / total])


def _labels(groups: Sequence[Hashable] | None, count: int) -> IdArray:
    """The number of each query's group, in order of first appearance."""
    if groups is None:
        return np.arange(count)
    if len(groups) != count:
        raise MetricsError(f"{len(groups)} groups for {count} ranks: each rank belongs to one group")
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups])


def _drawn(ranked: IdArray, labels: IdArray, resamples: int, seed: int) -> FloatArray:
    """The five numbers over resamples of whole groups, (5, S); blocks of resamples keep the memory small.

    The draws hang on seed and groups alone: two runs over the same queries see the same ones.
    """
    order = np.argsort(ranked, kind="stable")
    ranked, labels = ranked[order], labels[order]
    rng = np.random.default_rng(seed)
    groups = int(labels.max()) + 1
    height = max(1, (_CELLS // 8) // len(ranked))
    drawn = []
    for first in range(0, resamples, height):
        size = min(height, resamples - first)
        draws = rng.integers(groups, size=(size, groups)) + np.arange(size)[:, None] * groups
        times = np.bincount(draws.ravel(), minlength=size * groups).reshape(size, groups)
        drawn.append(_statistics(ranked, times[:, labels]))
    return np.concatenate(drawn, axis=1)
