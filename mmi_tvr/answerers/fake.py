"""Answers that are fixed in the options, and failures on demand: for tests, and to try what uses answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from pydantic import Field

from ..chat.replies import as_answer
from ..errors import AnswerError, MmiTvrError
from ..plugins import BaseOptions
from ..protocols import Model
from ..types import AnswerRequest, VideoInput
from ..utils.budget import current
from ..utils.hashing import digest
from ._common import request_error


class Options(BaseOptions):
    """Options of answers that are made up."""

    sees: VideoInput = Field("features", description="what a question about a video must carry")
    answers: dict[str, str] = Field({}, description="answers by question; any other question gets the rule's")
    rule: str = Field(
        "{about}", description="the answer to other questions; {about}: the text, or how many key images; {question}"
    )
    fail: tuple[str, ...] = Field((), description="questions that get no answer")
    late: tuple[str, ...] = Field((), description="questions that get none in time")
    delay: float = Field(0.0, ge=0, description="seconds before each answer")
    dies: int | None = Field(None, ge=0, description="after so many answers it can work no more")


def build(options: Options, *, device: str = "auto", model: Model | None = None) -> FakeAnswerer:
    return FakeAnswerer(options)


class FakeAnswerer:
    """Deterministic, and loads nothing. `requests` are those that it was sent, for tests to look at."""

    name = "fake"

    def __init__(self, options: Options) -> None:
        self.options = options
        self.video_input: VideoInput = options.sees
        self.requests: list[AnswerRequest] = []

    def answer(
        self, requests: Sequence[AnswerRequest], advance: Callable[[], object] = lambda: None
    ) -> list[str | AnswerError]:
        answers: list[str | AnswerError] = []
        for request in requests:
            if self.options.dies is not None and len(self.requests) >= self.options.dies:
                raise MmiTvrError(f"the fake answerer died after {self.options.dies} answers, as it was told to")
            try:
                current().begin()
                time.sleep(min(self.options.delay, current().remaining()))
                self.requests.append(request)
                answers.append(request_error(request, self.video_input) or self._answer(request))
            except AnswerError as shortage:
                answers.append(shortage)
            advance()
        return answers

    def fingerprint(self) -> str:
        return digest(self.name, self.options.model_dump(mode="json", exclude={"delay", "dies"}))

    def _answer(self, request: AnswerRequest) -> str | AnswerError:
        if request.question in self.options.late:
            return AnswerError("no answer in time, as it was told")
        if request.question in self.options.fail:
            return AnswerError("no answer, as it was told")
        key_images = len(request.features.segments) if request.features else len(request.pictures)
        subject = f"{key_images} key images" if request.text is None else request.text
        rule = self.options.rule.replace("{question}", request.question).replace("{about}", subject)
        return as_answer(self.options.answers.get(request.question, rule))
