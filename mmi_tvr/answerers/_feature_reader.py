"""Shared by answerers whose language model reads cached vision features: the model, its prompts and visual tokens."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from .. import models
from ..encoders.visual_tokens import visual_tokens
from ..errors import AnswerError, UsageError
from ..protocols import AnsweringModel, Model, TrainedModel
from ..types import AnswerRequest, Features
from ..utils.hashing import digest
from ..utils.loading import late_property
from ..utils.wording import model_title
from ._common import AnswerOptions, request_error

if TYPE_CHECKING:
    from torch import Tensor

    from ..encoders.llava import Llava

_NO_FEATURES = Features(np.empty((0, 3)), {})


class FeatureReaderOptions(AnswerOptions):
    """Options of answerers that read features."""

    weights: str | None = Field(
        None, description="a folder that training wrote, or a bundled model; default: the model that searches"
    )
    adapter: bool = Field(True, description="answer with the adapter attached; false: as the base does without it")


class FeatureReader:
    """Requests as the language model of a retrieval model reads them. Weights are loaded at the first question.

    Raises UsageError where there is no LLaVA to ask, or its tower is not the one that makes the features.
    """

    def __init__(self, options: FeatureReaderOptions, device: str, model: Model | None) -> None:
        self.options = options
        self._device = device
        self._search_model = model

    @late_property
    def model(self) -> AnsweringModel:
        """The retrieval model whose language model answers: the one that searches, or that of the option `weights`."""
        weights, search_model = self.options.weights, self._search_model
        if weights is None or (isinstance(search_model, TrainedModel) and search_model.weights == weights):
            if not isinstance(search_model, AnsweringModel):
                reason = f"{model_title(search_model)} has no language model" if search_model else "no model was given"
                raise UsageError(
                    f"nobody to ask: {reason}; name weights, for example moving-shapes, or another answerer"
                )
            search_model.require_language_model()
            return search_model
        model = models.make(models.trained_section(weights), self._device)
        if not isinstance(model, AnsweringModel):
            raise UsageError(f"nobody to ask: {weights} has no language model")
        model.require_language_model()
        if search_model is not None and model.vision_fingerprint() != search_model.vision_fingerprint():
            raise UsageError(f"{weights} has another vision tower than the model that makes the features")
        return model

    @late_property
    def llava(self) -> Llava:
        llava: Llava = self.model.language_model()
        return llava

    def adapter_state(self) -> AbstractContextManager[None]:
        """Return a context in which the adapter is attached or detached, as the options say."""
        return nullcontext() if self.options.adapter else self.llava.unadapted()

    def prompts(self, requests: Sequence[AnswerRequest], context: int | None = None) -> list[str | AnswerError]:
        """Return the prompt of each request, an image token a key image; an error where it has none or is too long.

        `context` is how many tokens can be read, those of the answer included; default: as the LLaVA's settings say.
        """
        errors = [request_error(request, "features") for request in requests]
        texts = [
            self._prompt(request) if error is None else "" for request, error in zip(requests, errors, strict=True)
        ]
        limit = (context or self.llava.context) - self.options.prompt_template.max_tokens
        prompts: list[str | AnswerError] = []
        for text, length, error in zip(texts, self.llava.token_counts(texts), errors, strict=True):
            if error is None and length > limit:
                error = AnswerError(f"too long: the model reads {limit} tokens before it speaks")
            prompts.append(error or text)
        return prompts

    def visual_tokens(self, requests: Sequence[AnswerRequest]) -> Tensor | None:
        """Return the visual tokens (N, tokens_per_image, d_lm) of all key images in order; None without any."""
        videos = [request.features or _NO_FEATURES for request in requests if request.text is None]
        return visual_tokens(self.llava, videos) if videos else None

    def fingerprint(self, *details: object) -> str:
        """Hash the language model, the prompt template, and whatever else changes an answer (`details`)."""
        language = self.model.language_fingerprint(self.options.adapter)
        return digest(language, self.options.prompt_template.model_dump(), *details)

    def _prompt(self, request: AnswerRequest) -> str:
        """Return the prompt of one request.

        Question and text are data: no part of them is a special token, or ends a quotation. A question is never cut
        (decision): half of one is another one.
        """
        template, llava = self.options.prompt_template, self.llava
        question = llava.quote(request.question.strip(), llava.context)
        if request.text is not None:
            return template.text.format(text=llava.quote(request.text, template.quoted), question=question)
        images = llava.image_token * len(request.features.segments) if request.features else ""
        return template.video.format(images=images, question=question)
