"""Sampling frames: ours against OpenCV's and decord2's loops and the ffmpeg program; and memory over many opens.

All get the same times per second, the same number of frames and the same output size, and end with RGB arrays.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import decord
import imageio_ffmpeg
import numpy as np

from mmi_tvr.media.video import open_video, probe, sample
from mmi_tvr.types import Video

from .real_clips import clips
from .timing import pooled, rounds

FPS, MAX_FRAMES, SIZE = 2.0, 64, 224
LONG = 10.0  # seconds, from which a clip is one of the longer


def run(args: argparse.Namespace) -> Iterable[str]:
    paths = clips(args.clips)
    yield f"frames: {FPS:g} a second, at most {MAX_FRAMES}, shorter side {SIZE}, {len(paths)} clips"
    yield from _speed(paths, 1 if args.small else args.repeats)
    yield from _memory(min(paths, key=lambda path: path.stat().st_size), 50 if args.small else 1000)


def _speed(paths: list[Path], repeats: int) -> Iterator[str]:
    groups: dict[str, list[dict[str, list[float]]]] = {}
    for path in paths:
        length = probe(path).duration
        group = f"clips of {LONG:g} s and more" if length >= LONG else f"clips under {LONG:g} s"
        groups.setdefault(group, []).append(rounds(_contenders(path), repeats))
    for group, measured in sorted(groups.items()):
        yield from pooled(group, measured, "ours")


def _contenders(path: Path) -> dict[str, Callable[[], int]]:
    ours = sample(Video(path), FPS, MAX_FRAMES, SIZE)
    count, (height, width) = len(ours), ours.pixels.shape[1:3]
    rate = count / probe(path).duration
    return {
        "ours": lambda: len(sample(Video(path), FPS, MAX_FRAMES, SIZE)),
        "ffmpeg fps filter": lambda: _ffmpeg(path, rate, width, height),
        "opencv, read every frame": lambda: _opencv(path, count, width, height, decode_all=True),
        "opencv, grab, retrieve wanted": lambda: _opencv(path, count, width, height, decode_all=False),
        "decord2 get_batch": lambda: _decord(path, count, width, height),
    }


def _ffmpeg(path: Path, rate: float, width: int, height: int) -> int:
    filters = f"fps={rate:.6f},scale={width}:{height}:flags=area"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-an", "-vf", filters]
    raw = subprocess.run([*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True, check=True).stdout
    return len(np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3))


def _opencv(path: Path, count: int, width: int, height: int, decode_all: bool) -> int:
    capture = cv2.VideoCapture(str(path))
    total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    frame_numbers = _middles(total, count)
    frames = []
    for number in range(total):
        if decode_all:
            ok, frame = capture.read()
        else:
            ok = capture.grab()
            if ok and number in frame_numbers:
                ok, frame = capture.retrieve()
        if not ok:
            break
        if number in frame_numbers:
            small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
            frames.append(cv2.cvtColor(small, cv2.COLOR_BGR2RGB))
    capture.release()
    return len(np.stack(frames))


def _decord(path: Path, count: int, width: int, height: int) -> int:
    reader = decord.VideoReader(str(path), width=width, height=height)
    return len(reader.get_batch(sorted(_middles(len(reader), count))).asnumpy())


def _middles(total: int, count: int) -> set[int]:
    return {int((number + 0.5) * total / count) for number in range(count)}


def _memory(path: Path, opens: int) -> Iterator[str]:
    """Resident memory and open descriptors before and after many opens of one file."""

    def once() -> None:
        with open_video(path) as video:
            video.sample(FPS, 4, 64)

    for _ in range(opens // 10):
        once()
    before, files = _resident(), _descriptors()
    for _ in range(opens):
        once()
    after = _resident()
    memory = f"{before:.1f} -> {after:.1f} MB resident, {files} -> {_descriptors()} descriptors"
    yield f"{opens} opens of {path.name}: {memory}"


def _resident() -> float:
    """Megabytes resident, from Linux's own account."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
