"""Losses: tensors in, a scalar out. They know the other processes' rows (`processes`) and no model.

Each is a mean over the batch of all processes, scaled so that averaging gradients over processes gives the full
batch's gradient; the mean of the values over processes is the loss. Arithmetic is float32 whatever comes in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import UsageError
from ..utils.distributed import gather, rank, sizes, total, world

T = TypeVar("T", bound=Callable[..., Tensor])
IGNORED = -100  # a label that is no target, as in transformers
MAX_SCALE = 100.0


class Temperature(nn.Module):
    """A learned temperature: multiplies cosines by a scale between 1 and 100.

    Source: CLIP (Radford et al. 2021), which learns the logarithm. The parameter itself is clamped after each step
    (`clamp_`), because a clamp in the forward pass would leave it without gradient, stuck beyond the limit.
    """

    def __init__(self, start: float = 0.07) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / start)))
        self.clamp_()

    def forward(self) -> Tensor:
        """The scale, a scalar."""
        return self.log_scale.exp()

    @torch.no_grad()
    def clamp_(self) -> None:
        """Bring the parameter back into its range."""
        self.log_scale.clamp_(0.0, math.log(MAX_SCALE))


def in_float32(loss: T) -> T:
    """Leave autocast for a loss: in bfloat16 cosines keep two digits, and a temperature of 0.01 multiplies the rest."""

    @wraps(loss)
    def calm(first: Tensor, *rest: Any, **named: Any) -> Tensor:
        with torch.autocast(first.device.type, enabled=False):
            return loss(first, *rest, **named)

    return cast(T, calm)


@in_float32
def contrastive(text: Tensor, video: Tensor, scale: Tensor, groups: Tensor | None = None) -> Tensor:
    """L_r: symmetric InfoNCE over the global batch (Oord et al. 2018; eq. 8, decision).

    text, video: (B, D), this process's pairs; they are made unit vectors. scale: a scalar. groups: (B,) int64, the
    same number for pairs of the same video (None: no two are). Every pair of a group is a positive of every other,
    and competes with the pairs of other groups alone (decision): captions of one video are not negatives of each
    other. With no group twice this is plain InfoNCE.
    """
    text, video = (functional.normalize(side.float(), dim=-1) for side in (text, video))
    lengths = sizes(text)
    if groups is None:
        groups = torch.arange(len(text), device=text.device) + sum(lengths[: rank()])
    everyone = gather(groups, lengths)
    positive = groups[:, None] == everyone  # (B, N)
    texts, videos = gather(text, lengths), gather(video, lengths)
    to_video = _several_positives(scale * text @ videos.T, positive)
    to_text = _several_positives(scale * video @ texts.T, positive)
    return (to_video + to_text) / 2 * world() / sum(lengths)


@in_float32
def masked_prediction(
    states: Tensor, keys: Tensor, masked: Tensor, valid: Tensor, scale: Tensor, copy: float = 0.999
) -> Tensor:
    """Half of L_m: pick each masked key image out of all key images of the global batch (InfoNCE, decision).

    states: (B, K, D), the model's states at the key images' places. keys: (B, K, D), the key images themselves.
    masked, valid: (B, K) bool; padding is not valid, and only valid key images may be masked. Other key images whose
    cosine with the right one is above `copy` are no negatives: a still video has several of the same (decision).
    """
    if bool((masked & ~valid).any()):
        raise ValueError("a padded place is masked; mask valid key images alone")
    keys = functional.normalize(keys.float(), dim=-1)
    lengths = sizes(keys[valid])
    places = (valid.flatten().cumsum(0) - 1).view_as(valid) + sum(lengths[: rank()])
    targets = places[masked]  # (M,)
    candidates = gather(keys[valid], lengths)  # (C, D)
    copies = keys.detach()[masked] @ candidates.detach().T > copy
    copies.scatter_(1, targets[:, None], False)
    logits = scale * functional.normalize(states[masked].float(), dim=-1) @ candidates.T  # (M, C)
    logits = logits.masked_fill(copies, _least(logits))
    return _mean(functional.cross_entropy(logits, targets, reduction="sum"), masked.sum())


def next_token(logits: Tensor, labels: Tensor) -> Tensor:
    """The other half of L_m: the caption's tokens after the key images. Mean over real tokens.

    logits: (B, L, V). labels: (B, L) int64, the input ids, with IGNORED where a token is no target. The state at a
    place predicts the token at the next one, as in transformers.
    """
    following = labels[:, 1:].flatten()
    summed = functional.cross_entropy(
        logits[:, :-1].float().flatten(0, 1), following, ignore_index=IGNORED, reduction="sum"
    )
    return _mean(summed, (following != IGNORED).sum())


def skeleton(yes: Tensor, no: Tensor, match: Tensor) -> Tensor:
    """L_s: binary cross-entropy of p = P(yes) / (P(yes) + P(no)), which is sigmoid(yes - no).

    yes, no: (N,) logits of the two answer tokens. match: (N,) bool, whether the two skeletons belong together.
    """
    summed = functional.binary_cross_entropy_with_logits(yes.float() - no.float(), match.float(), reduction="sum")
    return _mean(summed, torch.tensor(match.numel(), device=match.device))


def weighted(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The weighted sum of named scalars. A term with a weight that was not computed raises UsageError."""
    if missing := [name for name in weights if name not in terms]:
        raise UsageError(f"the model has no loss called {', '.join(missing)}; it gave: {', '.join(terms) or 'none'}")
    return torch.stack([weight * terms[name] for name, weight in weights.items()]).sum()


def _several_positives(logits: Tensor, positive: Tensor) -> Tensor:
    """Sum over rows of the mean over positives of -log(e^s+ / (e^s+ + sum of e^s-)). Both (B, N)."""
    against = logits.masked_fill(positive, _least(logits)).logsumexp(dim=1, keepdim=True)
    each = functional.softplus(against - logits)  # -log(e^s / (e^s + e^against))
    summed: Tensor = ((each * positive).sum(dim=1) / positive.sum(dim=1)).sum()
    return summed


def _mean(summed: Tensor, count: Tensor) -> Tensor:
    return summed * world() / total(count).clamp(min=1)


def _least(logits: Tensor) -> float:
    """Stands for minus infinity, and has a gradient of zero instead of NaN where a whole row is that."""
    return torch.finfo(logits.dtype).min / 2
