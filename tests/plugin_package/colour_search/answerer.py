"""Names the colours that a text or the key images have, whatever the question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from mmi_tvr.answerers import as_answer, request_error
from mmi_tvr.errors import AnswerError
from mmi_tvr.plugins import BaseOptions
from mmi_tvr.protocols import Model
from mmi_tvr.types import AnswerRequest
from mmi_tvr.utils.hashing import digest

from . import COLOURS


class Options(BaseOptions):
    """Nothing can be set."""


def build(options: Options, *, device: str = "auto", model: Model | None = None) -> ColourWords:
    """Return the answerer; one that speaks through the searching model would use `model`."""
    return ColourWords()


class ColourWords:
    """See `mmi_tvr.protocols.Answerer`."""

    name = "colour_words"
    video_input: Literal["features", "pictures"] = "pictures"

    def answer(
        self, requests: Sequence[AnswerRequest], advance: Callable[[], object] = lambda: None
    ) -> list[str | AnswerError]:
        answers: list[str | AnswerError] = []
        for request in requests:
            answers.append(request_error(request, self.video_input) or as_answer(" ".join(self._colours(request))))
            advance()
        return answers

    def fingerprint(self) -> str:
        return digest(self.name, 1)

    def _colours(self, request: AnswerRequest) -> Sequence[str]:
        if request.text is not None:
            return [word for word in request.text.lower().split() if word in COLOURS]
        means = [picture.mean(axis=(0, 1)) for picture in request.pictures]
        nearest = [min(COLOURS, key=lambda name: np.abs(mean - COLOURS[name]).sum()) for mean in means]
        return list(dict.fromkeys(nearest))
