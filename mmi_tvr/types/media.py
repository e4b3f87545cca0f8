"""Videos, what is looked at in them, and what a model makes of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from .arrays import Pixels
from .facets import Attributes

# What an option that names the checkpoint of a vision tower says where data sets bring features along.
PRECOMPUTED = "precomputed"
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


MediaKind = Literal["video", "image", "audio"]
MEDIA_KINDS: tuple[MediaKind, ...] = get_args(MediaKind)
DateSource = Literal["exif", "gps", "container", "file"]


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What is known of a picture, a recording or a film besides what it shows.

    - `seconds`: how long it is; 0 for a still picture.
    - `width`, `height`: in pixels, upright; None for sound, and where nobody looked yet.
    - `date`: when it was taken, in seconds since 1970 (UTC); `utc_offset`: seconds by which clocks at its place were
      ahead of UTC then, None where nobody says (`date` is then by the clock of the machine that read it);
      `date_source`: who knows the date: the EXIF data, the satellites, the container, or the file's time of change.
    - `latitude`, `longitude`: degrees north and east.
    - `content_id`: what the picture and the clip of one live photo share.
    """

    kind: MediaKind = "video"
    seconds: float = 0.0
    width: int | None = None
    height: int | None = None
    date: float | None = None
    utc_offset: int | None = None
    date_source: DateSource | None = None
    latitude: float | None = None
    longitude: float | None = None
    content_id: str | None = None

    @property
    def is_still(self) -> bool:
        """Whether it is one picture without any duration."""
        return self.kind == "image" and self.seconds == 0

    def local_date(self) -> datetime | None:
        """Return when it was taken by the clocks of its place, or of this machine where nobody knows; None: unknown."""
        if self.date is None:
            return None
        date = EPOCH + timedelta(seconds=self.date)
        return date.astimezone(None if self.utc_offset is None else timezone(timedelta(seconds=self.utc_offset)))


@dataclass(frozen=True, slots=True)
class Video:
    """A video file, or a span of one (`start`, `end` in seconds; `end=None` is the end of the file).

    A still `picture` is a video of one second, an animated one as long as one round of it. Decision: only where this
    says so; a still among the videos of a data set is a mistake.
    """

    path: Path
    start: float = 0.0
    end: float | None = None
    picture: bool = False


@dataclass(frozen=True, slots=True)
class Frames:
    """Decoded frames in order of time: `times` (N,) seconds, `pixels` (N, H, W, 3)."""

    times: NDArray[np.float64]
    pixels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, slots=True)
class KeyImage:
    """The picture that stands for the stretch [start, end) of a video; it was on screen at `time`."""

    start: float
    end: float
    time: float
    pixels: Pixels


class Span(NamedTuple):
    """Where in a video something is: the stretch [start, end], and the `time` that shows it best."""

    start: float
    end: float
    time: float


@dataclass(frozen=True, slots=True)
class Features:
    """What a vision tower said about the key images of one video, before any query, adapter or head.

    `segments` is (K, 3): start, end, time of each key image. `arrays` maps a name chosen by the model to an
    array whose first axis is K. `fingerprints` (P, 192) are those of pictures at equal shares of the video
    (`scoring.fingerprints`), which were taken when it was decoded; None where nobody did.
    """

    segments: NDArray[np.float64]
    arrays: Mapping[str, NDArray[Any]]
    fingerprints: NDArray[np.uint8] | None = None


class PrecomputedFeatures(NamedTuple):
    """Which features a data set brings along: of each frame the vectors of `names`, one behind the other and `width`
    numbers together; of a video at most `frames` frames, evenly spread where it has more.

    As text it is the fingerprint of the vision that made them: nothing else is known of it.
    """

    names: tuple[str, ...]
    width: int
    frames: int

    def __str__(self) -> str:
        return f"{' + '.join(self.names)}, {self.width} numbers a frame, at most {self.frames} frames"


class VideoEntry(NamedTuple):
    """What a search needs of a video, or of a picture, besides its vectors.

    `paths` of its content, `segments` (K, 3) as in `Features`, what is known of it, and `companions`: files that belong
    to it (the clip of a live photo, the RAW photo of a picture).
    """

    paths: tuple[Path, ...]
    segments: NDArray[np.float64]
    facts: MediaFacts = MediaFacts()
    companions: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The unit vectors of one video: `video` (D,), `moments` (K, D), and `segments` (K, 3) as in Features.

    `attributes`: what it shows, of models that read that off (`protocols.ModelWithAttributes`).
    """

    video: NDArray[np.float32]
    moments: NDArray[np.float32]
    segments: NDArray[np.float64]
    attributes: Attributes = field(default_factory=dict)
