"""Recognisers of speech and of text that make it up, and the two files that the real ones are tested with.

`data/speech.ogg` was spoken by espeak-ng: "The ship leaves the harbour at seven in the morning." from 1.0 to 3.9 s, and
"Nobody has seen the red umbrella." from 5.9 s. `data/text.png`: a line of Chinese, one of English (Noto Sans CJK).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mmi_tvr.channels import heard, read
from mmi_tvr.channels._ocr import TextLine
from mmi_tvr.channels._whisper import Speech
from mmi_tvr.media.sound import RATE
from mmi_tvr.types import FloatArray, Passage, Pixels
from mmi_tvr.utils.installation import installed

DATA = Path(__file__).parent / "data"


needs_whisper = pytest.mark.skipif(not installed("faster_whisper"), reason="the extra speech is not installed")


class Listener:
    """Takes every loud stretch of sound for a word."""

    def __init__(self) -> None:
        self.seconds: list[float] = []  # of each call

    def recognise(self, samples: FloatArray) -> list[Speech]:
        self.seconds.append(len(samples) / RATE)
        loud = np.abs(samples[: len(samples) // 1600 * 1600]).reshape(-1, 1600).max(axis=1) > 0.1
        edges = np.flatnonzero(np.diff(loud.astype(int), prepend=0, append=0)) / 10
        return [Speech(start, end, f"word {end - start:.1f}") for start, end in edges.reshape(-1, 2)]

    def weights_digest(self) -> str:
        return "listener"


class Reader:
    """Knows pictures by the level of grey in their middle, and what is written on each."""

    def __init__(self, lines: dict[int, list[tuple[str, float]]]) -> None:
        self._lines = lines
        self.calls = 0

    def recognise(self, picture: Pixels) -> list[TextLine]:
        self.calls += 1
        level = int(picture[picture.shape[0] // 2, picture.shape[1] // 2].mean())
        nearest = min(self._lines, key=lambda known: abs(known - level))
        return [TextLine(text, confidence) for text, confidence in self._lines[nearest]]

    def weights_digest(self) -> str:
        return "reader"


def hears(listener: Listener | None = None) -> heard.HeardSpeech:
    return heard.HeardSpeech(heard.Options(), listener or Listener())


def texts(passages: Sequence[Passage]) -> list[tuple[float, float, str]]:
    moments = [moment for passage in passages for moment in passage.moments]
    return [(round(moment.span.start, 2), round(moment.span.end, 2), moment.text or "") for moment in moments]


def reads(lines: dict[int, list[tuple[str, float]]], **options: object) -> tuple[read.ReadText, Reader]:
    reader = Reader(lines)
    return read.ReadText(read.Options(**options), reader), reader  # type: ignore[arg-type]
