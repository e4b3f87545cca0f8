"""The model that searches also answers, in this process, looking at the features of the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import Field

from ..chat.replies import as_answer
from ..errors import AnswerError
from ..protocols import Model
from ..types import AnswerRequest, VideoInput
from ..utils.budget import current
from ._common import affordable
from ._feature_reader import FeatureReader, FeatureReaderOptions


class Options(FeatureReaderOptions):
    """Options of answers from the model in this process."""

    batch: int = Field(32, ge=1, description="questions answered together")


def build(options: Options, *, device: str = "auto", model: Model | None = None) -> TransformersAnswerer:
    return TransformersAnswerer(options, FeatureReader(options, device, model))


class TransformersAnswerer:
    """Greedy answers; questions of like length go together, and the batch size changes no answer.

    `model` is shared, not loaded again. A question that is longer than the model reads gets an error.
    """

    name = "transformers"
    video_input: VideoInput = "features"

    def __init__(self, options: Options, reader: FeatureReader) -> None:
        self.options = options
        self._reader = reader

    def answer(
        self, requests: Sequence[AnswerRequest], advance: Callable[[], object] = lambda: None
    ) -> list[str | AnswerError]:
        budget = current()
        with budget.paused():  # it may be loaded now
            llava = self._reader.llava
        limit = self.options.prompt_template.max_tokens
        answers = self._reader.prompts(requests)  # prompts and errors; each prompt is replaced by its answer
        prompts = {row: prompt for row, prompt in enumerate(answers) if isinstance(prompt, str)}
        for _ in range(len(answers) - len(prompts)):
            advance()
        lengths = dict(zip(prompts, llava.token_counts(list(prompts.values())), strict=True))
        order = sorted(prompts, key=lambda row: lengths[row])
        for first in range(0, len(order), self.options.batch):
            rows = affordable(order[first : first + self.options.batch], answers, advance)
            if not rows:
                continue
            with self._reader.adapter_state():
                visual = self._reader.visual_tokens([requests[row] for row in rows])
                replies = llava.generate([prompts[row] for row in rows], visual, limit)
            budget.add(tokens=sum(lengths[row] for row in rows) + sum(llava.token_counts(replies)))
            for row, reply in zip(rows, replies, strict=True):
                answers[row] = as_answer(reply)
                advance()
        return answers

    def answering_model(self, search_model: str) -> str:
        """Return the weights of the options, else the model that searches."""
        return self.options.weights or search_model

    def fingerprint(self) -> str:
        return self._reader.fingerprint(self.name)
