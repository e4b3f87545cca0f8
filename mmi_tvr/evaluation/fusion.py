"""Several systems' scores added up, with weights that were not chosen on the queries that they are measured on.

The videos are cut into two halves at random. For the queries of one half the weights are chosen on those of the other,
by the mean reciprocal rank, and the other way round; so each query is ranked once, among all candidates, by weights
that have never seen it. A direction has weights of its own.

Chosen by ensemble selection (Caruana et al., "Ensemble selection from libraries of models", ICML 2004): starting from
nothing, the system that helps most is added again and again, and the best of all these sums counts. Before that, each
system's scores are divided by their standard deviation on the half on which the weights are chosen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MetricsError, UsageError
from ..types import FloatArray, IdArray
from ..utils.wording import counted
from . import metrics
from .bootstrap import numbered_groups
from .matrices import BLOCK, MatrixTruth, row_blocks
from .metrics import DirectionRanks

_STEPS = 10  # additions: weights in tenths at the finest
_LEAST_VIDEOS = 4

Weights = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class FusedRanks:
    """Ranks under fused scores; `weights` are by direction those of the first and of the second half's queries."""

    ranks: DirectionRanks
    weights: Mapping[str, tuple[Weights, Weights]]

    def weights_dict(self, names: Sequence[str]) -> dict[str, list[dict[str, float]]]:
        """Return the weights as plain values for JSON."""
        return {
            direction: [dict(zip(names, weights, strict=True)) for weights in halves]
            for direction, halves in self.weights.items()
        }


@dataclass(frozen=True, slots=True)
class _Side:
    """One direction: matrices whose rows ask (Q, C), what is right for each row, and which half each row is in (Q,)."""

    matrices: Sequence[FloatArray]
    ground_truth: Sequence[Collection[int]]
    halves: NDArray[np.bool_]

    def ranks(self, rows: IdArray, weights: Weights) -> IdArray:
        """Return the ranks of some rows under weighted sums of the matrices."""

        def blocks() -> Iterator[FloatArray]:
            for start in range(0, len(rows), BLOCK):
                part = rows[start : start + BLOCK]
                used = [(weight, matrix) for weight, matrix in zip(weights, self.matrices, strict=True) if weight]
                yield np.sum([weight * np.asarray(matrix[part], np.float64) for weight, matrix in used], axis=0)

        return metrics.ranks(blocks(), [self.ground_truth[row] for row in rows])

    def scales(self, rows: IdArray) -> FloatArray:
        """Return the factor of each matrix: one over the standard deviation of its rows; 1 where that is 0."""
        return np.array([_one_over_deviation(np.asarray(matrix[rows], np.float64)) for matrix in self.matrices])


def fuse(matrices: Sequence[FloatArray], truth: MatrixTruth, seed: int = 0) -> FusedRanks:
    """Rank all queries by fused scores (see the module).

    Args:
        matrices: Scores (N, M) of each system; at least two.
        truth: What is right.
        seed: Of the cut into halves.

    Raises:
        UsageError: For fewer than two matrices.
        MetricsError: Where there are too few videos to cut, or a score is infinite.
    """
    if len(matrices) < 2:
        raise UsageError("a fusion needs the scores of at least two systems")
    for number, matrix in enumerate(matrices):
        if any(not np.isfinite(block).all() for block in row_blocks(matrix)()):
            raise MetricsError(f"matrix {number + 1} holds infinities, which cannot be added up: compare it alone")
    first_half = _first_half(truth, seed)
    rows = _Side(matrices, truth.ground_truth, np.array([first_half[min(right)] for right in truth.ground_truth]))
    columns, right_rows = _transposed(truth.ground_truth)
    transposed = [np.asarray(matrix)[:, columns].T for matrix in matrices]
    t2v, t2v_weights = _held_out(rows)
    v2t, v2t_weights = _held_out(_Side(transposed, right_rows, first_half[columns]))
    return FusedRanks(DirectionRanks(t2v, v2t, columns), {"t2v": t2v_weights, "v2t": v2t_weights})


def _choose_weights(side: _Side, rows: IdArray) -> Weights:
    """Return the weights under which these rows have the best mean reciprocal rank; they add up to 1."""
    scales = side.scales(rows)
    known: dict[Weights, float] = {}

    def quality(counts: IdArray) -> float:
        weights = _shares(counts)
        if weights not in known:
            known[weights] = float(np.mean(1 / side.ranks(rows, tuple(scales * weights))))
        return known[weights]

    counts = np.zeros(len(side.matrices), dtype=np.int64)
    best, chosen = -1.0, counts
    for _ in range(_STEPS):
        trials = counts + np.eye(len(counts), dtype=np.int64)
        values = [quality(trial) for trial in trials]
        counts = trials[int(np.argmax(values))]
        if max(values) > best:
            best, chosen = max(values), counts
    return _shares(chosen)


def _held_out(side: _Side) -> tuple[IdArray, tuple[Weights, Weights]]:
    """Return the ranks of all rows, of each half under the weights of the other, and both weights."""
    ranks = np.empty(len(side.ground_truth), dtype=np.int64)
    weights = []
    for measured in (side.halves, ~side.halves):
        choosing, rows = np.flatnonzero(~measured), np.flatnonzero(measured)
        chosen = _choose_weights(side, choosing)
        ranks[rows] = side.ranks(rows, tuple(side.scales(choosing) * chosen))
        weights.append(chosen)
    return ranks, (weights[0], weights[1])


def _first_half(truth: MatrixTruth, seed: int) -> NDArray[np.bool_]:
    """Return which columns (M,) are in the first half. Columns of one video stay together.

    Videos that are right for no caption are no queries, and are not cut.
    """
    videos = numbered_groups(truth.videos, len(truth.videos))
    described = np.unique([videos[min(right)] for right in truth.ground_truth])
    if len(described) < _LEAST_VIDEOS:
        raise MetricsError(f"{counted(len(described), 'video')} with captions cannot be cut into halves to fuse on")
    chosen = np.random.default_rng(seed).permutation(described)[: len(described) // 2]
    half: NDArray[np.bool_] = np.isin(videos, chosen)
    return half


def _transposed(ground_truth: Sequence[Collection[int]]) -> tuple[IdArray, list[list[int]]]:
    """Return the columns that are right for some row, and the rows that each of them is right for."""
    rows_of: dict[int, list[int]] = {}
    for row, right in enumerate(ground_truth):
        for column in right:
            rows_of.setdefault(column, []).append(row)
    columns = sorted(rows_of)
    return np.array(columns), [rows_of[column] for column in columns]


def _one_over_deviation(scores: FloatArray) -> float:
    """Return one over the standard deviation of scores; 1 where that is 0. No square of a score leaves the range."""
    peak = float(np.abs(scores).max())
    deviation = peak * float(np.std(scores / peak)) if peak >= np.finfo(np.float64).tiny else 0.0
    return 1 / deviation if deviation > 0 else 1.0


def _shares(counts: IdArray) -> Weights:
    shares: list[Any] = (counts / counts.sum()).tolist()
    return tuple(shares)
