"""Exact search by dot product over rows that lie on disk, without ever holding them, or N x M scores, at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..types import FloatArray, IdArray
from ._common import merge, nothing_found

_SCORES, _QUERIES = 1 << 22, 256  # a block of scores is at most 16 MiB; few queries see many rows at once
_GATHERED = 4_096  # rows copied out at once
_GATHER_BELOW = 0.25  # a smaller share of allowed rows is cheaper to copy out, block by block, than to score around
# Up to so many queries, the transposed product of so many rows at a time is faster: OpenBLAS packs the right side, and
# what is transposed then stays in the cache.
_FEW_QUERIES, _TRANSPOSED = 64, 4_096
_PAIRS = 256  # vectors held in double precision at once, few enough for a cache


def search(
    vectors: FloatArray,
    ids: IdArray,
    queries: FloatArray,
    limit: int,
    allowed: NDArray[np.bool_] | None = None,
) -> tuple[FloatArray, IdArray]:
    """Return the scores and ids (N, limit) of the best rows for each query, best first, ties by smaller id.

    A fast float32 product chooses the candidates, with a margin for its rounding; they are then scored by `dots`. So a
    pair has one score, wherever it lies and whatever else is searched for, and copies of a vector tie exactly
    (decision).

    Args:
        vectors: (R, D) float32, possibly a memory map.
        ids: of the vectors (R,).
        queries: (N, D) float32.
        limit: how many rows to return for each query.
        allowed: mask (R,) of the rows that may be returned; None: all.
    """
    gathered = None  # numbers of the allowed rows, where it is cheaper to copy these out
    if allowed is not None and np.count_nonzero(allowed) < _GATHER_BELOW * len(allowed):
        gathered = np.flatnonzero(allowed)
    best_scores, best_ids = nothing_found(len(queries), limit)
    height = _SCORES // max(1, min(len(queries), _QUERIES)) if gathered is None else _GATHERED
    for first in range(0, len(vectors) if gathered is None else len(gathered), height):
        block_rows = slice(first, first + height) if gathered is None else gathered[first : first + height]
        block, block_ids = vectors[block_rows], ids[block_rows]
        masked = None if gathered is not None or allowed is None else np.flatnonzero(~allowed[block_rows])
        for start in range(0, len(queries), _QUERIES):
            batch = slice(start, start + _QUERIES)
            query_rows, rows = _candidates(block, queries[batch], masked, best_scores[batch, -1], limit)
            scores = dots(block, rows, queries[batch], query_rows)
            best = best_scores[batch], best_ids[batch]
            best_scores[batch], best_ids[batch] = merge(best, query_rows, scores, block_ids[rows])
    return best_scores, best_ids


def _candidates(
    block: FloatArray, queries: FloatArray, masked: IdArray | None, floor: FloatArray, limit: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return (query, row) of every pair that may belong to the best.

    Args:
        block: vectors (R, D).
        queries: (Q, D).
        masked: numbers of the rows that may not be returned; None: there are none.
        floor: the worst score among the best so far (Q,).
        limit: how many belong to the best.
    """
    scores = _products(block, queries)  # (Q, R)
    if masked is not None:
        scores[:, masked] = -np.inf
    # A float32 sum of D products of a unit vector is off by at most D * 2**-24 times the query's length (Higham 2002,
    # eq. 3.5); floor and score both may be.
    margins = 2 * block.shape[1] * 2.0**-24 * 1.01 * np.linalg.norm(queries, axis=1)  # (Q,)
    if scores.shape[1] > limit and np.count_nonzero(scores >= (floor - margins)[:, None]) > 8 * limit * len(queries):
        floor = np.maximum(floor, np.partition(scores, -limit, axis=1)[:, -limit])
    query_rows, rows = np.nonzero((scores >= (floor - margins)[:, None]) & (scores > -np.inf))
    return query_rows, rows


def _products(block: FloatArray, queries: FloatArray) -> NDArray[np.float32]:
    """Return the dot products (Q, R) of vectors (R, D) and queries (Q, D), as float32 rounds them."""
    if len(queries) > _FEW_QUERIES:
        products: NDArray[np.float32] = queries @ block.T
        return products
    products = np.empty((len(queries), len(block)), np.float32)
    for first in range(0, len(block), _TRANSPOSED):
        rows = slice(first, first + _TRANSPOSED)
        products[:, rows] = (block[rows] @ queries.T).T
    return products


def dots(vectors: FloatArray, rows: NDArray[np.intp], queries: FloatArray, query_rows: NDArray[np.intp]) -> FloatArray:
    """Return dot products (C,) of pairs, summed in double precision and rounded to float32 once.

    Args:
        vectors: (R, D).
        rows: the row of `vectors` in each pair (C,).
        queries: (Q, D).
        query_rows: the row of `queries` in each pair (C,).
    """
    scores, exact_queries = np.empty(len(rows), np.float32), queries.astype(np.float64)
    for first in range(0, len(rows), _PAIRS):
        pairs = slice(first, first + _PAIRS)
        scores[pairs] = np.einsum("ij,ij->i", vectors[rows[pairs]].astype(np.float64), exact_queries[query_rows[pairs]])
    return scores
