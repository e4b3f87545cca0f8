"""Losses: tensors in, a scalar out. They know the other processes' rows (`utils.distributed`) and no model.

Each is a mean over the batch of all processes, scaled so that averaging gradients over processes gives the full
batch's gradient; the mean of the values over processes is the loss. Arithmetic is float32 whatever comes in.

Shapes: B rows of this process, N of all processes, D the width of the embeddings, K key images of a video, L levels
that are compared by themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from copy import copy
from functools import wraps
from typing import Any, Literal, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import UsageError
from ..types import Direction
from ..utils.distributed import all_reduce_sum, gather, rank, row_counts, world_size

Loss = TypeVar("Loss", bound=Callable[..., Tensor])
# Texts (T, D), videos (V, D) and who queries -> scores (T, V), or (L, T, V) where levels have a loss each: these are
# added. It gets the vectors as the model gave them, in float32. None instead of one: the cosine.
Similarity = Callable[[Tensor, Tensor, Direction], Tensor]
# Numbers of the videos of texts (T,) and of videos (V,) -> (T, V) bool: whether each text is true of each video.
TrueOf = Callable[[Tensor, Tensor], Tensor]
KlKind = Literal["features", "batch", "symmetric"]
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


class EmbeddedPairs(NamedTuple):
    """Vectors of pairs: `text` (B, D), `video` (B, D), and `groups` (B,) int64, the number of each pair's video."""

    text: Tensor
    video: Tensor
    groups: Tensor


@without_autocast
def info_nce(
    text: Tensor,
    video: Tensor,
    scale: Tensor,
    groups: Tensor | None = None,
    *,
    similarity: Similarity | None = None,
    bank: EmbeddedPairs | None = None,
    true_of: TrueOf | None = None,
) -> Tensor:
    """Return L_r: symmetric InfoNCE over the global batch (Oord et al. 2018; eq. 8, decision).

    Every pair of a group is a positive of every other, and competes with the pairs of other groups alone (decision):
    captions of one video are not negatives of each other. With no group twice this is plain InfoNCE.

    Args:
        text: (B, D), the texts of this process's pairs, of any length: cosines make them unit vectors.
        video: (B, D), their videos, likewise.
        scale: what scores are multiplied by (1 / temperature), a scalar.
        groups: (B,) int64, the same number for pairs of the same video; None: no two are.
        similarity: compares texts and videos; texts query by its "t2v", videos by its "v2t". None: cosines.
        bank: pairs of past batches, the same in every process, which are negatives besides. Decision: one of the same
            group is neither a negative nor a positive, because its vectors are those of a model that has moved on.
        true_of: which texts are true of which other videos, and so no negatives of them; None: of none.

    Returns:
        A scalar.
    """
    rows = _Rows(text, video, groups, unit=similarity is None)
    same = positive = rows.groups[:, None] == rows.all_groups  # (B, N)
    if bank is not None:
        rows = rows.with_bank(bank)
        same = rows.groups[:, None] == rows.all_groups  # (B, N + Q)
        positive = functional.pad(positive, (0, len(bank.groups)))
    same_videos = same_texts = same
    if true_of is not None:
        same_videos = same | true_of(rows.groups, rows.all_groups)
        same_texts = same | true_of(rows.all_groups, rows.groups).T
    text_to_video, video_to_text = rows.scores(similarity, scale)
    summed = _several_positives(text_to_video, positive, same_videos)
    summed = summed + _several_positives(video_to_text, positive, same_texts)
    return summed / 2 * world_size() / rows.count


