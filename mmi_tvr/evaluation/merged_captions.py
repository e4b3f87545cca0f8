"""Equal captions of a test set as ONE query with several right videos: the protocol of HGR, HANet and MCSAN, whose
captions are a set."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence

from ..types import FloatArray
from .metrics import DirectionBlocks, MakeBlocks


def merged_queries(
    captions: Sequence[str], ground_truth: Sequence[Collection[int]]
) -> tuple[list[int], list[frozenset[int]]]:
    """Return the first row of each different caption, ascending, and the videos that are right for any of its rows.

    captions: of the rows. ground_truth: the columns that are right for each row.

    >>> merged_queries(["a dog", "a cat", "a dog"], [{0}, {1}, {2}])
    ([0, 1], [frozenset({0, 2}), frozenset({1})])
    """
    first: dict[str, int] = {}
    truth: dict[str, set[int]] = {}
    for row, (caption, columns) in enumerate(zip(captions, ground_truth, strict=True)):
        first.setdefault(caption, row)
        truth.setdefault(caption, set()).update(columns)
    return list(first.values()), [frozenset(columns) for columns in truth.values()]


def rows_of(blocks: DirectionBlocks, rows: Sequence[int]) -> DirectionBlocks:
    """Return the blocks with these rows alone, in their order; rows: ascending."""

    def chosen(make_blocks: MakeBlocks) -> Iterator[FloatArray]:
        start = 0
        for block in make_blocks():
            inside = [row - start for row in rows_within(rows, start, start + len(block))]
            start += len(block)
            if inside:
                yield block[inside]

    return DirectionBlocks(lambda: chosen(blocks.t2v), lambda: chosen(blocks.v2t))


def rows_within(rows: Sequence[int], start: int, stop: int) -> Sequence[int]:
    """Return those of some rows, which are ascending, that lie in start..stop - 1."""
    return rows[bisect_left(rows, start) : bisect_left(rows, stop)]
