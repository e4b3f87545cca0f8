"""Scores that look at all test queries together. Never on by default, and in columns of their own.

Who asks one question today has no other test queries, so such numbers say what a batch of queries could gain, not what
a search will do. Both normalise a direction by the other side's whole column, in two passes over blocks of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from ..types import FloatArray
from .metrics import Blocks

MakeBlocks = Callable[[], Blocks]
DUAL_SCALE = 100.0  # on cosines: where CLIP's learned temperature ends (decision)
BANK_SCALE = 20.0  # the inverse temperature of the paper


class Directions(NamedTuple):
    """Blocks whose rows are to be ranked (text-to-video), and blocks whose columns are (video-to-text)."""

    t2v: MakeBlocks
    v2t: MakeBlocks


def dual_softmax(blocks: MakeBlocks) -> Directions:
    """s * softmax of s over the other side (Cheng et al., "CAMoE", 2021): over all queries for text-to-video, over all
    videos for video-to-text."""
    columns = _log_sums(blocks, DUAL_SCALE)

    def t2v() -> Iterator[FloatArray]:
        for block in _wide(blocks):
            yield block * np.exp(DUAL_SCALE * block - columns)

    def v2t() -> Iterator[FloatArray]:
        for block in _wide(blocks):
            yield block * np.exp(DUAL_SCALE * block - _row_log_sums(block, DUAL_SCALE))

    return Directions(t2v, v2t)


def query_bank(blocks: MakeBlocks) -> Directions:
    """Inverted softmax over a bank (Bogolin et al., "Cross Modal Retrieval with Querybank Normalisation", CVPR 2022).

    The bank is the test set's own other side, so every query's first hit is in the bank's activation set, and the
    dynamic form of the paper is the plain one.
    """
    columns = _log_sums(blocks, BANK_SCALE)

    def t2v() -> Iterator[FloatArray]:
        for block in _wide(blocks):
            yield BANK_SCALE * block - columns

    def v2t() -> Iterator[FloatArray]:
        for block in _wide(blocks):
            yield BANK_SCALE * block - _row_log_sums(block, BANK_SCALE)

    return Directions(t2v, v2t)


METHODS: Mapping[str, Callable[[MakeBlocks], Directions]] = {"dual-softmax": dual_softmax, "query-bank": query_bank}


def _wide(blocks: MakeBlocks) -> Iterator[FloatArray]:
    return (np.asarray(block, np.float64) for block in blocks())


def _log_sums(blocks: MakeBlocks, scale: float) -> FloatArray:
    """log of the sum of exp(scale * s) down each column, (M,)."""
    total: FloatArray | None = None
    for block in _wide(blocks):
        own = np.logaddexp.reduce(scale * block, axis=0)
        total = own if total is None else np.logaddexp(total, own)
    assert total is not None
    return total


def _row_log_sums(block: FloatArray, scale: float) -> FloatArray:
    summed: FloatArray = np.logaddexp.reduce(scale * block, axis=1)[:, None]
    return summed
