"""Scores that look at all test queries together. Never on by default, and in columns of their own.

A single search has no other test queries, so such numbers say what a batch of queries could gain, not what
a search will do. Both normalise a direction by the other side's whole column, in two passes over blocks of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from ..types import FloatArray
from .metrics import DirectionBlocks, MakeBlocks

DUAL_SCALE = 100.0  # on cosines: where CLIP's learned temperature ends (decision)
BANK_SCALE = 20.0  # the inverse temperature of the paper


def dual_softmax(blocks: DirectionBlocks) -> DirectionBlocks:
    """Return s * softmax of s over the other side (Cheng et al., "CAMoE", 2021).

    That is over all queries for text-to-video, and over all videos for video-to-text.
    """
    column_sums = _log_sums(blocks.t2v, DUAL_SCALE)

    def t2v() -> Iterator[FloatArray]:
        for block in _in_float64(blocks.t2v):
            yield block * np.exp(DUAL_SCALE * block - column_sums)

    def v2t() -> Iterator[FloatArray]:
        for block in _in_float64(blocks.v2t):
            yield block * np.exp(DUAL_SCALE * block - _row_log_sums(block, DUAL_SCALE))

    return DirectionBlocks(t2v, v2t)


def query_bank(blocks: DirectionBlocks) -> DirectionBlocks:
    """Return the inverted softmax over a bank of queries.

    Source: Bogolin et al., "Cross Modal Retrieval with Querybank Normalisation", CVPR 2022. The bank is the test set's
    own other side, so every query's first hit is in the bank's activation set, and the dynamic form of the paper is the
    plain one.
    """
    column_sums = _log_sums(blocks.t2v, BANK_SCALE)

    def t2v() -> Iterator[FloatArray]:
        for block in _in_float64(blocks.t2v):
            yield BANK_SCALE * block - column_sums

    def v2t() -> Iterator[FloatArray]:
        for block in _in_float64(blocks.v2t):
            yield BANK_SCALE * block - _row_log_sums(block, BANK_SCALE)

    return DirectionBlocks(t2v, v2t)


METHODS: Mapping[str, Callable[[DirectionBlocks], DirectionBlocks]] = {
    "dual-softmax": dual_softmax,
    "query-bank": query_bank,
}


def _in_float64(blocks: MakeBlocks) -> Iterator[FloatArray]:
    return (np.asarray(block, np.float64) for block in blocks())


def _log_sums(blocks: MakeBlocks, scale: float) -> FloatArray:
    """Return the log of the sum of exp(scale * s) down each column, (M,)."""
    total: FloatArray | None = None
    for block in _in_float64(blocks):
        block_sums = np.logaddexp.reduce(scale * block, axis=0)
        total = block_sums if total is None else np.logaddexp(total, block_sums)
    assert total is not None
    return total


def _row_log_sums(block: FloatArray, scale: float) -> FloatArray:
    """Return the log of the sum of exp(scale * s) along each row, (rows, 1)."""
    row_sums: FloatArray = np.logaddexp.reduce(scale * block, axis=1)[:, None]
    return row_sums
