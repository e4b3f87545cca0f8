"""A language model judges in vLLM's engine in this process: on a GPU, with what prompts share computed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..chat.answer_words import AnswerWords
from ..encoders import hub
from ..encoders.vllm_engine import EngineOptions, VllmEngine, shared_engine
from ..errors import AnswerError, UsageError
from ..protocols import AnsweringModel, Model
from ..types import Judgement
from ..utils.budget import current
from ..utils.hashing import digest
from ..utils.installation import require
from ..utils.loading import late_property
from ..utils.wording import model_title
from ._common import JudgeOptions, judge_distinct, too_long
from ._prompts import PromptMaker

_ALTERNATIVES = 20  # likeliest tokens that the engine gives, by default at most


class Options(JudgeOptions, EngineOptions):
    """Options of judging in vLLM's engine. Without a `checkpoint` it is the model that searches."""


def build(options: Options, *, device: str = "auto", model: Model | None = None) -> VllmJudge:
    """Return the judge. UsageError where no checkpoint is named and the model that searches has no language."""
    if options.checkpoint is not None:
        return VllmJudge(options, hub.locate(options.checkpoint))
    if not isinstance(model, AnsweringModel):
        problem = f"{model_title(model)} has no language model" if model else "no model was given"
        raise UsageError(f"nobody judges: {problem}; name a checkpoint, or another judge")
    model.require_language_model()
    return VllmJudge(options, hub.locate(model.language_checkpoint()), model.adapter_folder())


class VllmJudge:
    """Reads the two answers' probabilities among the likeliest first tokens. The engine starts at the first pair
    (MissingExtra, ModelNotFound); an answerer `vllm` of the same options shares it."""

    name = "vllm"

    def __init__(self, options: Options, folder: Path, adapter: Path | None = None) -> None:
        self.options = options
        self._folder, self._adapter = folder, adapter
        self._template = options.prompt_template
        self._words = AnswerWords(self._template.positive, self._template.negative)

    def judge(
        self, text: str, videos: Sequence[str], advance: Callable[[], object] = lambda: None
    ) -> list[Judgement | AnswerError]:
        if videos:
            with current().paused():  # it may be loaded now
                self._engine.started()
        return judge_distinct(videos, lambda distinct: self._prompts.judge(text, distinct, self._judgements), advance)

    def fingerprint(self) -> str:
        adapter = hub.checkpoint_digest(self._adapter) if self._adapter else None
        checkpoint = hub.checkpoint_digest(self._folder)
        return digest("judge", self.name, checkpoint, adapter, self.options.dtype, self._template.model_dump())

    @late_property
    def _engine(self) -> VllmEngine:
        return shared_engine(self._folder, self._adapter, self.options)

    @late_property
    def _prompts(self) -> PromptMaker:
        return PromptMaker(self._engine.llm.get_tokenizer(), self._folder, self._template)

    def _judgements(self, prompts: Sequence[str]) -> list[Judgement | AnswerError | str]:
        """Return the judgement of each prompt, or its likeliest token where that begins neither answer."""
        sampling = require("vllm", "vllm").SamplingParams(temperature=0.0, max_tokens=1, logprobs=_ALTERNATIVES)
        ids = self._prompts.ids(prompts)
        limit = int(self._engine.llm.llm_engine.model_config.max_model_len) - 1  # one is for the answer
        judgements: list[Judgement | AnswerError | str] = [too_long(len(row), limit) for row in ids]
        rows = [row for row, tokens in enumerate(ids) if len(tokens) <= limit]
        replies = self._engine.generate([{"prompt_token_ids": ids[row]} for row in rows], sampling)
        current().add(tokens=sum(len(ids[row]) + 1 for row in rows))
        for row, reply in zip(rows, replies, strict=True):
            judgements[row] = self._read(reply.outputs[0].logprobs[0])
        return judgements

    def _read(self, alternatives: Mapping[int, Any]) -> Judgement | str:
        """Return the judgement from vLLM's alternatives of a token, by id; or the likeliest where there is none."""
        tokenizer = self._engine.llm.get_tokenizer()
        tokens = [(str(tokenizer.decode([token])), float(other.logprob)) for token, other in alternatives.items()]
        probability = self._words.probability(tokens)
        if probability is None:
            return max(tokens, key=lambda pair: pair[1])[0]
        return Judgement(probability)
