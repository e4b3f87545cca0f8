"""From a decoded frame to an upright RGB picture of square pixels."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
from av.buffer import Buffer
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from ..types import Pixels
from ._colour import Deep, needs_conversion, over_black, to_standard, with_known_marks

_SANE_ASPECT = (0.2, 5.0)  # of a pixel; a damaged header says anything
_LONGEST = 16  # times the requested shorter side is the longer side of a picture at most, which bounds its memory
_SINGULAR = 1e-3  # of a display matrix: its determinant, as a share of its largest possible one
_UNITS = 1 << 16  # of a display matrix: its linear part is in fixed point, 16.16


@dataclass(frozen=True, slots=True)
class Orientation:
    """How stored pixels are turned to be upright: mirrored left to right if need be, and then turned."""

    rotation: int = 0  # degrees counter-clockwise: 0, 90, 180 or 270
    mirrored: bool = False

    @property
    def swaps_sides(self) -> bool:
        """Whether width and height change places."""
        return self.rotation % 180 != 0

    def apply(self, pixels: Pixels) -> Pixels:
        """Turn a picture (H, W, 3) upright."""
        return np.rot90(pixels[:, ::-1] if self.mirrored else pixels, self.rotation // 90)


def orientation_of(frame: VideoFrame) -> Orientation:
    """Return the orientation that a frame's display matrix asks for, from its container or its bitstream.

    Where a frame has data beside it that PyAV does not know (EXIF, several views), PyAV tells the rotation alone.
    """
    try:
        side_data = cast("Mapping[Type, Buffer]", frame.side_data)  # PyAV's own annotation names one kind alone
    except ValueError:
        return Orientation(_quarter_turns(frame.rotation))
    matrix = side_data.get(Type.DISPLAYMATRIX)
    return from_matrix(struct.unpack("=9i", bytes(matrix))) if matrix else Orientation()


def from_matrix(matrix: tuple[int, ...]) -> Orientation:
    """Return the orientation that is nearest to a display matrix (nine numbers, row by row, as FFmpeg has them).

    Decision: other angles than quarter turns become the nearest one, of two the smaller turn, as most players do; a
    singular matrix, which would leave nothing to see, means none.

    >>> from_matrix((0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30))
    Orientation(rotation=270, mirrored=False)
    """
    a, b, _, c, d = (number / _UNITS for number in matrix[:5])  # a pixel (x, y) comes to (a x + c y, b x + d y)
    determinant = a * d - b * c
    if abs(determinant) <= _SINGULAR * (a * a + b * b + c * c + d * d) / 2:
        return Orientation()
    mirrored = determinant < 0
    if mirrored:
        a, b = -a, -b
    # What of the matrix is rotation: clockwise, because y points down.
    return Orientation(_quarter_turns(-math.degrees(math.atan2(b - c, a + d))), mirrored)


def _quarter_turns(degrees: float) -> int:
    """The nearest of 0, 90, 180 and 270 degrees, of two the smaller turn."""
    turns = math.copysign(math.ceil(abs(degrees) / 90 - 0.5 - 1e-9), degrees)
    return int(turns) * 90 % 360


def displayed_size(frame: VideoFrame, aspect: float, orientation: Orientation) -> tuple[int, int]:
    """Return width and height in which a frame is shown, upright and of square pixels.

    Args:
        frame: a decoded frame.
        aspect: width of a stored pixel divided by its height.
        orientation: how the frame is turned.
    """
    width = frame.width
    if _SANE_ASPECT[0] <= aspect <= _SANE_ASPECT[1]:
        width = max(1, round(width * aspect))
    return (frame.height, width) if orientation.swaps_sides else (width, frame.height)


def bounded(width: int, height: int, size: int | None) -> tuple[int, int]:
    """Return the sides of a picture whose shorter one is at most `size`, and whose longer one is no absurdity."""
    if size is not None and size < min(width, height):
        shorter = min(width, height)
        width, height = round(width * size / shorter), round(height * size / shorter)
    if size is not None and max(width, height) > _LONGEST * size:
        longest = max(width, height)
        width, height = (max(1, round(side * _LONGEST * size / longest)) for side in (width, height))
    return width, height


class Converter:
    """Converts decoded frames, one after another."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def convert(self, frame: VideoFrame, width: int, height: int, orientation: Orientation) -> Pixels:
        """Scale and convert in one step of swscale (area averaging: no aliasing, and cheap), then turn upright.

        Transparency is composed over black, high dynamic range is tone-mapped.

        Args:
            frame: a decoded frame.
            width: of the upright picture, in pixels.
            height: of the upright picture, in pixels.
            orientation: how the frame is turned.

        Returns:
            The picture (height, width, 3).
        """
        if orientation.swaps_sides:
            width, height = height, width
        frame = over_black(with_known_marks(frame))
        transfer, primaries = frame.color_trc, frame.color_primaries
        deep = needs_conversion(transfer, primaries)
        picture = self._reformatter.reformat(
            frame, width, height, "rgb48le" if deep else "rgb24", interpolation=Interpolation.AREA
        ).to_ndarray()
        pixels = to_standard(cast(Deep, picture), transfer, primaries) if deep else cast(Pixels, picture)
        return orientation.apply(pixels)


def fitted(width: int, height: int, canvas: tuple[int, int]) -> tuple[int, int]:
    """Return the largest sides in the proportion width : height that fit into a canvas (width, height)."""
    scale = min(canvas[0] / width, canvas[1] / height)
    return max(1, min(canvas[0], round(width * scale))), max(1, min(canvas[1], round(height * scale)))


def padded(pixels: Pixels, canvas: tuple[int, int]) -> Pixels:
    """Return a picture in the middle of a black canvas (width, height)."""
    height, width = pixels.shape[:2]
    if (width, height) == canvas:
        return pixels
    whole = np.zeros((canvas[1], canvas[0], 3), np.uint8)
    left, top = (canvas[0] - width) // 2, (canvas[1] - height) // 2
    whole[top : top + height, left : left + width] = pixels
    return whole
