"""Which faces are good enough to say who they are: not too small, not blurred, not turned away.

Decision: a face that is not is still somebody, so a track keeps it; but it is never what names a track, and a photo
that is to stand for a person must have one that is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..types import Face, FloatArray, Pixels

_SIDE = 64  # pixels at which sharpness is measured, so that large faces are not sharper
MIN_SIZE, MIN_SHARPNESS, MAX_TURN = 20.0, 12.0, 0.75


@dataclass(frozen=True, slots=True)
class FaceQuality:
    """`size` in pixels; `sharpness`: standard deviation of the Laplacian of grey values (0..255) at 64 pixels;
    `turn`: 0 looks at the camera, 1 is a profile."""

    size: float
    sharpness: float
    turn: float

    @property
    def problem(self) -> str | None:
        """Why the face cannot name anybody; None where it can."""
        if self.size < MIN_SIZE:
            return f"too small ({self.size:.0f} pixels, at least {MIN_SIZE:.0f})"
        if self.turn > MAX_TURN:
            return "turned away from the camera"
        if self.sharpness < MIN_SHARPNESS:
            return "blurred"
        return None


def quality_of(picture: Pixels, face: Face) -> FaceQuality:
    """Return how well a face of a picture (H, W, 3) can be recognised."""
    return FaceQuality(face.size, _sharpness(picture, face), turn_of(face))


def turn_of(face: Face) -> float:
    """Return how far a face is turned: where the nose lies between the eyes, 0 in the middle, 1 beside them.

    The distance is measured along the line through both eyes, so that a tilted head is not a turned one.
    """
    left_eye, right_eye, nose = face.landmarks[0], face.landmarks[1], face.landmarks[2]
    between = right_eye - left_eye
    length = float(between @ between)
    if length == 0:
        return 1.0
    place = float((nose - left_eye) @ between) / length  # 0 at the left eye, 1 at the right
    return min(1.0, abs(2 * place - 1))


def _sharpness(picture: Pixels, face: Face) -> float:
    left, top, right, bottom = (round(edge) for edge in face.box)
    inside = picture[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
    if min(inside.shape[:2]) < 2:
        return 0.0
    from scipy import ndimage  # at use: a search would wait for it

    grey: FloatArray = inside.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    shrink = [min(1.0, _SIDE / length) for length in grey.shape]
    smaller = ndimage.zoom(ndimage.uniform_filter(grey, [max(1, round(1 / s)) for s in shrink]), shrink, order=1)
    return float(ndimage.laplace(smaller).std())
