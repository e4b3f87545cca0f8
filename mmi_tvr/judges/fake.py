"""Judgements that are fixed in the options, and failures on demand: for tests, and to try what uses judgements."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from functools import partial

from pydantic import Field

from ..errors import AnswerError, MmiTvrError
from ..plugins import BaseOptions
from ..protocols import Model
from ..types import JudgedBy, Judgement, ShownVideo, VideoInput
from ..utils.budget import current
from ..utils.hashing import digest
from ._common import show_error


class Options(BaseOptions):
    """Options of judgements that are made up."""

    probabilities: dict[str, float] = Field({}, description="p by video skeleton; any other gets `probability`")
    probability: float | None = Field(
        None, ge=0, le=1, description="p of other skeletons; default: the share of the text's words that they have"
    )
    judged_by: JudgedBy = Field("log-probabilities", description="what p is read from")
    sees: VideoInput = Field("features", description="what a video must carry to be looked at")
    visual: dict[str, float] = Field({}, description="p of a video, by the text; any other text gets `probability`")
    fail: tuple[str, ...] = Field((), description="video skeletons, and texts about videos, that are not judged")
    delay: float = Field(0.0, ge=0, description="seconds before each judgement")
    dies: int | None = Field(None, ge=0, description="after so many judgements it can work no more")


def build(options: Options, *, device: str = "auto", model: Model | None = None) -> FakeJudge:
    return FakeJudge(options)


class FakeJudge:
    """Deterministic, and loads nothing. `pairs` are those that it was sent, `shown` the texts that it was sent with
    videos, one for each video, for tests to look at."""

    name = "fake"

    def __init__(self, options: Options) -> None:
        self.options = options
        self.video_input: VideoInput = options.sees
        self.pairs: list[tuple[str, str]] = []
        self.shown: list[str] = []

    def judge(
        self, text: str, videos: Sequence[str], advance: Callable[[], object] = lambda: None
    ) -> list[Judgement | AnswerError]:
        def judgement(video: str) -> Judgement | AnswerError:
            self.pairs.append((text, video))
            return self._judgement(text, video)

        return [self._paid(partial(judgement, video), advance) for video in videos]

    def judge_videos(
        self, text: str, videos: Sequence[ShownVideo], advance: Callable[[], object] = lambda: None
    ) -> list[Judgement | AnswerError]:
        def judgement(video: ShownVideo) -> Judgement | AnswerError:
            self.shown.append(text)
            return show_error(text, video, self.video_input) or self._visual_judgement(text)

        return [self._paid(partial(judgement, video), advance) for video in videos]

    def fingerprint(self) -> str:
        return digest("judge", self.name, self.options.model_dump(mode="json", exclude={"delay", "dies"}))

    def visual_fingerprint(self) -> str:
        return digest("looks", self.fingerprint())

    def _paid(
        self, judgement: Callable[[], Judgement | AnswerError], advance: Callable[[], object]
    ) -> Judgement | AnswerError:
        """Return a judgement where the budget allows it. MmiTvrError where the options let the judge die by now."""
        if self.options.dies is not None and len(self.pairs) + len(self.shown) >= self.options.dies:
            raise MmiTvrError(f"the fake judge died after {self.options.dies} judgements, as it was told to")
        if current().take(1):
            time.sleep(min(self.options.delay, current().remaining()))
            judged = judgement()
        else:
            judged = AnswerError(current().shortage)
        advance()
        return judged

    def _visual_judgement(self, text: str) -> Judgement | AnswerError:
        if text in self.options.fail:
            return AnswerError("no judgement, as it was told")
        probability = self.options.visual.get(text, self.options.probability)
        return Judgement(0.5 if probability is None else probability, self.options.judged_by)

    def _judgement(self, text: str, video: str) -> Judgement | AnswerError:
        if video in self.options.fail:
            return AnswerError("no judgement, as it was told")
        probability = self.options.probabilities.get(video, self.options.probability)
        if probability is None:
            words = set(_words(text))
            probability = len(words & set(_words(video))) / max(1, len(words))
        return Judgement(probability, self.options.judged_by)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
