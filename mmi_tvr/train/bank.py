"""A memory bank: vectors of past batches as further negatives, so that a small batch meets as many as a large one.

Source: He et al., "Momentum Contrast for Unsupervised Visual Representation Learning", CVPR 2020, without its second,
slowly following tower (decision): the vectors are those that the trained model had when it saw the pairs. Gradient
caching (`gradcache`) is exact where this is not.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..nn.losses import EmbeddedPairs
from ..utils.distributed import gather

_BUFFERS = ("text", "video", "groups")


class Bank(nn.Module):
    """The newest pairs of past steps, first in, first out; the same in every process.

    size: pairs that it holds at most, Q.
    """

    text: Tensor  # (n, D), n <= Q, oldest first
    video: Tensor  # (n, D)
    groups: Tensor  # (n,)

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size
        for name in _BUFFERS:
            self.register_buffer(name, torch.empty(0))

    @property
    def pairs(self) -> EmbeddedPairs | None:
        """The pairs that it holds; None while it is empty."""
        return EmbeddedPairs(self.text, self.video, self.groups) if len(self.groups) else None

    @torch.no_grad()
    def extend(self, pairs: EmbeddedPairs) -> None:
        """Add the pairs of all processes, of which `pairs` are this one's, and forget the oldest beyond the size."""
        rows = (gather(pairs.text.float()), gather(pairs.video.float()), gather(pairs.groups))
        for name, new in zip(_BUFFERS, rows, strict=True):
            old = self.get_buffer(name)
            self.register_buffer(name, (torch.cat([old, new]) if len(old) else new)[-self._size :].clone())

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Hold again what a state_dict of a bank says, on the device where this one is."""
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor.to(self.get_buffer(name).device))
