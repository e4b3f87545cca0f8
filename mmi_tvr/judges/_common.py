"""Shared by all judges: the question, and that a skeleton which occurs several times is judged once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from pydantic import Field

from .. import prompt_templates
from ..errors import AnswerError
from ..plugins import BaseOptions
from ..prompt_templates import JudgeTemplate

T = TypeVar("T")


class JudgeOptions(BaseOptions):
    """How pairs of skeletons are put to a model."""

    template: str = Field("judge", description="the question and its two answers: a file, or a name in prompts/")

    @property
    def prompt_template(self) -> JudgeTemplate:
        """The template, read at use. Raises UsageError or ConfigError where it cannot be used."""
        return prompt_templates.judge(self.template)


def for_each(videos: Sequence[str], judge_distinct: Callable[[list[str]], Sequence[T]]) -> list[T]:
    """Return what `judge_distinct` makes of the different ones of N video skeletons, for each of the N.

    >>> for_each(["a", "bc", "a"], lambda distinct: [len(video) for video in distinct])
    [1, 2, 1]
    """
    distinct = list(dict.fromkeys(videos))
    judged = dict(zip(distinct, judge_distinct(distinct) if distinct else (), strict=True))
    return [judged[video] for video in videos]


def too_long(tokens: int, context: int) -> AnswerError:
    """Return the error of a pair whose prompt has more tokens than the model reads."""
    return AnswerError(
        f"two skeletons have {tokens} tokens with their question; the model reads {context}: make `quoted` in "
        "prompts/judge.yaml smaller"
    )
