"""What face encoders share: OpenCV, pictures of a size that detectors take, and unit vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...types import Face, FloatArray, Pixels
from ...utils.installation import require

EXTRA = "people"
# Where the landmarks of an upright face are, as shares of its box (`types.Face`).
LANDMARKS = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)


def opencv() -> Any:
    """Return OpenCV, silent and on one thread as the rest of an index run. MissingExtra where it is not installed."""
    cv2 = require("cv2", EXTRA)
    cv2.setNumThreads(1)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    return cv2


def shrunk(picture: Pixels, side: int) -> tuple[Pixels, float]:
    """Return a picture whose longer side is at most `side` pixels, and by how much it was scaled (<= 1)."""
    scale = min(1.0, side / max(picture.shape[:2]))
    if scale == 1.0:
        return picture, scale
    height, width = (max(1, round(length * scale)) for length in picture.shape[:2])
    cv2 = opencv()
    smaller: Pixels = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return smaller, scale


def square_crop(picture: Pixels, face: Face, margin: float) -> Pixels:
    """Return the face in a square around the middle of its box, black beyond the picture.

    Args:
        picture: (H, W, 3).
        face: in it.
        margin: how much wider than the longer side of the box, as a share of that side.

    Returns:
        (S, S, 3), S at least 1.
    """
    left, top, right, bottom = face.box
    half = max(right - left, bottom - top) * (1 + margin) / 2
    x, y = (left + right) / 2, (top + bottom) / 2
    side = max(1, round(2 * half))
    x0, y0 = math.floor(x - half), math.floor(y - half)
    crop = np.zeros((side, side, 3), np.uint8)
    height, width = picture.shape[:2]
    rows, columns = slice(max(0, y0), min(height, y0 + side)), slice(max(0, x0), min(width, x0 + side))
    if rows.start < rows.stop and columns.start < columns.stop:
        inside = picture[rows, columns]
        down, across = rows.start - y0, columns.start - x0
        crop[down : down + inside.shape[0], across : across + inside.shape[1]] = inside
    return crop


def unit_rows(vectors: list[FloatArray], width: int) -> FloatArray:
    """Return vectors as unit rows (n, width), float32, also where there is none."""
    rows = np.array(vectors, np.float32).reshape(len(vectors), width)
    unit: FloatArray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit
