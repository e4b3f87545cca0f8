"""From the vision tower's features to the embedding of a video: pooling, both heads, and their fusion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..utils.wording import counted
from .options import HeadOptions
from .pooling import SegmentPooling, VideoPooling, zero_linear
from .spatial import SpatialHead
from .temporal import TemporalHead


class VideoEncoding(NamedTuple):
    """A batch of videos behind the heads. Nothing is normalised."""

    video: Tensor  # (B, D) h_v
    images: Tensor  # (B, K, D) h_I, padding 0
    mask: Tensor  # (B, K) true where there is a key image
    weights: Tensor  # (B, K) beta


class Fusion(nn.Module):
    """h_v = h_v0 + MLP([h_t ; h_s]).

    Decision: the last layer of the MLP starts at zero, so that the untrained model is h_v0, the zero-shot CLIP model,
    and training can only move away from there.

    Args:
        width: D.
        branches: how many heads are fused.
        expansion: hidden width of the MLP, in D.
        dropout: of the hidden layer while training.
    """

    def __init__(self, width: int, branches: int, expansion: int, dropout: float) -> None:
        super().__init__()
        hidden = expansion * width
        self.mlp = nn.Sequential(
            nn.Linear(branches * width, hidden), nn.GELU(), nn.Dropout(dropout), zero_linear(hidden, width)
        )

    def forward(self, base: Tensor, branches: Sequence[Tensor]) -> Tensor:
        """Add the MLP of the heads' vectors, (B, D) each, to h_v0 (B, D): (B, D)."""
        fused: Tensor = base + self.mlp(torch.cat(list(branches), dim=-1))
        return fused


class VideoHead(nn.Module):
    """Sections 1 and 2 of the method. Untrained, and whatever is switched on, h_v is the mean of the key images.

    Decision: h_s is the sum of the key images' spatial vectors under the beta of h_v0; a key image that matters for the
    whole matters for its layout.
    """

    def __init__(self, width: int, options: HeadOptions) -> None:
        super().__init__()
        self.options = options
        self.segments = SegmentPooling(width)
        self.pooling = VideoPooling(width)
        self.temporal = TemporalHead(width, options) if options.temporal else None
        self.spatial = SpatialHead(width, options) if options.spatial else None
        branches = options.temporal + options.spatial
        self.fusion = Fusion(width, branches, options.expansion, options.dropout) if branches else None

    def forward(self, frames: Tensor, regions: Tensor | None, segments: Tensor) -> VideoEncoding:
        """Encode videos given by their frames; with one frame per key image see `one_frame_per_segment`.

        Args:
            frames: (B, F, D) in CLIP's space.
            regions: (B, F, R, D) in CLIP's space; may be None where the spatial head is off.
            segments: (B, F) int64, the key image 0 .. K-1 of each frame, in order of time; -1 for padding.

        Raises:
            UsageError: where the spatial head is on and there are no regions, or not as many as it was built for, and
                where the temporal head is on and there are more key images than it was built for.
        """
        if self.spatial is None:
            regions = None
        elif regions is None or regions.shape[2] != self.options.grid**2:
            count = "none" if regions is None else str(regions.shape[2])
            raise UsageError(
                f"the spatial head needs {counted(self.options.grid**2, 'region')} per frame and got {count}"
            )
        key_images = max(1, int(segments.max()) + 1)  # K
        images, mask, regions = self.segments(frames, segments, key_images, regions)
        video, beta = self.pooling(images, mask)  # (B, D), (B, K)
        branches = []
        if self.temporal is not None:
            branches.append(self.temporal(images, mask))  # h_t (B, D)
        if self.spatial is not None and regions is not None:
            branches.append((beta[:, None] @ self.spatial(regions, mask)).squeeze(1))  # h_s (B, D)
        if self.fusion is not None:
            video = self.fusion(video, branches)
        return VideoEncoding(video, images, mask, beta)


def one_frame_per_segment(mask: Tensor) -> Tensor:
    """Return `segments` of videos whose every frame is a key image. mask (B, K), padding last -> (B, K).

    >>> one_frame_per_segment(torch.tensor([[True, True, False]]))
    tensor([[ 0,  1, -1]])
    """
    return torch.arange(mask.shape[1], device=mask.device).where(mask, -1)
