"""Faces, and who they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whom a query names: what a face encoder says of some pictures of them.

    `descriptors` (n, F) are unit vectors, `maker` the fingerprint of the face encoder that made them, and `name` what
    is read where no face can be (empty: "a person").
    """

    descriptors: NDArray[np.float32]
    maker: str
    name: str = ""
