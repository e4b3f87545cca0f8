"""Blocks of scores, row by row: checked, in slices small enough to compare at once, with the right pairs in them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from operator import index

import numpy as np

from ..errors import MetricsError
from ..types import FloatArray, IdArray
from ..utils.wording import counted

CELLS = 1 << 22  # numbers looked at together: bounds the temporary arrays at tens of megabytes

Blocks = Iterable[FloatArray]
GroundTruth = Sequence[Collection[int]]


class RightPairs:
    """The right pairs in flat form: pair p says that candidate columns[p] is right for the row it belongs to."""

    def __init__(self, ground_truth: GroundTruth) -> None:
        sets = [sorted({index(column) for column in right}) for right in ground_truth]
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
        """Return the pairs of these rows: their rows, counted from the slice's start, and their columns."""
        pairs = slice(self.offsets[rows.start], self.offsets[rows.stop])
        return self.rows[pairs] - rows.start, self.columns[pairs]


def slices(blocks: Blocks, pairs: RightPairs) -> Iterator[tuple[int, FloatArray]]:
    """Yield the checked blocks with their first row's number, in slices small enough to compare at once."""
    start, width = 0, None
    for raw in blocks:
        block = _checked(raw, width, pairs)
        width = block.shape[1]
        if start + len(block) > len(pairs):
            raise MetricsError(
                f"the blocks have more rows than the {counted(len(pairs), 'query', 'queries')} with a truth"
            )
        height = max(1, CELLS // max(1, width))
        for first in range(0, len(block), height):
            part = block[first : first + height]
            if np.isnan(part.max()):  # max carries NaN on, and needs no array for it
                row, column = np.argwhere(np.isnan(part))[0]
                raise MetricsError(f"query {start + row}, candidate {column}: the similarity is NaN and has no rank")
            yield start, part
            start += len(part)
    if start != len(pairs):
        raise MetricsError(
            f"the blocks have {counted(start, 'row')} for {counted(len(pairs), 'query', 'queries')} "
            "with a truth; each needs one row"
        )


def _checked(raw: FloatArray, width: int | None, pairs: RightPairs) -> FloatArray:
    block = np.asarray(raw)
    if block.ndim != 2 or block.dtype.kind != "f":
        raise MetricsError(f"a block is a matrix of floating-point numbers, not {block.ndim}-dimensional {block.dtype}")
    if width is not None and block.shape[1] != width:
        raise MetricsError(f"blocks of {width} and of {counted(block.shape[1], 'candidate')}: each has all of them")
    if block.shape[1] < pairs.width:
        row = int(pairs.rows[pairs.columns.argmax()])
        raise MetricsError(f"query {row}: candidate {pairs.width - 1} does not exist, there are {block.shape[1]}")
    return block.astype(np.float32) if block.dtype == np.float16 else block
