"""Parts of sentences: a count with its noun, a span of time, the option that names a library, a model."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from ..protocols import AnsweringModel, Model, TrainedModel
from ..types import MediaKind

_NOUNS: dict[MediaKind, str] = {"video": "video", "image": "picture", "audio": "recording"}


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a count with its noun in the right number; `plural` is for nouns that do more than add an s.

    >>> counted(1, "video"), counted(0, "video"), counted(18614, "video"), counted(2, "copy", "copies")
    ('1 video', '0 videos', '18,614 videos', '2 copies')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def counted_kinds(kinds: Mapping[MediaKind, int]) -> str:
    """Return how many videos, pictures and recordings there are; without any, that there is no video.

    >>> counted_kinds({"video": 1, "image": 1200, "audio": 0}), counted_kinds({"video": 0, "image": 0, "audio": 0})
    ('1 video, 1,200 pictures', '0 videos')
    """
    parts = [counted(count, _NOUNS[kind]) for kind, count in kinds.items() if count]
    return ", ".join(parts) or counted(0, _NOUNS["video"])


def library_option(folder: Path) -> str:
    """Return the option that names a library, as a shell reads it: for commands that messages propose.

    >>> library_option(Path("my clips"))
    "--library 'my clips'"
    """
    return f"--library {shlex.quote(str(folder))}"


def model_title(model: Model | AnsweringModel) -> str:
    """Return what a user calls a model: the trained weights, where it has some (`moving-shapes`), else its name."""
    weights = model.weights if isinstance(model, TrainedModel) else None
    return weights or model.name


def time_span(seconds: float) -> str:
    """Return a span of time as people say it, with two digits at least.

    >>> time_span(0.4), time_span(75), time_span(150), time_span(5400), time_span(400_000)
    ('0.4 s', '75 s', '2.5 min', '90 min', '111 h')
    """
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = seconds / 60
    if minutes < 120:
        return f"{minutes:.1f} min" if minutes < 10 else f"{minutes:.0f} min"
    return f"{minutes / 60:.1f} h" if minutes < 600 else f"{minutes / 60:.0f} h"
