"""What prompts of one query share is read once, and the rest of them in batches of like length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

Cache = Any  # keys and values of what all prompts begin with, as a judge keeps them; None: of nothing
BATCH = 64  # candidates in one forward pass
_MAX_PADDING = 4 / 3  # the longest of a batch has at most so many times the tokens of the shortest


def read_in_batches(
    ids: Tensor,
    mask: Tensor,
    read_prefix: Callable[[Tensor], Cache] | None,
    read_rest: Callable[[Cache, Tensor, Tensor], Tensor],
    batch: int | None = None,
) -> Tensor:
    """Return what is read at the last token of each prompt, (N, ...).

    Args:
        ids: tokens (N, L), padded on the right.
        mask: 1 where there is one (N, L).
        read_prefix: from the tokens (1, P) that all begin with, to their keys and values; None: nothing is shared.
        read_rest: from these, the other tokens (B, R) and the mask of all of them (B, P + R), to the result (B, ...).
        batch: prompts that are read together, at most; default: BATCH.
    """
    import torch

    lengths = mask.sum(dim=1)
    prefix = shared_prefix_length(ids, lengths) if read_prefix else 0
    order = lengths.argsort()
    cache = read_prefix(ids[:1, :prefix]) if read_prefix and prefix else None
    parts = []
    for rows in torch.split(order, batch_sizes((lengths[order] - prefix).tolist(), batch or BATCH)):
        end = int(lengths[rows].max())
        parts.append(read_rest(cache, ids[rows, prefix:end], mask[rows, :end]))
    return torch.cat(parts)[order.argsort()]


def shared_prefix_length(ids: Tensor, lengths: Tensor) -> int:
    """Return how many tokens all rows of ids (N, L) begin with, of which `lengths` (N,) are real.

    One token of each row is left over, because the answer is read there.
    """
    same = (ids == ids[:1]).all(dim=0).long().cumprod(dim=0)
    return min(int(same.sum()), int(lengths.min()) - 1)


def batch_sizes(lengths: Sequence[int], largest: int = BATCH) -> list[int]:
    """Return the sizes of batches of ascending lengths, `largest` at most, so that little of a batch is padding.

    >>> batch_sizes([3, 3, 4, 8, 9, 30])
    [3, 2, 1]
    """
    sizes: list[int] = []
    shortest = 0
    for length in lengths:
        if not sizes or sizes[-1] == largest or length > _MAX_PADDING * shortest:
            sizes.append(0)
            shortest = length
        sizes[-1] += 1
    return sizes
