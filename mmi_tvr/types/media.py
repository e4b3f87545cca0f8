"""Videos, what is looked at in them, and what a model makes of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .arrays import Pixels
from .facets import Attributes

# What an option that names the checkpoint of a vision tower says where data sets bring features along.
PRECOMPUTED = "precomputed"


@dataclass(frozen=True, slots=True)
class Video:
    """A video file, or a span of one (`start`, `end` in seconds; `end=None` is the end of the file).

    A still `picture` is a video of one second, an animated one as long as one round of it. Decision: only where this
    says so; a still among videos is a mistake.
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
    array whose first axis is K.
    """

    segments: NDArray[np.float64]
    arrays: Mapping[str, NDArray[Any]]


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


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The unit vectors of one video: `video` (D,), `moments` (K, D), and `segments` (K, 3) as in Features.

    `attributes`: what it shows, of models that read that off (`protocols.ModelWithAttributes`).
    """

    video: NDArray[np.float32]
    moments: NDArray[np.float32]
    segments: NDArray[np.float64]
    attributes: Attributes = field(default_factory=dict)
