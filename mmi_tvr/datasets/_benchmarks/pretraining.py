"""Lists of the web to train on: a sentence and a video a line, of which many are no longer there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from ...types import clean_text
from .annotations import Annotations
from .benchmark import BenchmarkOptions
from .records import AnnotatedVideo, Listing, SplitSize, VideoLocation, checked_listing


class PretrainingOptions(BenchmarkOptions):
    """The options of a list of the web, which has no test split."""

    split: Literal["train", "val"] = Field("train", description="train or val")
    allowed: float = Field(
        1.0, ge=0, le=1, description="largest share that may be left out: much of what is listed is no longer there"
    )


def web_listing(lines: Iterable[tuple[str, str]], annotations: Annotations) -> Listing:
    """Return a list of the web as a Listing: a video that is listed twice has the sentences of both lines.

    lines: the name of a video's file and a sentence as it is written, in the order of the annotation.
    """
    sentences: dict[str, dict[str, None]] = {}  # keeps the order and drops repetitions
    for name, sentence in lines:
        sentences.setdefault(name, {}).setdefault(clean_text(sentence).strip())
    videos = [AnnotatedVideo(name, tuple(texts), (VideoLocation(name),)) for name, texts in sentences.items()]
    return checked_listing(videos, SplitSize(None, None), annotations)
