"""What a file shows, says and has written on it: moments of a file, by one channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .media import MediaKind, Span


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A file of a person, and whether it is a picture, a recording or a film."""

    path: Path
    kind: MediaKind


@dataclass(frozen=True, eq=False, slots=True)
class ChannelMoment:
    """A stretch of a file as one channel sees it: a unit vector (D,), and the text where the channel reads one."""

    span: Span
    vector: NDArray[np.float32]
    text: str | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Passage:
    """A stretch of a file, in seconds, that a channel is through with, and the moments in it, in order of time."""

    start: float
    end: float
    moments: Sequence[ChannelMoment]
