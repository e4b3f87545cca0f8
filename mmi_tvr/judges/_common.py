"""Shared by all judges: the questions, and that a skeleton which occurs several times is judged once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import Field

from .. import prompt_templates
from ..errors import AnswerError
from ..plugins import BaseOptions
from ..prompt_templates import JudgeTemplate, VisualTemplate
from ..protocols import ModelWithJudge
from ..types import Judgement, ShownVideo, VideoInput
from ..utils.budget import current


class JudgeOptions(BaseOptions):
    """How pairs of skeletons are put to a model."""

    template: str = Field("judge", description="the question and its two answers: a file, or a name in prompts/")

    @property
    def prompt_template(self) -> JudgeTemplate:
        """The template, read at use. Raises UsageError or ConfigError where it cannot be used."""
        return prompt_templates.judge(self.template)


class SeeingJudgeOptions(JudgeOptions):
    """How pairs of skeletons, and videos, are put to a model."""

    visual_template: str = Field(
        "visual", description="the question about a video and its two answers: a file, or a name in prompts/"
    )

    @property
    def visual_prompt_template(self) -> VisualTemplate:
        """The template, read at use. Errors as of `prompt_template`."""
        return prompt_templates.visual(self.visual_template)


def judge_adapter(model: object) -> Path | None:
    """Return the folder of the adapter by which a model judges; None where it has none of its own."""
    return model.judge_adapter_folder() if isinstance(model, ModelWithJudge) else None


def judge_distinct(
    videos: Sequence[str],
    judge: Callable[[list[str]], Sequence[Judgement | AnswerError]],
    advance: Callable[[], object],
) -> list[Judgement | AnswerError]:
    """Return the judgement of each of N video skeletons; those that are equal are judged once.

    Args:
        videos: N skeletons.
        judge: judges different ones; as many as the budget of the query allows, each of which counts as a call.
        advance: called N times, when all are judged.
    """
    distinct = list(dict.fromkeys(videos))
    budget = current()
    affordable = distinct[: budget.take(len(distinct))]
    judged = dict(zip(affordable, judge(affordable) if affordable else (), strict=True))
    for _ in videos:
        advance()
    return [judged[video] if video in judged else AnswerError(budget.shortage) for video in videos]


def too_long(tokens: int, context: int, template: str) -> AnswerError:
    """Return the error of a pair whose prompt, of a template by its file or name, has more tokens than are read."""
    return AnswerError(
        f"two skeletons have {tokens} tokens with their question; the model reads {context}: make `quoted` in "
        f"{prompt_templates.shown(template)} smaller"
    )


def show_too_long(tokens: int, context: int) -> AnswerError:
    """Return the error of a video whose key images and question have more tokens than the model reads."""
    return AnswerError(f"question and key images have {tokens} tokens; the model reads {context}")


def show_error(text: str, video: ShownVideo, video_input: VideoInput) -> AnswerError | None:
    """Return why a judge cannot be shown a video and asked about a text; None where it can."""
    if not text.strip():
        return AnswerError("the text that is asked about is empty")
    if video_input == "pictures":
        key_images = len(video.pictures)
    else:
        key_images = len(video.features.segments) if video.features else 0
    return None if key_images else AnswerError(f"a video that comes without {video_input} of key images")


def judge_shown(
    text: str,
    videos: Sequence[ShownVideo],
    judge: Callable[[Sequence[ShownVideo]], Sequence[Judgement | AnswerError]],
    advance: Callable[[], object],
    together: int,
) -> list[Judgement | AnswerError]:
    """Return the judgement of each video that a judge is shown in pictures, as many as the budget of the query allows.

    Args:
        text: is asked about.
        videos: N videos.
        judge: judges some of them.
        advance: called N times.
        together: videos that are judged at once, at most.
    """
    budget = current()
    judgements: list[Judgement | AnswerError] = []
    for first in range(0, len(videos), together):
        batch = videos[first : first + together]
        reasons = [show_error(text, video, "pictures") for video in batch]
        shown = []
        for row, video in enumerate(batch):
            if reasons[row] is None and budget.take(1):
                shown.append(video)
            elif reasons[row] is None:
                reasons[row] = AnswerError(budget.shortage)
        judged = iter(judge(shown) if shown else ())
        for reason in reasons:
            judgements.append(reason or next(judged))
            advance()
    return judgements


def neither(token: str, template: JudgeTemplate | VisualTemplate) -> AnswerError:
    """Return the error of a question whose reply begins with a token of neither answer."""
    return AnswerError(
        f'the model begins its answer with "{token.strip()}": neither {template.positive} nor {template.negative}'
    )
