"""Exact search by dot product over rows that lie on disk, without ever holding them, or N x M scores, at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..types import FloatArray, IdArray
from ._common import merge, nothing_found

_SCORES, _QUERIES = 1 << 22, 256  # a block of scores is at most 16 MiB; few queries see many rows at once
_GATHERED = 16_384  # rows copied out at once
_GATHER_BELOW = 0.25  # a smaller share of allowed rows is cheaper to copy out, block by block, than to score around
_PAIRS = 8_192  # vectors held in double precision at once


def search(
    vectors: FloatArray,
    ids: IdArray,
    queries: FloatArray,
    limit: int,
    allowed: NDArray[np.bool_] | None = None,
) -> tuple[FloatArray, IdArray]:
    """The `limit` best rows for each query: scores and ids (N, limit), best first, ties by smaller id.

    `vectors` (R, D) float32 may be a memory map; `allowed` (R,) masks rows. A fast float32 product chooses the
    candidates, with a margin for its rounding; they are then scored by `dots`. So a pair has one score, wherever
    it lies and whatever else is asked, and copies of a vector tie exactly (decision).
    """
    rows = None
    if allowed is not None and np.count_nonzero(allowed) < _GATHER_BELOW * len(allowed):
        rows = np.flatnonzero(allowed)
    best_scores, best_ids = nothing_found(len(queries), limit)
    height = _SCORES // max(1, min(len(queries), _QUERIES)) if rows is None else _GATHERED
    for first in range(0, len(vectors) if rows is None else len(rows), height):
        part = slice(first, first + height) if rows is None else rows[first : first + height]
        block, block_ids = vectors[part], ids[part]
        barred = None if rows is not None or allowed is None else np.flatnonzero(~allowed[part])
        for start in range(0, len(queries), _QUERIES):
            some = slice(start, start + _QUERIES)
            owner, row = _candidates(block, queries[some], barred, best_scores[some, -1], limit)
            scores = dots(block, row, queries[some], owner)
            best = best_scores[some], best_ids[some]
            best_scores[some], best_ids[some] = merge(best, owner, scores, block_ids[row])
    return best_scores, best_ids


def _candidates(
    block: FloatArray, queries: FloatArray, barred: IdArray | None, floor: FloatArray, limit: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(query, row) of every pair that may belong to the best `limit`, `floor` (Q,) being the worst score so far."""
    scores = queries @ block.T  # (Q, R)
    if barred is not None:
        scores[:, barred] = -np.inf
    # A float32 sum of D products is off by at most D * 2**-24 (Higham 2002, eq. 3.5); floor and score both may be.
    margin = 2 * block.shape[1] * 2.0**-24 * 1.01
    if scores.shape[1] > limit and np.count_nonzero(scores >= (floor - margin)[:, None]) > 8 * limit * len(queries):
        floor = np.maximum(floor, np.partition(scores, -limit, axis=1)[:, -limit])
    owner, row = np.nonzero((scores >= (floor - margin)[:, None]) & (scores > -np.inf))
    return owner, row


def dots(rows: FloatArray, row: NDArray[np.intp], queries: FloatArray, owner: NDArray[np.intp]) -> FloatArray:
    """Dot products (C,) of rows[row] and queries[owner], summed in double precision and rounded to float32 once."""
    scores = np.empty(len(row), np.float32)
    for first in range(0, len(row), _PAIRS):
        part = slice(first, first + _PAIRS)
        left, right = rows[row[part]].astype(np.float64), queries[owner[part]].astype(np.float64)
        scores[part] = np.einsum("ij,ij->i", left, right)
    return scores
