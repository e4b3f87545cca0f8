"""One batch's gradient: terms over the whole batch from its embeddings, further terms chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..nn import losses
from ..nn.distillation import distillation
from ..nn.losses import EmbeddedPairs
from . import gradcache
from .adapters import inputs_as_they_are
from .bank import Bank
from .options import CONTRASTIVE, DISTILL, RANKING
from .protocol import Batch, ModelWithBatchTerms, ModelWithSimilarity, Trainable, chunks, size

_OVER_BATCH = {CONTRASTIVE, RANKING, DISTILL}  # terms that are computed here, over the whole batch


@dataclass(frozen=True, slots=True)
class BatchLoss:
    """The loss of one batch: the `ids` of its B pairs, its `terms`, unweighted scalars, and its `pairs`, detached (None
    where the batch was not embedded)."""

    ids: Sequence[Any]
    terms: dict[str, Tensor]
    pairs: EmbeddedPairs | None = None

    def ids_not_finite(self) -> list[Any]:
        """Return the ids of the pairs whose vectors are not finite."""
        if self.pairs is None:
            return []
        finite = self.pairs.text.isfinite().all(dim=-1) & self.pairs.video.isfinite().all(dim=-1)
        return [pair for pair, is_finite in zip(self.ids, finite.tolist(), strict=True) if not is_finite]


class Objective:
    """Calls the model and adds gradients.

    Args:
        model: is trained; it compares by cosine unless it offers `similarity`, and may offer `batch_terms`.
        temperature: of `contrastive`, and of the student in `distill`.
        chunk: pairs held in memory at once (None: all).
        bf16: autocast the model to bfloat16 on `device`.
        device: of the model.
        margin: of `ranking`.
        bank: further negatives of `contrastive`; it is read here and extended by who makes the step.
        describes: whether the captions of one sample are true of another one's video, by their numbers; such a pair is
            no negative of `ranking`. None: of none.
    """

    def __init__(
        self,
        model: Trainable,
        temperature: losses.Temperature,
        *,
        chunk: int | None,
        bf16: bool,
        device: torch.device,
        margin: float = 0.25,
        bank: Bank | None = None,
        describes: Callable[[int, int], bool] | None = None,
    ) -> None:
        self._model, self._temperature, self._chunk = model, temperature, chunk
        self._bf16, self._device = bf16, device
        self._margin, self._bank = margin, bank
        self._true_of = None if describes is None else true_of(describes)
        self._similarity = model.similarity if isinstance(model, ModelWithSimilarity) else None
        self._batch_terms = model if isinstance(model, ModelWithBatchTerms) else None

    def backward(
        self, batch: Batch, weights: Mapping[str, float], share: float = 1.0, mean_share: float = 0.0
    ) -> BatchLoss:
        """Add `share` times the gradient of the weighted terms to the parameters.

        Args:
            batch: this process's pairs.
            weights: of the terms, by name.
            share: of the gradient.
            mean_share: of `ranking` (`losses.ranking`).

        Returns:
            The terms, unweighted, and the pairs that were embedded.
        """
        with inputs_as_they_are(self._model) if self._bf16 else nullcontext():
            return self._backward(batch, weights, share, mean_share)

    def _backward(self, batch: Batch, weights: Mapping[str, float], share: float, mean_share: float) -> BatchLoss:
        pieces = chunks(batch, self._chunk)
        whole = {CONTRASTIVE, RANKING, DISTILL} | (
            self._batch_terms.batch_term_names if self._batch_terms else frozenset()
        )
        over_batch = {name: weight * share for name, weight in weights.items() if name in whole}
        terms: dict[str, Tensor] = {}
        pairs = None
        if over_batch:
            embed = self._embed_with_taught if DISTILL in over_batch else self._embed
            terms, embedded = gradcache.backward(
                embed, pieces, lambda tensors: self._terms(tensors, over_batch, mean_share), over_batch
            )
            pairs = EmbeddedPairs(*embedded[:3])
        further = {name: weight for name, weight in weights.items() if name not in whole}
        if further:
            terms |= self._further_terms(batch, pieces, further, share)
        return BatchLoss(batch["ids"], terms, pairs)

    def _terms(self, embedded: Sequence[Tensor], weights: Mapping[str, float], mean_share: float) -> dict[str, Tensor]:
        """Return the terms over the whole batch, from what `embed_batch` returned for all of it, and behind that what
        `distill` reads."""
        terms: dict[str, Tensor] = {}
        if DISTILL in weights:
            *embedded, query, candidate, teacher, lists = embedded
            terms[DISTILL] = distillation(
                query, candidate, self._temperature(), teacher, lists, similarity=self._similarity
            )
        text, video, groups = embedded[:3]
        if CONTRASTIVE in weights:
            bank = None if self._bank is None else self._bank.pairs
            terms[CONTRASTIVE] = losses.info_nce(
                text, video, self._temperature(), groups, similarity=self._similarity, bank=bank
            )
        if RANKING in weights:
            terms[RANKING] = losses.ranking(
                text,
                video,
                self._margin,
                groups,
                similarity=self._similarity,
                true_of=self._true_of,
                mean_share=mean_share,
            )
        names = [name for name in weights if name not in terms]
        if self._batch_terms is not None and names:
            with torch.autocast(self._device.type, enabled=False):
                terms |= self._batch_terms.batch_terms(embedded, names)
        return terms

    def _further_terms(
        self, batch: Batch, pieces: Sequence[Batch], weights: Mapping[str, float], share: float
    ) -> dict[str, Tensor]:
        """Add the gradients of the model's own terms, piece by piece, and return the terms' means over the batch."""
        means: dict[str, Tensor] = {}
        for piece in pieces:
            with self._autocast():
                terms = self._model.loss_terms(piece, tuple(weights))
            torch.autograd.backward(losses.weighted_sum(terms, weights) * (share * size(piece) / size(batch)))
            for name in weights:
                means[name] = means.get(name, 0.0) + terms[name].detach() * size(piece) / size(batch)
        return means

    def _embed(self, batch: Batch) -> tuple[Tensor, ...]:
        with self._autocast():
            return self._model.embed_batch(batch)

    def _embed_with_taught(self, batch: Batch) -> tuple[Tensor, ...]:
        taught = batch[DISTILL]
        query, candidate = self._embed(taught)[:2]
        return *self._embed(batch), query, candidate, taught["teacher"], taught["lists"]

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._bf16)


def true_of(describes: Callable[[int, int], bool]) -> losses.TrueOf:
    """Return which of T texts are true of which of V videos, as `losses.ranking` asks: by the samples' numbers."""

    def relation(texts: Tensor, videos: Tensor) -> Tensor:
        rows = [[describes(text, video) for video in videos.tolist()] for text in texts.tolist()]
        return torch.from_numpy(np.array(rows, dtype=bool)).to(texts.device)

    return relation
