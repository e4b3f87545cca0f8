"""Where in a video a query happens: a head on a transformer over the query and the key images (`query_encoder`).

Decisions, after DETR-like moment retrieval (Lei et al., "Detecting Moments and Highlights in Videos via Natural
Language Queries", NeurIPS 2021), with key images in the place of learned slots:

- Every key image proposes a span and the time that shows it best, as offsets from its own time in tenths of the video;
  a distribution over the key images says whom to believe.
- The answer is the mean of the proposals that agree (IoU of at least 1/2) with the one that all others agree with most:
  a mean over all of them lies between two events where two are likely.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .options import QueryHeadOptions
from .pooling import masked_softmax, zero_padding
from .query_encoder import QueryEncoder, relative_times

_PRIOR = 0.1  # of the video's length: how far a proposal reaches to either side before training
_AGREEMENT = 0.5  # IoU of two proposals that mean the same


class MomentProposals(NamedTuple):
    """What B queries get from the K key images of a video each."""

    logits: Tensor  # (B, K), lowest where there is no key image
    spans: Tensor  # (B, K, 3) start, end and best time, in seconds


class MomentHead(QueryEncoder):
    """Query and key images -> proposals. Module and parameter names are the keys of trained weights.

    Args:
        width: D, of the vectors of queries and key images.
        options: sizes.
    """

    def __init__(self, width: int, options: QueryHeadOptions) -> None:
        super().__init__(width, options)
        size = options.width
        self.score = nn.Linear(size, 1)
        self.offsets = nn.Sequential(nn.Linear(size, size), nn.GELU(), nn.Linear(size, 3))

    def forward(self, queries: Tensor, images: Tensor, segments: Tensor, mask: Tensor) -> MomentProposals:
        """Return what each key image proposes; arguments as those of `QueryEncoder.encode`."""
        segments = zero_padding(segments, mask)
        encoded = self.encode(queries, images, segments, mask)  # (B, 1 + K, W)
        _, duration = relative_times(segments, mask)
        logits = self.score(encoded[:, 1:]).squeeze(-1)
        lowest = torch.finfo(logits.dtype).min / 2
        prior = logits.new_tensor([-_PRIOR, _PRIOR, 0.0])
        offsets = prior + 0.1 * self.offsets(encoded[:, 1:] + encoded[:, :1])  # in durations
        spans = segments[..., 2:] + offsets * duration[..., None]
        return MomentProposals(logits.masked_fill(~mask, lowest), spans)


def best_spans(proposals: MomentProposals, segments: Tensor, mask: Tensor) -> Tensor:
    """Return one span (B, 3) a query from its proposals: start, end and best time, in seconds, inside the video.

    segments and mask: as in `MomentHead.forward`.
    """
    weights = masked_softmax(proposals.logits, mask)  # (B, K)
    bounds = proposals.spans[..., :2]
    agreement = overlap(bounds[:, :, None], bounds[:, None])  # (B, K, K)
    votes = (agreement * weights[:, None]).sum(dim=-1).masked_fill(~mask, -1.0)
    winner = votes.argmax(dim=1)
    agreeing = agreement[torch.arange(len(winner)), winner] >= _AGREEMENT  # (B, K)
    agreeing[torch.arange(len(winner)), winner] = True  # also where its span has no length
    weights = weights * agreeing
    shares = weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-12)
    video = torch.stack([segments[:, 0, 0], zero_padding(segments, mask)[..., 1].amax(dim=1)], dim=1)  # (B, 2)
    span = (shares[..., None] * bounds).sum(dim=1).clamp(video[:, :1], video[:, 1:]).sort(dim=1).values
    time = proposals.spans[torch.arange(len(winner)), weights.argmax(dim=1), 2]
    return torch.cat([span, time.clamp(span[:, 0], span[:, 1])[:, None]], dim=1)


def moment_loss(proposals: MomentProposals, segments: Tensor, mask: Tensor, spans: Tensor, events: Tensor) -> Tensor:
    """Return the loss of proposals, the mean over the batch of four parts of equal weight.

    Cross-entropy of the distribution against the key images inside an event (the nearest one, where none is); of these,
    the distance of their bounds and of their best time from the true ones, in tenths of the video; and 1 - generalised
    IoU (Rezatofighi et al. 2019) of the mean proposal under the distribution.

    Args:
        proposals: of B queries.
        segments: (B, K, 3), as `MomentHead.forward` has them.
        mask: (B, K) bool.
        spans: (B, 2) true start and end, in seconds.
        events: (B, E, 2) the stretches that the query is about; NaN is padding.
    """
    times = segments[..., 2]  # (B, K)
    centres = events.mean(dim=-1)  # (B, E)
    distances = (times[:, :, None] - centres[:, None]).abs().nan_to_num(nan=math.inf)  # (B, K, E)
    nearest = distances.argmin(dim=-1)  # (B, K)
    centre = centres.gather(1, nearest)
    inside = ((times[:, :, None] >= events[:, None, :, 0]) & (times[:, :, None] <= events[:, None, :, 1])).any(
        -1
    ) & mask
    distance = distances.min(dim=-1).values.masked_fill(~mask, math.inf)
    nearest_image = distance == distance.min(dim=1, keepdim=True).values
    target = torch.where(inside.any(dim=1, keepdim=True), inside, nearest_image).to(times)
    target = target / target.sum(dim=1, keepdim=True)  # (B, K)
    choice = -(target * proposals.logits.log_softmax(dim=-1)).sum(dim=-1)
    _, duration = relative_times(segments, mask)
    truth = torch.cat([spans[:, None].expand(-1, times.shape[1], -1), centre[..., None]], dim=-1)  # (B, K, 3)
    errors = (proposals.spans - truth).abs().sum(dim=-1) / (0.1 * duration)  # (B, K)
    weights = masked_softmax(proposals.logits, mask)
    mean_span = (weights[..., None] * proposals.spans[..., :2]).sum(dim=1)
    hull = torch.maximum(mean_span[:, 1], spans[:, 1]) - torch.minimum(mean_span[:, 0], spans[:, 0])
    common = torch.minimum(mean_span[:, 1], spans[:, 1]) - torch.maximum(mean_span[:, 0], spans[:, 0])
    return (choice + (target * errors).sum(dim=-1) + 1 - common / hull.clamp(min=1e-6)).mean()


def overlap(first: Tensor, second: Tensor) -> Tensor:
    """Return the IoU of spans (..., 2); 0 where either has no length."""
    common = torch.minimum(first[..., 1], second[..., 1]) - torch.maximum(first[..., 0], second[..., 0])
    lengths = (first[..., 1] - first[..., 0]).clamp(min=0) + (second[..., 1] - second[..., 0]).clamp(min=0)
    common = common.clamp(min=0)
    return common / (lengths - common).clamp(min=1e-6)
