"""What prompts of one query share, and how they are cut into batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

BATCH = 64  # candidates in one forward pass
_MAX_PADDING = 4 / 3  # the longest of a batch has at most so many times the tokens of the shortest


def shared_prefix_length(ids: Tensor, lengths: Tensor) -> int:
    """Return how many tokens all rows of ids (N, L) begin with, of which `lengths` (N,) are real.

    One token of each row is left over, because the answer is read there.
    """
    same = (ids == ids[:1]).all(dim=0).long().cumprod(dim=0)
    return min(int(same.sum()), int(lengths.min()) - 1)


def batch_sizes(lengths: Sequence[int]) -> list[int]:
    """Return the sizes of batches of ascending lengths, so that little of a batch is padding.

    >>> batch_sizes([3, 3, 4, 8, 9, 30])
    [3, 2, 1]
    """
    sizes: list[int] = []
    shortest = 0
    for length in lengths:
        if not sizes or sizes[-1] == BATCH or length > _MAX_PADDING * shortest:
            sizes.append(0)
            shortest = length
        sizes[-1] += 1
    return sizes
