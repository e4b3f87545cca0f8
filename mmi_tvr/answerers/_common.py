"""What every answerer does alike: its words, what can be asked at all, what counts as an answer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .. import prompt_templates
from ..errors import AnswerError
from ..plugins import BaseOptions
from ..prompt_templates import AnswerTemplate
from ..types import AnswerRequest

VideoInput = Literal["features", "pictures"]


class AskingOptions(BaseOptions):
    """How questions are put."""

    template: str = Field("answer", description="the words: a file, or a name in prompts/")
    max_tokens: int | None = Field(None, ge=1, le=512, description="tokens of an answer; default: the template's")

    @property
    def words(self) -> AnswerTemplate:
        """The template, read at use. UsageError or ConfigError where it cannot be used."""
        found = prompt_templates.answer(self.template)
        return found.model_copy(update={"max_tokens": self.max_tokens}) if self.max_tokens else found


def unanswerable(request: AnswerRequest, sees: VideoInput) -> AnswerError | None:
    """Why this cannot be asked; None where it can."""
    if not request.question.strip():
        return AnswerError("the question is empty")
    if request.text is not None:
        return None if request.text.strip() else AnswerError("the text that is asked about is empty")
    given = len(request.pictures) if sees == "pictures" else len(request.features.segments) if request.features else 0
    return None if given else AnswerError(f"a question about a video that comes without {sees} of key images")


def said(reply: str) -> str | AnswerError:
    """A reply as an answer: one line, and never an empty one.

    >>> said(" a red circle\\n"), said(" ")
    ('a red circle', AnswerError('the model said nothing'))
    """
    return " ".join(reply.split()) or AnswerError("the model said nothing")
