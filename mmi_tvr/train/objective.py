"""One batch's gradient: the contrastive term over the whole batch, further terms chunk by chunk."""

from __future__ import annotations

from collections.abc import Mapping
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
class Pushed:
    """What one batch gave: its `terms`, unweighted scalars; `finite` (B,), whether each pair's vectors are finite."""

    terms: dict[str, Tensor]
    finite: Tensor | None = None


class Objective:
    """Calls the model and adds gradients.

    chunk: pairs held in memory at once (None: all). bf16: autocast the model to bfloat16 on `device`.
    """

    def __init__(
        self, model: Trainable, temperature: losses.Temperature, *, chunk: int | None, bf16: bool, device: torch.device
    ) -> None:
        self._model, self._temperature, self._chunk = model, temperature, chunk
        self._bf16, self._device = bf16, device

    def backward(self, batch: Batch, weights: Mapping[str, float], share: float = 1.0) -> Pushed:
        """Add `share` times the gradient of the weighted terms to the parameters."""
        pieces = chunks(batch, self._chunk)
        terms: dict[str, Tensor] = {}
        finite = None
        if weight := weights.get(CONTRASTIVE):
            value, (text, video, _) = gradcache.backward(self._embed, pieces, self._contrastive, weight * share)
            terms[CONTRASTIVE] = value
            finite = text.isfinite().all(dim=-1) & video.isfinite().all(dim=-1)
        if others := {name: weight for name, weight in weights.items() if name != CONTRASTIVE}:
            for piece in pieces:
                for name, value in self._others(piece, others, share * size(piece) / size(batch)).items():
                    terms[name] = terms.get(name, 0.0) + value * size(piece) / size(batch)
        return Pushed(terms, finite)

    def _others(self, piece: Batch, weights: Mapping[str, float], share: float) -> dict[str, Tensor]:
        with self._autocast():
            terms = self._model.loss_terms(piece, tuple(weights))
        torch.autograd.backward(losses.weighted_sum(terms, weights) * share)
        return {name: terms[name].detach() for name in weights}

    def _contrastive(self, text: Tensor, video: Tensor, groups: Tensor) -> Tensor:
        return losses.info_nce(text, video, self._temperature(), groups)

    def _embed(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        with self._autocast():
            return self._model.embed_batch(batch)

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._bf16)
