"""Temporal attention over the key images of a video."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .attention import RelationEncoder
from .options import HeadOptions
from .pooling import zero_padding


class TemporalHead(nn.Module):
    """Key images in order of time -> h_t.

    TA(Q, K, V) = softmax( (Q W_TQ) (H (K W_TK))^T / sqrt(d) ) V W_TV, H in R^{K x K} (eq. 1).

    Decisions. P_H starts as a kernel on the distance between the numbers of two key images (P_H is one matrix for all
    videos, so it cannot know their seconds). What changed since the key image before, h_k - h_{k-1}, is added to the
    input through a projection of its own: CLIP vectors of one video are nearly the same, and without it the order of
    events is learned very late. A change is scaled by sqrt(D), so that one as large as a unit vector weighs as much as
    the layer-normed picture; it is not normalised, because in a still stretch that would blow up noise.
    """

    def __init__(self, width: int, options: HeadOptions) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.picture = nn.Linear(width, width)
        self.change = nn.Linear(width, width, bias=False) if options.changes else None
        positions = torch.arange(options.key_images)[:, None]
        sizes = options.model_dump(include={"heads", "layers", "expansion", "dropout", "plain"})
        self.reasoner = RelationEncoder(width, positions, **sizes)

    def forward(self, images: Tensor, mask: Tensor) -> Tensor:
        """Encode key images (B, K, D), with padding last in the mask (B, K), as h_t (B, D)."""
        images = zero_padding(images, mask)
        tokens = self.picture(self.norm(images))  # (B, K, D)
        if self.change is not None:
            tokens = tokens + self.change(differences(images) * images.shape[-1] ** 0.5)
        encoded: Tensor = self.reasoner(tokens, images, mask)  # (B, D)
        return encoded


def differences(images: Tensor) -> Tensor:
    """Return each key image minus the one before it; zero for the first. (B, K, D) -> (B, K, D)."""
    return images.diff(dim=1, prepend=images[:, :1])
