"""Spatial attention over the regions of each key image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .attention import RelationEncoder
from .options import HeadOptions


class SpatialHead(nn.Module):
    """The regions of each key image -> one vector per key image.

    SA(Q, K, V) = softmax( (Q W_SQ) (G (K W_SK))^T / sqrt(d) ) V W_SV, G in R^{R x R} (eq. 2).

    Decision: P_G starts as a kernel on the distance between the centres of two regions, in cells of the grid.
    """

    def __init__(self, width: int, options: HeadOptions) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.picture = nn.Linear(width, width)
        cells = torch.arange(options.grid)
        sizes = options.model_dump(include={"heads", "layers", "expansion", "dropout", "plain"})
        self.reasoner = RelationEncoder(width, torch.cartesian_prod(cells, cells).reshape(-1, 2), **sizes)

    def forward(self, regions: Tensor, mask: Tensor) -> Tensor:
        """Encode the layout of each key image.

        Args:
            regions: (B, K, R, D), row by row from the top left.
            mask: (B, K) bool, false where there is no key image.

        Returns:
            (B, K, D), zeros where there is no key image.
        """
        present = regions[mask]  # (N, R, D), of the key images that are there: padding costs nothing
        region_mask = mask.new_ones(present.shape[:2])  # a key image has all of its regions
        states = self.reasoner(self.picture(self.norm(present)), present, region_mask)  # (N, D)
        encoded: Tensor = states.new_zeros(*mask.shape, states.shape[-1])
        encoded[mask] = states
        return encoded
