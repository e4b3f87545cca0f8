"""Shared by all answerers: their prompt template and which requests have an answer at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import Field

from .. import prompt_templates
from ..errors import AnswerError
from ..plugins import BaseOptions
from ..prompt_templates import AnswerTemplate
from ..types import AnswerRequest, VideoInput
from ..utils.budget import current


class AnswerOptions(BaseOptions):
    """How questions are put to a model."""

    template: str = Field("answer", description="the words: a file, or a name in prompts/")
    max_tokens: int | None = Field(None, ge=1, le=512, description="tokens of an answer; default: the template's")

    @property
    def prompt_template(self) -> AnswerTemplate:
        """The template, read at use. Raises UsageError or ConfigError where it cannot be used."""
        template = prompt_templates.answer(self.template)
        if self.max_tokens is None:
            return template
        return template.model_copy(update={"max_tokens": self.max_tokens})


def request_error(request: AnswerRequest, video_input: VideoInput) -> AnswerError | None:
    """Return why a request cannot be answered; None where it can."""
    if not request.question.strip():
        return AnswerError("the question is empty")
    if request.text is not None:
        return None if request.text.strip() else AnswerError("the text that is asked about is empty")
    if video_input == "pictures":
        key_images = len(request.pictures)
    else:
        key_images = len(request.features.segments) if request.features else 0
    if key_images:
        return None
    return AnswerError(f"a question about a video that comes without {video_input} of key images")


def affordable(rows: Sequence[int], answers: list[str | AnswerError], advance: Callable[[], object]) -> Sequence[int]:
    """Return the rows of requests that may be asked together now, by the budget of the query.

    The answer of the others is the reason why not.

    Args:
        rows: of requests that have no answer yet.
        answers: of all requests; those of the rows left out are written.
        advance: called once for each row that is left out.
    """
    budget = current()
    affordable_rows = rows[: budget.take(len(rows))]
    for row in rows[len(affordable_rows) :]:
        answers[row] = AnswerError(budget.shortage)
        advance()
    return affordable_rows
