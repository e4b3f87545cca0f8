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


@dataclass(frozen=True, slots=True)
class Video:
    """A video file, or a span of one (`start`, `end` in seconds; `end=None` is the end of the file).

    A still `picture` is a video of one second. Decision: only where this says so; a still among videos is a mistake.
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


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The unit vectors of one video: `video` (D,), `moments` (K, D), and `segments` (K, 3) as in Features.

    `attributes`: what it shows, of models that read that off (`protocols.ModelWithAttributes`).
    """

    video: NDArray[np.float32]
    moments: NDArray[np.float32]
    segments: NDArray[np.float64]
    attributes: Attributes = field(default_factory=dict)
