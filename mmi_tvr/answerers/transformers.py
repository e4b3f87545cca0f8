"""The model that searches also answers, in this process, looking at the features of the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import Field

from ..errors import AnswerError
from ..protocols import Model
from ..types import AnswerRequest
from ._common import VideoInput, said
from ._reading import Reading, ReadingOptions


class Options(ReadingOptions):
    """Options of answers from the model in this process."""

    batch: int = Field(32, ge=1, description="questions answered together")


def build(options: Options, *, device: str = "auto", model: Model | None = None) -> TransformersAnswerer:
    return TransformersAnswerer(options, Reading(options, device, model))


class TransformersAnswerer:
    """Greedy answers; questions of like length go together, and the batch size changes no answer.

    `model` is shared, not loaded again. A question that is longer than the model reads gets an error.
    """

    name = "transformers"
    video_input: VideoInput = "features"

    def __init__(self, options: Options, reading: Reading) -> None:
        self.options = options
        self._reading = reading

    def answer(
        self, requests: Sequence[AnswerRequest], advance: Callable[[], object] = lambda: None
    ) -> list[str | AnswerError]:
        llava, limit = self._reading.llava, self.options.words.max_tokens
        found = self._reading.prompts(requests)
        prompts = {row: prompt for row, prompt in enumerate(found) if isinstance(prompt, str)}
        for _ in range(len(found) - len(prompts)):
            advance()
        lengths = dict(zip(prompts, llava.lengths(list(prompts.values())), strict=True))
        order = sorted(prompts, key=lambda row: lengths[row])
        for first in range(0, len(order), self.options.batch):
            rows = order[first : first + self.options.batch]
            with self._reading.speaking():
                visual = self._reading.visual([requests[row] for row in rows])
                replies = llava.generate([prompts[row] for row in rows], visual, limit)
            for row, reply in zip(rows, replies, strict=True):
                found[row] = said(reply)
                advance()
        return found

    def fingerprint(self) -> str:
        return self._reading.fingerprint(self.name)
