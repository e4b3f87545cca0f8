"""Attention-weighted sums: frames -> key images -> video (section 4.1 of the paper), exact means until trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Return the softmax over the last axis where `mask` is true; exactly 0 elsewhere, also in a row without any."""
    lowest = torch.finfo(scores.dtype).min
    return scores.masked_fill(~mask, lowest).softmax(dim=-1) * mask


def masked_maximum(states: Tensor, mask: Tensor) -> Tensor:
    """Return the largest of the states (..., M, d) where the mask (..., M) is true, per channel; 0 where it is nowhere.

    Returns (..., d).
    """
    lowest = torch.finfo(states.dtype).min
    largest = states.masked_fill(~mask[..., None], lowest).amax(dim=-2)
    return largest.masked_fill(~mask.any(dim=-1)[..., None], 0.0)


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of the states (..., M, d) where the mask (..., M) is true; 0 where it is nowhere. (..., d)"""
    summed = states.masked_fill(~mask[..., None], 0.0).sum(dim=-2)
    return summed / mask.sum(dim=-1).clamp(min=1)[..., None]


class ResidualLinear(nn.Module):
    """A linear map W = I + C whose correction C starts at zero.

    Decision: the projections W_I and W_V have no stated start. They start as the identity, so that the untrained model
    is CLIP, and only the correction is a parameter, so that weight decay pulls towards CLIP and not towards nothing.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.correction = zero_linear(width, width, bias=False)

    def forward(self, vectors: Tensor) -> Tensor:
        """Project (..., D) -> (..., D)."""
        projected: Tensor = vectors + self.correction(vectors)
        return projected


class SegmentPooling(nn.Module):
    """Key image k = sum_i alpha_i (W_I g(F_i)), alpha = softmax over the frames i of segment k.

    Decision: alpha is the softmax of a learned linear score of the frame, which starts at zero: an untrained key image
    is the mean of its segment. The regions of a frame share W_I and the frame's weight.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = ResidualLinear(width)  # W_I
        self.score = zero_linear(width, 1, bias=False)

    def forward(
        self, frames: Tensor, segments: Tensor, count: int, regions: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Pool the frames of each segment. A segment without frames is padding: false in the mask, and zeros.

        Args:
            frames: (B, F, D).
            segments: (B, F) int64, the number 0 .. K-1 of each frame's segment, -1 for padding.
            count: K.
            regions: (B, F, R, D), or None.

        Returns:
            Key images (B, K, D), their mask (B, K), and their regions (B, K, R, D) if any.
        """
        members = segments[:, None, :] == torch.arange(count, device=segments.device)[:, None]  # (B, K, F)
        mask = segments >= 0  # (B, F)
        projected = self.project(zero_padding(frames, mask))  # (B, F, D)
        alpha = masked_softmax(self.score(projected).transpose(1, 2), members)  # (B, K, F)
        if regions is not None:
            regions = torch.einsum("bkf,bfrd->bkrd", alpha, self.project(zero_padding(regions, mask)))
        return alpha @ projected, members.any(dim=-1), regions


class VideoPooling(nn.Module):
    """h_v0 = sum_k beta_k (W_V h_Ik), beta = softmax over the key images; starts as their mean (as SegmentPooling)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = ResidualLinear(width)  # W_V
        self.score = zero_linear(width, 1, bias=False)

    def forward(self, images: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Pool key images (B, K, D) under their mask (B, K): h_v0 (B, D) and beta (B, K)."""
        images = zero_padding(images, mask)
        beta = masked_softmax(self.score(images).squeeze(-1), mask)  # (B, K)
        return (beta[:, None] @ self.project(images)).squeeze(1), beta


def zero_padding(vectors: Tensor, mask: Tensor) -> Tensor:
    """Set (B, K, ...) to zero where the mask (B, K) is false, whatever stood there (NaN included)."""
    return vectors.masked_fill(~mask.reshape(mask.shape + (1,) * (vectors.dim() - 2)), 0)


def zero_linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """Return a linear layer that starts at zero: a branch that ends in one adds nothing until it is trained."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