@without_autocast
def ranking(
    text: Tensor,
    video: Tensor,
    margin: float,
    groups: Tensor | None = None,
    *,
    similarity: Similarity | None = None,
    true_of: TrueOf | None = None,
    mean_share: float = 0.0,
) -> Tensor:
    """Return the hinge loss of the hardest negatives over the global batch: the sum of both directions (MCSAN, eq. 34),
    the mean over pairs.

    Source: VSE++ (Faghri et al. 2018). Pairs of the same video are no negatives of each other, and no text is a
    negative of a video that it is true of (decision): the hardest negative would be a right answer.

    Args:
        text: (B, D), the texts of this process's pairs.
        video: (B, D), their videos.
        margin: by how much a pair must score above every negative.
        groups: (B,) int64, the same number for pairs of the same video; None: no two are.
        similarity: as in `info_nce`.
        true_of: which texts are true of which other videos; None: of none.
        mean_share: 0..1, the share of the mean over all negatives within the margin; the rest is the hardest one's.
            The hardest alone often teaches nothing to a model that has just started.

    Returns:
        A scalar.
    """
    rows = _Rows(text, video, groups, unit=similarity is None)
    other = rows.groups[:, None] != rows.all_groups  # (B, N)
    false_of_video = false_text = other
    if true_of is not None:
        false_of_video = other & ~true_of(rows.groups, rows.all_groups)  # videos that the pair's text is false of
        false_text = other & ~true_of(rows.all_groups, rows.groups).T  # texts that are false of the pair's video
    text_to_video, video_to_text = rows.scores(similarity, 1.0)
    summed = torch.zeros((), device=text.device)
    for scores, negative in ((text_to_video, false_of_video), (video_to_text, false_text)):
        pair = scores.diagonal(rows.first, dim1=-2, dim2=-1)[..., None]  # (..., B, 1), the pairs' own scores
        hinge = (margin + scores - pair).clamp(min=0).masked_fill(~negative, 0.0)  # (..., B, N)
        mean = hinge.sum(dim=-1) / (hinge > 0).sum(dim=-1).clamp(min=1)
        summed = summed + ((1 - mean_share) * hinge.amax(dim=-1) + mean_share * mean).sum()
    return summed * world_size() / rows.count


