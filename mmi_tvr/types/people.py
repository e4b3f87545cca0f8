"""Faces in pictures, and the people that they are of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .media import Video


@dataclass(frozen=True, slots=True)
class Face:
    """A face in a picture, in pixels: `box` is left, top, right, bottom; `landmarks` (5, 2) as x, y.

    The landmarks are, as one looks at the picture of an upright face: left eye, right eye, tip of the nose, left and
    right corner of the mouth. `confidence` (0..1) is the detector's.
    """

    box: tuple[float, float, float, float]
    landmarks: NDArray[np.float32]
    confidence: float

    @property
    def size(self) -> float:
        """The shorter side of the box in pixels."""
        left, top, right, bottom = self.box
        return min(right - left, bottom - top)


@dataclass(frozen=True, eq=False, slots=True)
class Person:
    """Somebody whose face stands in a query.

    `faces` (n, F) are unit descriptors, float32; `maker` is the fingerprint of the face encoder that made them
    (`protocols.FaceEncoder.fingerprint`), because descriptors of two encoders cannot be compared. `name` is what models
    that read text alone are told; "" where there is none. Vectors are carried, never pictures.
    """

    faces: NDArray[np.float32]
    maker: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class PersonPicture:
    """A picture that shows who somebody is: a still `video` (`Video.picture`).

    `box` says in pixels (left, top, right, bottom) where in it the face is; None: the largest one that an encoder
    detects.
    """

    video: Video
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class Appearance:
    """When somebody is in the picture of a video: from `start` to `end`, seconds on a player's clock.

    `confidence` is the cosine of the face there with the nearest face that is known of that person; 1 where somebody
    said by hand who it is.
    """

    name: str
    start: float
    end: float
    confidence: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract: `people` of a hit)."""
        return {
            "name": self.name,
            "from": round(self.start, 3),
            "to": round(self.end, 3),
            "confidence": round(self.confidence, 4),
        }
