"""Losses: tensors in, a scalar out. They know the other processes' rows (`utils.distributed`) and no model.

Each is a mean over the batch of all processes, scaled so that averaging gradients over processes gives the full
batch's gradient; the mean of the values over processes is the loss. Arithmetic is float32 whatever comes in.

Shapes: B rows of this process, N of all processes, D the width of the embeddings, K key images of a video.
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
from ..utils.distributed import all_reduce_sum, gather, rank, row_counts, world_size

Loss = TypeVar("Loss", bound=Callable[..., Tensor])
IGNORE_INDEX = -100  # a label that is no target, as in transformers
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
        """Return the scale, a scalar."""
        return self.log_scale.exp()

    @torch.no_grad()
    def clamp_(self) -> None:
        """Bring the parameter back into its range."""
        self.log_scale.clamp_(0.0, math.log(MAX_SCALE))


def without_autocast(loss: Loss) -> Loss:
    """Leave autocast for a loss: in bfloat16 cosines keep two digits, and a temperature of 0.01 multiplies the rest."""

    @wraps(loss)
    def wrapper(first: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        with torch.autocast(first.device.type, enabled=False):
            return loss(first, *args, **kwargs)

    return cast(Loss, wrapper)


@without_autocast
def info_nce(text: Tensor, video: Tensor, scale: Tensor, groups: Tensor | None = None) -> Tensor:
    """Return L_r: symmetric InfoNCE over the global batch (Oord et al. 2018; eq. 8, decision).

    Every pair of a group is a positive of every other, and competes with the pairs of other groups alone (decision):
    captions of one video are not negatives of each other. With no group twice this is plain InfoNCE.

    Args:
        text: (B, D), the texts of this process's pairs, of any length: they are made unit vectors.
        video: (B, D), their videos, likewise.
        scale: what cosines are multiplied by (1 / temperature), a scalar.
        groups: (B,) int64, the same number for pairs of the same video; None: no two are.

    Returns:
        A scalar.
    """
    text, video = functional.normalize(text.float(), dim=-1), functional.normalize(video.float(), dim=-1)
    lengths = row_counts(text)
    if groups is None:
        groups = torch.arange(len(text), device=text.device) + sum(lengths[: rank()])
    positive = groups[:, None] == gather(groups, lengths)  # (B, N)
    all_texts, all_videos = gather(text, lengths), gather(video, lengths)  # (N, D)
    text_to_video = _several_positives(scale * text @ all_videos.T, positive)
    video_to_text = _several_positives(scale * video @ all_texts.T, positive)
    return (text_to_video + video_to_text) / 2 * world_size() / sum(lengths)


@without_autocast
def masked_prediction(
    states: Tensor, keys: Tensor, masked: Tensor, valid: Tensor, scale: Tensor, copy: float = 0.999
) -> Tensor:
    """Return -log P(V | T), the first half of L_m = -log P(V | T) - log P(T | V) (eq. 3).

    Decision: pick each masked key image out of all key images of the global batch (InfoNCE). Other key images that are
    nearly the right one are no negatives: a still video has several of the same (decision).

    Args:
        states: (B, K, D), the model's states at the key images' places.
        keys: (B, K, D), the key images themselves.
        masked: (B, K) bool, the key images to predict.
        valid: (B, K) bool, false where there is padding.
        scale: what cosines are multiplied by (1 / temperature), a scalar.
        copy: cosine with the right key image above which another one counts as the same.

    Returns:
        A scalar; 0 where nothing is masked.

    Raises:
        ValueError: where padding is masked.
    """
    if bool((masked & ~valid).any()):
        raise ValueError("a padded place is masked; mask valid key images alone")
    keys = functional.normalize(keys.float(), dim=-1)
    lengths = row_counts(keys[valid])
    numbers = (valid.flatten().cumsum(0) - 1).view_as(valid) + sum(lengths[: rank()])  # of each key image, globally
    targets = numbers[masked]  # (M,)
    candidates = gather(keys[valid], lengths)  # (C, D)
    copies = keys.detach()[masked] @ candidates.detach().T > copy  # (M, C)
    copies.scatter_(1, targets[:, None], False)
    logits = scale * functional.normalize(states[masked].float(), dim=-1) @ candidates.T  # (M, C)
    logits = logits.masked_fill(copies, _finite_minimum(logits))
    return _global_mean(functional.cross_entropy(logits, targets, reduction="sum"), masked.sum())


def next_token_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return -log P(T | V), the second half of L_m: cross-entropy of the next token, the mean over real targets.

    The state at a place predicts the token at the next one, as in transformers.

    Args:
        logits: (B, L, V).
        labels: (B, L) int64, the input ids, with IGNORE_INDEX where a token is no target.

    Returns:
        A scalar; 0 where there is no target.
    """
    next_labels = labels[:, 1:].flatten()
    summed = functional.cross_entropy(
        logits[:, :-1].float().flatten(0, 1), next_labels, ignore_index=IGNORE_INDEX, reduction="sum"
    )
    return _global_mean(summed, (next_labels != IGNORE_INDEX).sum())


def skeleton_cross_entropy(yes: Tensor, no: Tensor, match: Tensor) -> Tensor:
    """Return L_s (eq. 9): binary cross-entropy of p = P(yes) / (P(yes) + P(no)), which is sigmoid(yes - no).

    yes, no: (N,) logits of the two answer tokens. match: (N,) bool, whether the two skeletons belong together.
    """
    summed = functional.binary_cross_entropy_with_logits(yes.float() - no.float(), match.float(), reduction="sum")
    return _global_mean(summed, torch.tensor(match.numel(), device=match.device))


def weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Return the weighted sum of named scalars. A term with a weight that was not computed raises UsageError."""
    if missing := [name for name in weights if name not in terms]:
        raise UsageError(f"the model has no loss called {', '.join(missing)}; it gave: {', '.join(terms) or 'none'}")
    return torch.stack([weight * terms[name] for name, weight in weights.items()]).sum()


def _several_positives(logits: Tensor, positive: Tensor) -> Tensor:
    """Sum over rows of the mean over positives of -log(e^s+ / (e^s+ + sum of e^s-)). Both (B, N)."""
    negatives = logits.masked_fill(positive, _finite_minimum(logits)).logsumexp(dim=1, keepdim=True)  # (B, 1)
    losses = functional.softplus(negatives - logits)  # (B, N), -log(e^s / (e^s + e^negatives))
    summed: Tensor = ((losses * positive).sum(dim=1) / positive.sum(dim=1)).sum()
    return summed


def _global_mean(summed: Tensor, count: Tensor) -> Tensor:
    """The mean over the rows of all processes, from this process's sum and count; 0 where there are no rows."""
    return summed * world_size() / all_reduce_sum(count).clamp(min=1)


def _finite_minimum(logits: Tensor) -> float:
    """Stands for minus infinity, and has a gradient of zero instead of NaN where a whole row is that."""
    return torch.finfo(logits.dtype).min / 2
