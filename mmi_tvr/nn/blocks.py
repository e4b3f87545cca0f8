"""The score of vectors that consist of blocks, as training sees it: the twin of `scoring.blocks.similarities`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..types import Block, Direction


class BlockSimilarity(nn.Module):
    """Compares texts and videos block by block, and sums what the blocks say.

    Where the offsets (`Block.squash`) are learned they are one parameter, and so are learned weights; `blocks` gives
    the records as training left them.
    """

    def __init__(
        self, blocks: Sequence[Block], *, learned_offsets: bool = False, learned_weights: bool = False
    ) -> None:
        """Compare as `blocks` say.

        Args:
            blocks: at least one.
            learned_offsets: train the offsets.
            learned_weights: train the weights, in both directions alike: those of `blocks` times factors whose mean is
                1, n softmax(fusion).

        Raises:
            UsageError: there is no block.
        """
        super().__init__()
        if not blocks:
            raise UsageError("a similarity of blocks needs at least one block")
        self._blocks = tuple(blocks)
        offsets = torch.tensor([block.squash or 0.0 for block in blocks])
        if learned_offsets:
            self.offsets = nn.Parameter(offsets)
        else:
            self.register_buffer("offsets", offsets, persistent=False)
        self.fusion = nn.Parameter(torch.zeros(len(blocks))) if learned_weights else None

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks with their present offsets and weights."""
        fusion = None if self.fusion is None else self.fusion.tolist()
        return trained_blocks(self._blocks, self.offsets.tolist(), fusion)

    def forward(self, text: Tensor, video: Tensor, direction: Direction = "t2v") -> Tensor:
        """Return the scores (B, N) of texts (B, D) and videos (N, D), in float32.

        Args:
            text: any length.
            video: unit vectors, of whose n blocks each has the length 1 / sqrt(n).
            direction: who asks; the weights of the blocks are those of this direction.

        Raises:
            UsageError: where the blocks are not as wide as the vectors.
        """
        widths = [block.width for block in self._blocks]
        if sum(widths) != text.shape[1] or sum(widths) != video.shape[1]:
            raise UsageError(f"blocks of {sum(widths)} numbers, texts of {text.shape[1]}, videos of {video.shape[1]}")
        factors = None if self.fusion is None else len(widths) * torch.softmax(self.fusion, dim=0)
        pairs = zip(torch.split(text.float(), widths, dim=1), torch.split(video.float(), widths, dim=1), strict=True)
        total = text.new_zeros((len(text), len(video)), dtype=torch.float32)
        for number, (block, (text_part, video_part)) in enumerate(zip(self._blocks, pairs, strict=True)):
            if weight := block.weight(direction):
                dots = math.sqrt(len(widths)) * text_part @ video_part.T  # (B, N)
                squashed = dots if block.squash is None else torch.sigmoid(dots + self.offsets[number])
                total = total + (weight if factors is None else weight * factors[number]) * squashed
        return total


def trained_blocks(
    blocks: Sequence[Block], offsets: Sequence[float], fusion: Sequence[float] | None = None
) -> tuple[Block, ...]:
    """Return blocks with trained offsets, where they have any, and with trained weights.

    >>> round(trained_blocks([Block("a", 2), Block("b", 2)], [0, 0], [0.0, math.log(3)])[1].t2v, 6)
    1.5
    """
    exponents = [math.exp(value) for value in fusion or [0.0] * len(blocks)]
    factors = [len(blocks) * value / sum(exponents) for value in exponents]
    return tuple(
        replace(
            block,
            t2v=block.t2v * factor,
            v2t=block.v2t * factor,
            squash=None if block.squash is None else offset,
        )
        for block, offset, factor in zip(blocks, offsets, factors, strict=True)
    )
