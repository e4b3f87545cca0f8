"""A language model judges in vLLM's engine in this process: on a GPU, with what prompts share computed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from ..chat.answer_words import AnswerWords
from ..encoders import hub
from ..encoders.vllm_engine import EngineOptions, VllmEngine, shared_engine
from ..errors import AnswerError, UsageError
from ..protocols import AnsweringModel, Model
from ..types import Judgement, ShownVideo, VideoInput
from ..utils.budget import current
from ..utils.hashing import digest
from ..utils.installation import require
from ..utils.loading import late_property
from ..utils.wording import model_title
from ._common import SeeingJudgeOptions, judge_adapter, judge_distinct, judge_shown, too_long
from ._pictures import load_processor, picture_token, pil_images
from ._prompts import PromptMaker, Reading

_ALTERNATIVES = 20  # likeliest tokens that the engine gives, by default at most


class Options(SeeingJudgeOptions, EngineOptions):
    """Options of judging in vLLM's engine. Without a `checkpoint` it is the model that searches."""

    videos: int = Field(16, ge=1, description="videos that are looked at together, at most")


def build(options: Options, *, device: str = "auto", model: Model | None = None) -> VllmJudge:
    """Return the judge. UsageError where no checkpoint is named and the model that searches has no language."""
    if options.checkpoint is not None:
        return VllmJudge(options, hub.locate(options.checkpoint))
    if not isinstance(model, AnsweringModel):
        problem = f"{model_title(model)} has no language model" if model else "no model was given"
        raise UsageError(f"nobody judges: {problem}; name a checkpoint, or another judge")
    model.require_language_model()
    return VllmJudge(options, hub.locate(model.language_checkpoint()), judge_adapter(model) or model.adapter_folder())


class VllmJudge:
    """Reads the two answers' probabilities among the likeliest first tokens. The engine starts at the first pair
    (MissingExtra, ModelNotFound); an answerer `vllm` of the same options shares it."""

    name = "vllm"
    video_input: VideoInput = "pictures"

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

    def judge_videos(
        self, text: str, videos: Sequence[ShownVideo], advance: Callable[[], object] = lambda: None
    ) -> list[Judgement | AnswerError]:
        """Return a judgement of each video: see `protocols.SeeingJudge`. UsageError where no checkpoint is named.

        Decision: the model that searches is not shown pictures here, because it was trained on fewer visual tokens of
        each than the engine makes.
        """
        if self.options.checkpoint is None:
            raise UsageError("the model that searches looks by rerank.judge.name=llava; for vllm name a checkpoint")
        template = self.options.visual_prompt_template
        words = AnswerWords(template.positive, template.negative)
        with current().paused():  # it may be loaded now
            self._engine.started()
            token = self._picture_token

        def look(shown: Sequence[ShownVideo]) -> list[Judgement | AnswerError]:
            images = pil_images([video.pictures for video in shown])
            counts = [len(video) for video in images]
            return self._prompts.ask(
                lambda: self._prompts.visual_prompts(template, text, counts, token),
                lambda prompts: self._visual_readings(self._prompts.ids(prompts), words, images),
                template,
            )

        return judge_shown(text, videos, look, advance, self.options.videos)

    def visual_fingerprint(self) -> str:
        checkpoint = hub.checkpoint_digest(self._folder)
        return digest(
            "looks", self.name, checkpoint, self.options.dtype, self.options.visual_prompt_template.model_dump()
        )

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

    @late_property
    def _picture_token(self) -> str:
        return picture_token(load_processor(self._folder))

    def _judgements(self, prompts: Sequence[str]) -> list[Reading]:
        """Return the reading of each prompt."""
        ids = self._prompts.ids(prompts)
        limit = int(self._engine.llm.llm_engine.model_config.max_model_len) - 1  # one is for the answer
        readings: list[Reading] = [too_long(len(row), limit, self.options.template) for row in ids]
        rows = [row for row, tokens in enumerate(ids) if len(tokens) <= limit]
        for row, reading in zip(rows, self._readings([ids[row] for row in rows], self._words), strict=True):
            readings[row] = reading
        return readings

    def _visual_readings(
        self, ids: Sequence[Sequence[int]], words: AnswerWords, images: Sequence[Sequence[Any]]
    ) -> list[Reading]:
        """Return the reading of each prompt with its pictures.

        Where the engine, which alone knows how many tokens those have, refuses one of them, each is read by itself.
        """
        try:
            return self._readings(ids, words, images)
        except AnswerError as error:
            if len(ids) == 1:
                return [error]
            alone = [self._visual_readings([row], words, [shown]) for row, shown in zip(ids, images, strict=True)]
            return [reading for (reading,) in alone]

    def _readings(
        self, ids: Sequence[Sequence[int]], words: AnswerWords, images: Sequence[Sequence[Any]] = ()
    ) -> list[Reading]:
        """Return the reading of each prompt, by its tokens, in which each picture of `images` has one."""
        sampling = require("vllm", "vllm").SamplingParams(temperature=0.0, max_tokens=1, logprobs=_ALTERNATIVES)
        inputs: list[dict[str, Any]] = [{"prompt_token_ids": row} for row in ids]
        for row, pictures in enumerate(images):
            inputs[row]["multi_modal_data"] = {"image": pictures}
        replies = self._engine.generate(inputs, sampling)
        current().add(tokens=sum(len(reply.prompt_token_ids) + 1 for reply in replies))
        return [self._read(reply.outputs[0].logprobs[0], words) for reply in replies]

    def _read(self, alternatives: Mapping[int, Any], words: AnswerWords) -> Judgement | str:
        """Return the judgement from vLLM's alternatives of a token, by id; or the likeliest where there is none."""
        tokenizer = self._engine.llm.get_tokenizer()
        tokens = [(str(tokenizer.decode([token])), float(other.logprob)) for token, other in alternatives.items()]
        probability = words.probability(tokens)
        if probability is None:
            return max(tokens, key=lambda pair: pair[1])[0]
        return Judgement(probability)
