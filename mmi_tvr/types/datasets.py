"""What data sets know of their videos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from .arrays import FloatArray
from .media import Video
from .search import Query
from .text import clean_text

LabelSource = Literal["parsed", "exact"]  # of captions and videos: parsed captions, or the data set itself


@dataclass(frozen=True, slots=True)
class Sample:
    """One annotated video of a dataset's split; `captions` may be several, and are cleaned (`clean_text`)."""

    id: str
    video: Video
    captions: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "captions", tuple(map(clean_text, self.captions)))


class Triplet(NamedTuple):
    """Who does what to whom, or stands how to whom: ("dog", "chases", "cat"), ("dog", "on", "grass"). The object is
    "" where there is none."""

    subject: str
    relation: str
    object: str


@dataclass(frozen=True, slots=True)
class Labels:
    """What a text says, or a video shows, on three levels, each label once."""

    entities: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    relations: tuple[Triplet, ...] = ()


@dataclass(frozen=True, slots=True)
class Saliency:
    """How well the clips of a video show what a sentence says, as several annotators rated them.

    The video is cut into `count` clips of `seconds` from second `start` of the file on. `ratings` has what the
    annotators gave to the clips that `clips` numbers; the others got nothing, which is 0.
    """

    count: int
    clips: tuple[int, ...]
    ratings: tuple[tuple[int, ...], ...]
    seconds: float
    start: float = 0.0

    def table(self) -> FloatArray:
        """Return the ratings of all clips (count, annotators)."""
        table = np.zeros((self.count, len(self.ratings[0])))
        table[list(self.clips)] = self.ratings
        return table

    def middles(self) -> FloatArray:
        """Return the second of the file at the middle of each clip (count,)."""
        return self.start + (np.arange(self.count) + 0.5) * self.seconds


@dataclass(frozen=True, slots=True)
class DescribedMoment:
    """A sentence, and when it happens: from `start` to `end` (seconds of the file) of sample number `sample`.

    `events` are the stretches that the sentence is about, where the span has others between them; none means the whole
    span. `elsewhere` holds (sample, start, end) of moments of other samples of which the sentence is true as well, and
    `repeated` (start, end) of further ones of the same sample. `annotated` are the spans that several annotators gave,
    where a benchmark counts them all, and `saliency` their ratings, where they gave any.
    """

    text: str
    sample: int
    start: float
    end: float
    events: tuple[tuple[float, float], ...] = ()
    elsewhere: tuple[tuple[int, float, float], ...] = ()
    repeated: tuple[tuple[float, float], ...] = ()
    annotated: tuple[tuple[float, float], ...] = ()
    saliency: Saliency | None = None


@dataclass(frozen=True, slots=True)
class PartialQuery:
    """A sentence that says a part of what is in a video, the number of the sample that it was written for, and those of
    all that it is true of."""

    text: str
    sample: int
    videos: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EvaluationQuery:
    """A query, and the ids of all samples that answer it; `group` names the kind of query that it is reported with.

    Names of groups with slashes are reported nested: "single/seen" and "single/unseen" under "single".
    """

    query: Query
    right: frozenset[str]
    group: str = ""
