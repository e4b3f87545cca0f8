"""One batch's gradient: the contrastive term over the whole batch, further terms chunk by chunk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..nn import losses
from . import gradcache
from .options import CONTRASTIVE
from .protocol import Batch, Trainable, chunks, size


@dataclass(frozen=True, slots=True)
class BatchLoss:
    """The loss of one batch: the `ids` of its B pairs, its `terms`, unweighted scalars, and `finite` (B,) bool, whether
    each pair's vectors are finite (None where the batch was not embedded)."""

    ids: Sequence[Any]
    terms: dict[str, Tensor]
    finite: Tensor | None = None

    def ids_not_finite(self) -> list[Any]:
        """Return the ids of the pairs whose vectors are not finite."""
        if self.finite is None:
            return []
        return [pair for pair, finite in zip(self.ids, self.finite.tolist(), strict=True) if not finite]


class Objective:
    """Calls the model and adds gradients.

    chunk: pairs held in memory at once (None: all). bf16: autocast the model to bfloat16 on `device`.
    """

    def __init__(
        self, model: Trainable, temperature: losses.Temperature, *, chunk: int | None, bf16: bool, device: torch.device
    ) -> None:
        self._model, self._temperature, self._chunk = model, temperature, chunk
        self._bf16, self._device = bf16, device

    def backward(self, batch: Batch, weights: Mapping[str, float], share: float = 1.0) -> BatchLoss:
        """Add `share` times the gradient of the weighted terms to the parameters."""
        pieces = chunks(batch, self._chunk)
        terms: dict[str, Tensor] = {}
        finite = None
        if CONTRASTIVE in weights:
            weight = weights[CONTRASTIVE] * share
            terms[CONTRASTIVE], (text, video, _) = gradcache.backward(self._embed, pieces, self._contrastive, weight)
            finite = text.isfinite().all(dim=-1) & video.isfinite().all(dim=-1)
        further = {name: weight for name, weight in weights.items() if name != CONTRASTIVE}
        if further:
            terms |= self._further_terms(batch, pieces, further, share)
        return BatchLoss(batch["ids"], terms, finite)

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

    def _contrastive(self, text: Tensor, video: Tensor, groups: Tensor) -> Tensor:
        return losses.info_nce(text, video, self._temperature(), groups)

    def _embed(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        with self._autocast():
            return self._model.embed_batch(batch)

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._bf16)
