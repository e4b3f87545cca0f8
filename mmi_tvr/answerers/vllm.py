"""Answers from vLLM in this process: many at once, on a GPU, with what they share of their prompts computed once.

Decision: the engine is given visual tokens (vLLM's image embeddings), made by our projector from the features of the
cache. So it sees a key image as the model was trained to, with grid x grid tokens, and no picture is read twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from ..chat.replies import as_answer
from ..encoders import hub
from ..encoders.vllm_engine import EngineOptions, VllmEngine, shared_engine
from ..errors import AnswerError
from ..protocols import Model
from ..types import AnswerRequest, VideoInput
from ..utils.budget import current
from ..utils.installation import require
from ..utils.loading import late_property
from ._common import affordable
from ._feature_reader import FeatureReader, FeatureReaderOptions


class Options(FeatureReaderOptions, EngineOptions):
    """Options of answers from vLLM."""

    batch: int = Field(256, ge=1, description="questions handed over together")


def build(options: Options, *, device: str = "auto", model: Model | None = None) -> VllmAnswerer:
    return VllmAnswerer(options, FeatureReader(options, device, model))


class VllmAnswerer:
    """Greedy answers. The engine starts at the first question (MissingExtra, ModelNotFound) and stays.

    The language model is in memory twice where searching needs it, too: there in torch, here in vLLM.
    """

    name = "vllm"
    video_input: VideoInput = "features"

    def __init__(self, options: Options, reader: FeatureReader) -> None:
        self.options = options
        self._reader = reader

    def answer(
        self, requests: Sequence[AnswerRequest], advance: Callable[[], object] = lambda: None
    ) -> list[str | AnswerError]:
        vllm = require("vllm", "vllm")
        greedy = vllm.SamplingParams(temperature=0.0, max_tokens=self.options.prompt_template.max_tokens)
        answers = self._reader.prompts(requests, self.options.max_model_len)  # each prompt is replaced by its answer
        rows = [row for row, prompt in enumerate(answers) if isinstance(prompt, str)]
        for _ in range(len(answers) - len(rows)):
            advance()
        budget = current()
        for first in range(0, len(rows), self.options.batch):
            batch = affordable(rows[first : first + self.options.batch], answers, advance)
            if not batch:
                continue
            with budget.paused():  # it may be loaded now
                engine = self._engine.started()
            inputs = self.inputs([str(answers[row]) for row in batch], [requests[row] for row in batch])
            replies = engine.generate(inputs, greedy)
            budget.add(tokens=sum(len(reply.prompt_token_ids) + len(reply.outputs[0].token_ids) for reply in replies))
            for row, reply in zip(batch, replies, strict=True):
                answers[row] = as_answer(reply.outputs[0].text)
                advance()
        return answers

    def answering_model(self, search_model: str) -> str:
        """Return the weights of the options, else the model that searches."""
        return self.options.weights or search_model

    def fingerprint(self) -> str:
        merged = hub.checkpoint_digest(hub.locate(self.options.checkpoint)) if self.options.checkpoint else None
        return self._reader.fingerprint(self.name, merged, self.options.dtype)

    def inputs(self, prompts: Sequence[str], requests: Sequence[AnswerRequest]) -> list[dict[str, Any]]:
        """Return what vLLM reads: ids with one image token a key image, and their visual tokens (K, T, d_lm)."""
        with self._reader.adapter_state():
            visual = self._reader.visual_tokens(requests)
        tokenized = self._reader.llava.tokenizer(list(prompts))["input_ids"]
        inputs: list[dict[str, Any]] = []
        first = 0
        for ids, request in zip(tokenized, requests, strict=True):
            inputs.append({"prompt_token_ids": ids})
            if visual is not None and request.text is None and request.features:
                last = first + len(request.features.segments)
                inputs[-1]["multi_modal_data"] = {"image": visual[first:last].float().cpu()}
                first = last
        return inputs

    @late_property
    def _adapter(self) -> Path | None:
        """The trained adapter, where it is not merged into the checkpoint."""
        merged = self.options.checkpoint is not None
        if merged or not self.options.adapter:
            return None
        return self._reader.model.adapter_folder()

    @late_property
    def _engine(self) -> VllmEngine:
        folder = hub.locate(self.options.checkpoint or self._reader.model.language_checkpoint())
        return shared_engine(folder, self._adapter, self.options)
