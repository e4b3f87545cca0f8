"""Judgements that are fixed in the options, and failures on demand: for tests, and to try what uses judgements."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence

from pydantic import Field

from ..errors import AnswerError, MmiTvrError
from ..plugins import BaseOptions
from ..protocols import Model
from ..types import JudgedBy, Judgement
from ..utils.budget import current
from ..utils.hashing import digest


class Options(BaseOptions):
    """Options of judgements that are made up."""

    probabilities: dict[str, float] = Field({}, description="p by video skeleton; any other gets `probability`")
    probability: float | None = Field(
        None, ge=0, le=1, description="p of other skeletons; default: the share of the text's words that they have"
    )
    judged_by: JudgedBy = Field("log-probabilities", description="what p is read from")
    fail: tuple[str, ...] = Field((), description="video skeletons that are not judged")
    delay: float = Field(0.0, ge=0, description="seconds before each judgement")
    dies: int | None = Field(None, ge=0, description="after so many judgements it can work no more")


def build(options: Options, *, device: str = "auto", model: Model | None = None) -> FakeJudge:
    return FakeJudge(options)


class FakeJudge:
    """Deterministic, and loads nothing. `pairs` are those that it was sent, for tests to look at."""

    name = "fake"

    def __init__(self, options: Options) -> None:
        self.options = options
        self.pairs: list[tuple[str, str]] = []

    def judge(
        self, text: str, videos: Sequence[str], advance: Callable[[], object] = lambda: None
    ) -> list[Judgement | AnswerError]:
        judgements: list[Judgement | AnswerError] = []
        for video in videos:
            if self.options.dies is not None and len(self.pairs) >= self.options.dies:
                raise MmiTvrError(f"the fake judge died after {self.options.dies} judgements, as it was told to")
            if current().take(1):
                time.sleep(min(self.options.delay, current().remaining()))
                self.pairs.append((text, video))
                judgements.append(self._judgement(text, video))
            else:
                judgements.append(AnswerError(current().shortage))
            advance()
        return judgements

    def fingerprint(self) -> str:
        return digest("judge", self.name, self.options.model_dump(mode="json", exclude={"delay", "dies"}))

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