@without_autocast
def focal(
    logits: Tensor,
    labels: Tensor,
    alpha: float = 0.25,
    gamma: float = 2.0,
    *,
    alpha_negative: float | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    """Return the focal binary cross-entropy of multi-hot labels, divided by the number of positive labels.

    Source: Lin et al. 2017, eq. 5, who divide so. In the term of negatives MCSAN (eq. 35-37) prints (1 - p)^gamma where
    it must be p^gamma, and alpha where Lin et al. have 1 - alpha. gamma 0 with both alphas 1 is plain binary
    cross-entropy.

    Args:
        logits: (B, C), of C labels.
        labels: (B, C), 1 or true where a label holds, else 0.
        alpha: factor of positive labels.
        gamma: how much labels that are right already are played down.
        alpha_negative: factor of negative labels; None: 1 - alpha.
        weight: (B, C), what each label counts; None: 1.

    Returns:
        A scalar; without any positive label the sum, as if there were one.
    """
    logits, labels = logits.float(), labels.float()
    negative = 1 - alpha if alpha_negative is None else alpha_negative
    log_p, log_not_p = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    # p^gamma as exp(gamma log p), whose gradient is finite where p is 0.
    terms = alpha * labels * (gamma * log_not_p).exp() * log_p
    terms = terms + negative * (1 - labels) * (gamma * log_p).exp() * log_not_p
    return _global_mean(-(terms if weight is None else terms * weight).sum(), labels.sum())


@without_autocast
def kl(text: Tensor, video: Tensor, kind: KlKind = "features") -> Tensor:
    """Return how far the distributions of videos are from those of their texts, KL(text || video).

    Args:
        text: (B, D).
        video: (B, D).
        kind: "features": each row is a distribution over D features, and the mean over rows is returned (MCSAN;
            decision); "batch": each feature is one over the N rows of the global batch, and the mean is over features;
            "symmetric": as "features", the mean of KL(text || video) and KL(video || text).

    Returns:
        A scalar.
    """
    text, video = text.float(), video.float()
    count = torch.tensor(len(text), device=text.device)
    if kind == "batch":
        lengths = row_counts(text)
        first = sum(lengths[: rank()])
        local = slice(first, first + len(text))
        log_t, log_v = (gather(side, lengths).log_softmax(dim=0)[local] for side in (text, video))
        return _divergence(log_t, log_v) * world_size() / text.shape[1]
    log_t, log_v = text.log_softmax(dim=1), video.log_softmax(dim=1)
    summed = _divergence(log_t, log_v)
    if kind == "symmetric":
        summed = (summed + _divergence(log_v, log_t)) / 2
    return _global_mean(summed, count)


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


def next_token_cross_entropy(logits: Tensor, tokens: Tensor) -> Tensor:
    """Return -log P(T | V), the second half of L_m: the mean cross-entropy of tokens; 0 where there is none.

    Args:
        logits: (N, V), from the state before each token.
        tokens: (N,) int64.
    """
    summed = functional.cross_entropy(logits.float(), tokens, reduction="sum")
    return _global_mean(summed, torch.tensor(len(tokens), device=tokens.device))


def skeleton_cross_entropy(yes: Tensor, no: Tensor, match: Tensor) -> Tensor:
    """Return L_s (eq. 9): binary cross-entropy of p = P(yes) / (P(yes) + P(no)), which is sigmoid(yes - no).

    yes, no: (N,) logits of the two answer tokens. match: (N,) bool, whether the two skeletons belong together.
    """
    summed = functional.binary_cross_entropy_with_logits(yes.float() - no.float(), match.float(), reduction="sum")
    return _global_mean(summed, torch.tensor(match.numel(), device=match.device))


def batch_mean(values: Tensor) -> Tensor:
    """Return the mean over the global batch of a loss that each pair has by itself, (B,)."""
    return _global_mean(values.float().sum(), torch.tensor(len(values), device=values.device))


def weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Return the weighted sum of named scalars. A term with a weight that was not computed raises UsageError."""
    if missing := [name for name in weights if name not in terms]:
        raise UsageError(f"the model has no loss called {', '.join(missing)}; it gave: {', '.join(terms) or 'none'}")
    return torch.stack([weight * terms[name] for name, weight in weights.items()]).sum()


class _Rows:
    """Texts and videos of this process and of all, in float32.

    Args:
        text: (B, D).
        video: (B, D).
        groups: (B,), or None: every pair is one of its own.
        unit: whether vectors are made unit vectors.
    """

    def __init__(self, text: Tensor, video: Tensor, groups: Tensor | None, *, unit: bool) -> None:
        self._unit = unit
        self._text, self._video = self._prepared(text), self._prepared(video)
        lengths = row_counts(text)
        self.count, self.first = sum(lengths), sum(lengths[: rank()])  # N; the number of the first of this process
        if groups is None:
            groups = torch.arange(len(text), device=text.device) + self.first
        self.groups, self.all_groups = groups, gather(groups, lengths)  # (B,), (N,)
        self._all_texts, self._all_videos = gather(self._text, lengths), gather(self._video, lengths)  # (N, D)

    def with_bank(self, bank: EmbeddedPairs) -> _Rows:
        """Return the same rows with those of a bank behind the rows of all."""
        rows = copy(self)
        rows.all_groups = torch.cat([self.all_groups, bank.groups])
        rows._all_texts = torch.cat([self._all_texts, self._prepared(bank.text)])
        rows._all_videos = torch.cat([self._all_videos, self._prepared(bank.video)])
        return rows

    def scores(self, similarity: Similarity | None, scale: Tensor | float) -> tuple[Tensor, Tensor]:
        """Return `scale` times the scores (..., B, N) of texts with all videos, and of videos with all texts."""
        if similarity is None:
            return scale * self._text @ self._all_videos.T, scale * self._video @ self._all_texts.T
        video_to_text = similarity(self._all_texts, self._video, "v2t").mT
        return scale * similarity(self._text, self._all_videos, "t2v"), scale * video_to_text

    def _prepared(self, vectors: Tensor) -> Tensor:
        return functional.normalize(vectors.float(), dim=-1) if self._unit else vectors.float()


def _several_positives(logits: Tensor, positive: Tensor, same: Tensor) -> Tensor:
    """Sum over rows of the mean over positives of -log(e^s+ / (e^s+ + sum of e^s-)).

    logits: (..., B, N). positive: (B, N). same: (B, N), true where there is no negative.
    """
    negatives = logits.masked_fill(same, _finite_minimum(logits)).logsumexp(dim=-1, keepdim=True)  # (..., B, 1)
    losses = functional.softplus(negatives - logits)  # (..., B, N), -log(e^s / (e^s + e^negatives))
    summed: Tensor = ((losses * positive).sum(dim=-1) / positive.sum(dim=-1)).sum()
    return summed


def _divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """The sum of p (log p - log q)."""
    return functional.kl_div(log_q, log_p, reduction="sum", log_target=True)


def _global_mean(summed: Tensor, count: Tensor) -> Tensor:
    """The mean over the rows of all processes, from this process's sum and count; 0 where there are no rows."""
    return summed * world_size() / all_reduce_sum(count).clamp(min=1)


def _finite_minimum(logits: Tensor) -> float:
    """Stands for minus infinity, and has a gradient of zero instead of NaN where a whole row is that."""
    return torch.finfo(logits.dtype).min / 2
