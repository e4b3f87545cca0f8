"""What answerers share that have the vision features read by the language model of a retrieval model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from .. import models
from ..errors import AnswerError, UsageError
from ..protocols import AnsweringModel, Model, TrainedModel
from ..types import AnswerRequest
from ..utils.hashing import digest
from ._common import AskingOptions, unanswerable

if TYPE_CHECKING:
    from torch import Tensor

    from ..encoders.llava import Llava


class ReadingOptions(AskingOptions):
    """Options of answerers that read features."""

    weights: str | None = Field(
        None, description="a folder that training wrote, or a bundled model; default: the model that searches"
    )
    adapter: bool = Field(True, description="answer with the adapter attached; false: as the base does without it")


class Reading:
    """Questions as the language model of a retrieval model reads them. Weights are loaded at the first question.

    UsageError where there is no LLaVA to ask, or its tower is not the one that makes the features.
    """

    def __init__(self, options: ReadingOptions, device: str, model: Model | None) -> None:
        self.options = options
        self._device = device
        self._given = model

    @cached_property
    def model(self) -> AnsweringModel:
        """The retrieval model whose language model answers: the one that searches, or that of the option `weights`."""
        weights, searching = self.options.weights, self._given
        if weights is None or (isinstance(searching, TrainedModel) and searching.weights == weights):
            if not isinstance(searching, AnsweringModel):
                reason = f"{searching.name} has no language model" if searching else "no model was given"
                raise UsageError(
                    f"nobody to ask: {reason}; name weights, for example moving-shapes, or another answerer"
                )
            searching.require_language_model()
            return searching
        answering = models.make(models.trained_section(weights), self._device)
        if not isinstance(answering, AnsweringModel):
            raise UsageError(f"nobody to ask: {weights} has no language model")
        answering.require_language_model()
        if searching is not None and answering.vision_fingerprint() != searching.vision_fingerprint():
            raise UsageError(f"{weights} has another vision tower than the model that makes the features")
        return answering

    @cached_property
    def llava(self) -> Llava:
        llava: Llava = self.model.language_model()
        return llava

    def speaking(self) -> AbstractContextManager[None]:
        """Inside, the LLaVA is as it answers."""
        return nullcontext() if self.options.adapter else self.llava.unadapted()

    def prompts(self, requests: Sequence[AnswerRequest], context: int | None = None) -> list[str | AnswerError]:
        """The prompt of each, an image token a key image; an error where it cannot be asked or is too long.

        `context` is how many tokens can be read, those of the answer included; default: as the LLaVA's settings say.
        """
        errors = [unanswerable(request, "features") for request in requests]
        texts = [
            self._prompt(request) if error is None else "" for request, error in zip(requests, errors, strict=True)
        ]
        most = (context or self.llava.context) - self.options.words.max_tokens
        return [
            error
            or (text if length <= most else AnswerError(f"too long: the model reads {most} tokens before it speaks"))
            for text, length, error in zip(texts, self.llava.lengths(texts), errors, strict=True)
        ]

    def visual(self, requests: Sequence[AnswerRequest]) -> Tensor | None:
        """The visual tokens (N, tokens_per_image, d_lm) of all key images, in order; None where there are none."""
        import torch

        seen = [self._patches(request) for request in requests if request.text is None]
        if not seen:
            return None
        with torch.inference_mode():
            return self.llava.project(torch.from_numpy(np.concatenate(seen)))

    def fingerprint(self, *more: object) -> str:
        """Hash of the model, the words, and whatever else changes an answer."""
        return digest(self.model.fingerprint(), self.options.words.model_dump(), self.options.adapter, *more)

    def _prompt(self, request: AnswerRequest) -> str:
        """Question and text are data: nothing in them is a special token, or ends a quotation. A question is never cut
        (decision): half of one is another one."""
        words, llava = self.options.words, self.llava
        question = llava.quote(request.question.strip(), llava.context)
        if request.text is not None:
            return words.text.format(text=llava.quote(request.text, words.quoted), question=question)
        images = llava.image_token * len(request.features.segments) if request.features else ""
        return words.video.format(images=images, question=question)

    def _patches(self, request: AnswerRequest) -> np.ndarray:
        """(K, tokens_per_image, d_v) of one video."""
        found = request.features.arrays.get("patches") if request.features else None
        if found is None:
            raise UsageError(
                "these features hold no visual tokens ('patches'): index with a model that has a language model"
            )
        wanted = (self.llava.tokens_per_image, self.llava.base.model.multi_modal_projector.linear_1.in_features)
        if found.shape[1:] != wanted:
            raise UsageError(f"visual tokens of another model: {found.shape[1:]} a key image instead of {wanted}")
        return np.asarray(found, dtype=np.float32)
