"""Specs as H.264 files."""

from __future__ import annotations

import io
from collections.abc import Iterable

import av
import numpy as np
from numpy.typing import NDArray

from .picture import render_frames
from .world import Spec

_CHUNK = 64  # pictures held at once
# The same bytes every time: on pictures below 96 pixels these two features of x264 let leftover memory into the result.
_QUALITY = {"crf": "18", "preset": "veryfast", "threads": "1", "x264-params": "mbtree=0:weightp=0"}
_LOSSLESS = {**_QUALITY, "crf": "0"}


def encode(spec: Spec, size: int, fps: int, lossless: bool = False) -> bytes:
    """Return the whole video as an MP4 file of size x size pixels; `size` is even. A key frame every two seconds.

    `lossless` gives the same pictures whatever the version of the encoder, in a file that is about 1.4 times as large.
    """
    count = spec.duration * fps // 1000
    times = [number / fps for number in range(count)]
    chunks = (render_frames(spec, times[first : first + _CHUNK], size) for first in range(0, count, _CHUNK))
    return mp4(chunks, size, fps, lossless)


def mp4(chunks: Iterable[NDArray[np.uint8]], size: int, fps: int, lossless: bool = False) -> bytes:
    """Return pictures (n, size, size, 3), a chunk of a video after the other, as an MP4 file; as `encode` has it."""
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=fps, options=_LOSSLESS if lossless else _QUALITY)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 2 * fps
        for pictures in chunks:
            for picture in pictures:
                output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode())
    return target.getvalue()
