"""Small files whose pictures need more than decoding: turned, transparent, HDR, of changing size, encrypted."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from media_damage import EXACT
from numpy.typing import NDArray

Matrix = tuple[int, ...]
_ONE = 1 << 16
# The eight ways in which a picture can lie: rows (a, b), (c, d); a pixel (x, y) comes to (a x + c y, b x + d y).
LINEAR = [
    *(((p, 0), (0, q)) for p, q in product((1, -1), repeat=2)),
    *(((0, p), (q, 0)) for p, q in product((1, -1), repeat=2)),
]
# Without B-frames: with them x265 gives some streams of two pictures times that no container takes (1 in 500).
QUIET = {"x265-params": "log-level=none:pools=1:frame-threads=1:bframes=0"}


def matrix_of(linear: Sequence[Sequence[float]]) -> Matrix:
    """A display matrix in FFmpeg's fixed point."""
    (a, b), (c, d) = linear
    return (round(a * _ONE), round(b * _ONE), 0, round(c * _ONE), round(d * _ONE), 0, 0, 0, 1 << 30)


def shown_by(linear: Sequence[Sequence[float]], picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What a display matrix makes of a picture, pixel by pixel."""
    (a, b), (c, d) = linear
    height, width = picture.shape[:2]
    places = {}
    for y, x in product(range(height), range(width)):
        places[b * x + d * y, a * x + c * y] = picture[y, x]
    rows, columns = sorted({row for row, _ in places}), sorted({column for _, column in places})
    return np.array([[places[row, column] for column in columns] for row in rows])


def quarters(size: tuple[int, int] = (96, 64)) -> NDArray[np.uint8]:
    """A picture whose four quarters differ, so that every turn and mirror shows."""
    width, height = size
    picture = np.empty((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2], picture[: height // 2, width // 2 :] = (220, 30, 30), (30, 180, 40)
    picture[height // 2 :, : width // 2], picture[height // 2 :, width // 2 :] = (30, 40, 220), (235, 235, 235)
    return picture


def square(size: tuple[int, int], side: int = 40) -> NDArray[np.uint8]:
    """A white square in the middle of a dark picture."""
    width, height = size
    picture = np.full((height, width, 3), 20, np.uint8)
    left, top = (width - side) // 2, (height - side) // 2
    picture[top : top + side, left : left + side] = 235
    return picture


def write(
    path: Path,
    arrays: Sequence[np.ndarray],
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    source: str = "rgb24",
    matrix: Matrix | None = None,
    colour: tuple[int, int, int] | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Write pictures of one size, 10 a second, each as it lies in memory in the pixel format `source`.

    Args:
        path: the container follows its suffix.
        arrays: the pictures.
        codec: the encoder.
        pix_fmt: what is encoded.
        source: of the arrays.
        matrix: the display matrix.
        colour: FFmpeg's numbers of primaries, transfer and matrix coefficients.
        options: of the encoder.
    """
    frames = [av.VideoFrame.from_ndarray(array, format=source) for array in arrays]
    return write_frames(path, frames, codec, pix_fmt, matrix, colour, options)


def write_frames(
    path: Path,
    frames: Sequence[av.VideoFrame],
    codec: str,
    pix_fmt: str,
    matrix: Matrix | None = None,
    colour: tuple[int, int, int] | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Write frames as `write` does."""
    with av.open(str(path), "w", container_options=EXACT) as output:
        stream = output.add_stream(codec, rate=10, options=options or {})
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, pix_fmt
        if matrix:
            stream.set_display_matrix(matrix)
        if colour:
            context = stream.codec_context
            context.color_primaries, context.color_trc, context.colorspace = colour
            context.color_range = 1
        for number, frame in enumerate(frames):
            frame.pts, frame.time_base = number, Fraction(1, 10)
            if colour:
                frame.color_primaries, frame.color_trc, frame.colorspace = colour
                frame.color_range = 1
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def write_sizes(path: Path, parts: Sequence[Sequence[NDArray[np.uint8]]], codec: str, pix_fmt: str = "yuv420p") -> Path:
    """Write parts of different sizes into one stream, 10 pictures a second: each part has an encoder of its own."""
    with av.open(str(path), "w", container_options=EXACT) as output:
        stream = output.add_stream(codec, rate=10)
        stream.height, stream.width = parts[0][0].shape[:2]
        stream.pix_fmt = pix_fmt
        number = 0
        for pictures in parts:
            encoder = av.CodecContext.create(codec, "w")
            encoder.height, encoder.width = pictures[0].shape[:2]
            encoder.pix_fmt, encoder.time_base, encoder.framerate = pix_fmt, Fraction(1, 10), Fraction(10)
            encoder.max_b_frames = 0
            packets = []
            for picture in pictures:
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 10)
                packets += encoder.encode(frame)
                number += 1
            for packet in [*packets, *encoder.encode(None)]:
                packet.stream = stream
                output.mux(packet)
    return path


def with_orientation_message(source: Path, target: Path, options: str) -> Path:
    """A copy of an H.264 file whose bitstream, not its container, says how it is turned."""
    with av.open(str(source)) as file, av.open(str(target), "w", container_options=EXACT) as output:
        stream = file.streams.video[0]
        copy = output.add_stream_from_template(stream)
        chain = BitStreamFilterContext(f"h264_metadata={options}", stream, copy)
        for packet in file.demux(stream):
            for changed in chain.filter(packet if packet.size else None):
                changed.stream = copy
                output.mux(changed)
    return target


def encrypted_mp4(path: Path, pictures: Sequence[NDArray[np.uint8]]) -> Path:
    """Write an H.264 file with common encryption (AES-CTR)."""
    key = "00112233445566778899aabbccddeeff"
    options = {**EXACT, "encryption_scheme": "cenc-aes-ctr", "encryption_key": key, "encryption_kid": key[::-1]}
    with av.open(str(path), "w", container_options=options) as output:
        stream = output.add_stream("libx264", rate=10)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode())
    return path
