"""Whether a video shows what a query says: a head on a transformer over the query and the key images (`query_encoder`).

A score compares two vectors that were made without knowing each other; this head sees both at once. Decision: it reads
the video's vector besides, by itself and multiplied with the query, which is what scores compare.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ..types import Embeddings, FloatArray
from .options import QueryHeadOptions
from .query_encoder import QueryEncoder, encoder_inputs


class MatchingHead(QueryEncoder):
    """Query and video -> the logit of "this video shows what the query says". Module and parameter names are the keys
    of trained weights.

    Args:
        width: D, of the vectors of queries, videos and key images.
        options: sizes.
    """

    def __init__(self, width: int, options: QueryHeadOptions) -> None:
        super().__init__(width, options)
        self.video = nn.Linear(width, options.width, bias=False)
        self.video_product = nn.Linear(width, options.width, bias=False)
        self.score = nn.Linear(options.width, 1)

    def forward(self, queries: Tensor, videos: Tensor, images: Tensor, segments: Tensor, mask: Tensor) -> Tensor:
        """Return the logits (B,) of queries with a video of their own each.

        Args:
            queries: (B, D) unit vectors.
            videos: (B, D) unit vectors.
            images: (B, K, D), `segments` (B, K, 3) and `mask` (B, K), as `QueryEncoder.encode` has them.
        """
        scale = videos.shape[-1] ** 0.5
        known = self.video(videos * scale) + self.video_product(queries * videos * scale**2)
        states = self.encode(queries, images, segments, mask, known)
        logits: Tensor = self.score(states[:, 0]).squeeze(-1)
        return logits


def matching_inputs(queries: FloatArray, videos: Sequence[Embeddings]) -> dict[str, Tensor]:
    """Return queries (B, D) and a video of its own each, by the names of the arguments of a matching head."""
    vectors = np.array([video.video for video in videos], dtype=np.float32)
    return encoder_inputs(queries, videos) | {"videos": torch.from_numpy(vectors)}


def matching_loss(logits: Tensor, matches: Tensor) -> Tensor:
    """Return the binary cross-entropy of logits (B,) against what is true (B,), both answers counting as much as each
    other in the batch, however many of either there are."""
    logits = logits.float()  # also where the head runs in bfloat16
    truth = matches.to(logits)
    true = truth.sum().clamp(min=1)
    false = (1 - truth).sum().clamp(min=1)
    weights = truth / (2 * true) + (1 - truth) / (2 * false)
    return (weights * binary_cross_entropy_with_logits(logits, truth, reduction="none")).sum()
