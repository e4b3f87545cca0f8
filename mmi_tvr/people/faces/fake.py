"""Faces for tests, without a network: a square of one saturated colour is a face, and its colour says whose.

In every picture, connected pixels of one strong colour (red, green, blue, or two of them) that fill their square are a
face. Nothing that people photograph looks so; drawings of tests do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field
from scipy import ndimage

from ...plugins import BaseOptions
from ...types import Face, FloatArray, Pixels
from ...utils.hashing import digest
from ._common import LANDMARKS, unit_rows

_DARK, _BRIGHT = 96, 160  # a channel is off below, on above: between the two nothing is a face (codecs blur edges)
_FILLED = 0.8  # of its box, at least, for a face


class Options(BaseOptions):
    """What is a face."""

    smallest: int = Field(6, ge=2, description="pixels of the side of a face, at least")


def build(options: Options) -> FakeFaces:
    return FakeFaces(options)


class FakeFaces:
    """One direction for each of the six colours: those of two people are at right angles."""

    name = "fake"
    width = 6
    threshold = 0.5

    def __init__(self, options: Options) -> None:
        self._options = options

    def detect(self, picture: Pixels) -> list[Face]:
        """Return the squares of one colour in a picture (H, W, 3), the largest first."""
        colours = _colours(picture)
        faces = [face for colour in range(self.width) for face in self._faces(colours == colour)]
        return sorted(faces, key=lambda face: -face.size)

    def _faces(self, mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> list[Face]:
        regions, _ = ndimage.label(mask)
        faces = []
        for number, (rows, columns) in enumerate(ndimage.find_objects(regions), start=1):
            height, width = rows.stop - rows.start, columns.stop - columns.start
            filled = float((regions[rows, columns] == number).mean())
            if min(height, width) >= self._options.smallest and filled >= _FILLED:
                corner, size = np.array([columns.start, rows.start]), np.array([width, height])
                box = (float(columns.start), float(rows.start), float(columns.stop), float(rows.stop))
                faces.append(Face(box, (corner + LANDMARKS * size).astype(np.float32), filled))
        return faces

    def describe(self, picture: Pixels, faces: Sequence[Face]) -> FloatArray:
        """Return the descriptors (n, 6) of faces in a picture (H, W, 3): a little of all colours, most of their own."""
        colours = _colours(picture)
        vectors = []
        for face in faces:
            left, top, right, bottom = (round(side) for side in face.box)
            inside = colours[max(0, top) : bottom, max(0, left) : right]
            counts = np.bincount(inside[inside >= 0].ravel(), minlength=self.width)
            vectors.append(counts.astype(np.float32) + 1e-3)
        return unit_rows(vectors, self.width)

    def fingerprint(self) -> str:
        return digest(self.name)


def _colours(picture: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """For each pixel 0 to 5, or -1 where it has no strong colour."""
    on, off = picture > _BRIGHT, picture < _DARK
    strong = (on | off).all(-1)
    number = on @ np.array([1, 2, 4])  # 0 black, 7 white
    colours: np.ndarray[tuple[int, ...], np.dtype[np.int64]] = np.where(strong & (number % 7 > 0), number - 1, -1)
    return colours
