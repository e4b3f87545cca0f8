"""A query and the vectors of a video's key images, read together by a small transformer.

It reads what an index holds anyway, the unit vectors of query and key images and the segments, so a search can run a
head on it on its best hits alone. A key image is its vector, what changed since the one before and to the one after,
its product with the query, and its times: relative to the video, and seconds as logarithms (decision).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..types import Embeddings, FloatArray
from ..utils.padding import padded
from .options import QueryHeadOptions
from .pooling import zero_padding

_FREQUENCIES = 8  # of a time relative to the video: 1/4 of a period to 32
_LEAST_SECONDS = 0.1


class QueryEncoder(nn.Module):
    """Base of the heads that read a query and a video. Module and parameter names are the keys of trained weights.

    Args:
        width: D, of the vectors of queries and key images.
        options: sizes.
    """

    def __init__(self, width: int, options: QueryHeadOptions) -> None:
        super().__init__()
        size = options.width
        self.query = nn.Linear(width, size)
        self.image = nn.Linear(width, size)
        self.before = nn.Linear(width, size, bias=False)
        self.after = nn.Linear(width, size, bias=False)
        self.product = nn.Linear(width, size, bias=False)
        self.times = nn.Sequential(nn.Linear(3 * (1 + 2 * _FREQUENCIES) + 4, size), nn.GELU(), nn.Linear(size, size))
        layer = nn.TransformerEncoderLayer(
            size, options.heads, 4 * size, options.dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, options.layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(size)

    def encode(
        self, queries: Tensor, images: Tensor, segments: Tensor, mask: Tensor, video: Tensor | None = None
    ) -> Tensor:
        """Return the states of the query, first, and of each key image (B, 1 + K, W).

        Args:
            queries: (B, D) unit vectors.
            images: (B, K, D) unit vectors of key images in order of time, padding last.
            segments: (B, K, 3) start, end and time of each key image, in seconds.
            mask: (B, K) bool, false where there is no key image.
            video: (B, W), what else is known of each video; it is added to the query.
        """
        scale = images.shape[-1] ** 0.5  # a unit vector then weighs as much as a layer-normed one
        images, segments = zero_padding(images, mask) * scale, zero_padding(segments, mask)
        scaled = queries * scale
        changes = images.diff(dim=1) * mask[:, 1:, None]
        relative, duration = relative_times(segments, mask)
        tokens = self.image(images) + self.times(torch.cat([relative, _logarithms(segments, duration)], dim=-1))
        tokens = tokens + self.before(functional.pad(changes, (0, 0, 1, 0)))
        tokens = tokens + self.after(functional.pad(changes, (0, 0, 0, 1))) + self.product(scaled[:, None] * images)
        first = self.query(scaled) if video is None else self.query(scaled) + video
        tokens = torch.cat([first[:, None], tokens], dim=1)  # (B, 1 + K, W)
        padding = functional.pad(~mask, (1, 0))
        states: Tensor = self.norm(self.encoder(tokens, src_key_padding_mask=padding))
        return states


def encoder_inputs(queries: FloatArray, videos: Sequence[Embeddings]) -> dict[str, Tensor]:
    """Return queries (B, D) and a video of its own each, by the names of the arguments of `QueryEncoder.encode`."""
    images = torch.from_numpy(padded([video.moments for video in videos]))
    counts = torch.tensor([len(video.segments) for video in videos])
    return {
        "queries": torch.from_numpy(np.asarray(queries, dtype=np.float32)),
        "images": images,
        "segments": torch.from_numpy(padded([video.segments for video in videos])),
        "mask": torch.arange(images.shape[1]) < counts[:, None],
    }


def relative_times(segments: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return times relative to the video with their waves (B, K, 3 (1 + 2 F)), and its duration in seconds (B, 1)."""
    start = segments[:, :1, 0]
    duration = (segments[..., 1].masked_fill(~mask, 0).amax(dim=1, keepdim=True) - start).clamp(min=_LEAST_SECONDS)
    relative = (segments - start[..., None]) / duration[..., None]
    angles = relative[..., None] * (2.0 ** torch.arange(_FREQUENCIES, device=segments.device) * math.pi / 2)
    return torch.cat([relative, angles.sin().flatten(2), angles.cos().flatten(2)], dim=-1), duration


def _logarithms(segments: Tensor, duration: Tensor) -> Tensor:
    """Return (B, K, 4): the length of a segment, what of it lies before and after its key image, and the duration."""
    start, end, time = segments.unbind(dim=-1)
    lengths = torch.stack([end - start, time - start, end - time, duration.expand_as(time)], dim=-1)
    return torch.log(lengths.clamp(min=0) + _LEAST_SECONDS)
