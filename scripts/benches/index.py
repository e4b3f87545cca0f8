"""Indexing by the command line: CPU seconds, the first commit, files of features; against an earlier commit's code.

Thousands of small pictures, where what a file costs besides its pixels shows, and clips with the model that needs no
download, whose layers are large. CPU time is user and system of the run and of its decoders. Rounds go in turn.
"""

from __future__ import annotations

import argparse
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from . import earlier
from .real_clips import clips

_TINY_MODEL = "clip4clip:moving-shapes/base/clip"
_SIDES = (96, 72)
_A_FOLDER = 200  # pictures in it


@dataclass(frozen=True, slots=True)
class Run:
    """What an indexing run took."""

    user: float  # CPU seconds
    system: float
    seconds: float  # by the clock
    first: float  # seconds until something could be searched
    files: float  # of features


def run(args: argparse.Namespace) -> Iterator[str]:
    pictures, repeats = (600, 1) if args.small else (2_000, args.repeats)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        codes = earlier.codes(args.against, folder / "code")
        if "then" not in codes:
            yield f"no commit {args.against} here: nothing to compare with"
        _write_pictures(folder / "pictures", pictures)
        _link_clips(folder / "clips", clips(args.clips)[: 2 if args.small else None])
        count = len(list((folder / "clips").iterdir()))
        sets = {
            f"{pictures:,} pictures of {_SIDES[0]} x {_SIDES[1]}, {_TINY_MODEL}": (folder / "pictures", _TINY_MODEL),
            f"{count} clips, label_bridge": (folder / "clips", "label_bridge"),
        }
        for title, (files, model) in sets.items():
            runs: dict[str, list[Run]] = {code: [] for code in codes}
            for number in range(repeats):
                for code, place in codes.items():
                    runs[code].append(_index(place, files, folder / f"{files.name} {code} {number}", model))
            yield from _table(title, runs, args.against)


def _table(title: str, runs: dict[str, list[Run]], against: str) -> Iterator[str]:
    yield f"{title} (median of {len(runs['now'])}; then: {against})"
    yield f"  {'':<32} {'now':>8} {'then':>8} {'then / now':>11}"
    medians = {
        code: [median(values) for values in zip(*map(astuple, some), strict=True)] for code, some in runs.items()
    }
    names = ("user s", "system s", "seconds", "seconds to the first commit", "files of features")
    for row, name in enumerate(names):
        now, then = medians["now"][row], medians["then"][row] if "then" in medians else None
        ratio = "" if then is None else f"{then:8.1f} {then / max(now, 0.01):11.2f}"
        yield f"  {name:<32} {now:8.1f} {ratio}"


def _index(code: Path, files: Path, library: Path, model: str) -> Run:
    environment = {**os.environ, "PYTHONPATH": str(code), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mmi_tvr.cli", "index", str(files), "--library", str(library), "--model", model]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, cwd=library.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    first = None
    while process.poll() is None:
        if first is None and _something_is_indexed(library):
            first = time.perf_counter() - started
        time.sleep(0.05)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}: {' '.join(command)}")
    features = len(list((library / "features").glob("*.safetensors")))
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return Run(user, system, seconds, seconds if first is None else first, features)


def _something_is_indexed(library: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"file:{library / 'catalogue.sqlite'}?mode=ro", uri=True)) as catalogue:
            return catalogue.execute("SELECT 1 FROM contents WHERE state = 'indexed'").fetchone() is not None
    except sqlite3.Error:  # it is not there yet
        return False


def _write_pictures(folder: Path, count: int) -> None:
    random = np.random.default_rng(0)
    for number in range(count):
        below = folder / f"{number // _A_FOLDER:03d}"
        below.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (6, 8, 3), np.uint8)).resize(_SIDES).save(below / f"{number:05d}.jpg")


def _link_clips(folder: Path, clips: list[Path]) -> None:
    folder.mkdir()
    for clip in clips:
        (folder / clip.name).symlink_to(clip.resolve())
