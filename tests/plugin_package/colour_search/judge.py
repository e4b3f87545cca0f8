"""Compares the colours that two skeletons name: p is the share that both have."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mmi_tvr.errors import AnswerError
from mmi_tvr.plugins import BaseOptions
from mmi_tvr.protocols import Model
from mmi_tvr.types import Judgement
from mmi_tvr.utils.hashing import digest

from . import COLOURS


class Options(BaseOptions):
    """Nothing can be set."""


def build(options: Options, *, device: str = "auto", model: Model | None = None) -> ColourAgreement:
    return ColourAgreement()


class ColourAgreement:
    """See `mmi_tvr.protocols.Judge`."""

    name = "colour_agreement"

    def judge(
        self, text: str, videos: Sequence[str], advance: Callable[[], object] = lambda: None
    ) -> list[Judgement | AnswerError]:
        judgements = []
        for video in videos:
            judgements.append(self._judgement(_colours(text), _colours(video)))
            advance()
        return judgements

    def fingerprint(self) -> str:
        return digest("judge", self.name, 1)

    def _judgement(self, text: set[str], video: set[str]) -> Judgement | AnswerError:
        if not text | video:
            return AnswerError("neither names a colour")
        return Judgement(len(text & video) / len(text | video))


def _colours(skeleton: str) -> set[str]:
    return {word for word in skeleton.lower().replace(";", " ").split() if word in COLOURS}
