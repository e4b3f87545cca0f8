"""Spatial attention over the regions of each key image (eq. 2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .attention import Reasoner
from .options import HeadOptions
from .pooling import blank


class SpatialHead(nn.Module):
    """The regions of each key image -> one vector per key image.

    Decision: P_G starts as a kernel on the distance between the centres of two regions, in cells of the grid.
    """

    def __init__(self, width: int, options: HeadOptions) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.picture = nn.Linear(width, width)
        cells = torch.arange(options.grid)
        sizes = options.model_dump(include={"heads", "layers", "expansion", "dropout", "plain"})
        self.reasoner = Reasoner(width, torch.cartesian_prod(cells, cells).reshape(-1, 2), **sizes)

    def forward(self, regions: Tensor, mask: Tensor) -> Tensor:
        """Regions (B, K, R, D), row by row from the top left, mask (B, K) of the key images -> (B, K, D), padding 0."""
        flat = blank(regions, mask).flatten(0, 1)  # (B K, R, D)
        everywhere = mask.reshape(-1, 1).expand(-1, flat.shape[1])  # a key image has all of its regions, or none
        summary = self.reasoner(self.picture(self.norm(flat)), flat, everywhere)
        return blank(summary.unflatten(0, mask.shape), mask)
