"""Broken files: what indexing makes of the odd corpus and of random damage; and what worker processes cost.

The first two go through `Library.index`; the model costs nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from unittest.mock import patch

import numpy as np

from mmi_tvr import plugins
from mmi_tvr.features.cache import Source
from mmi_tvr.features.extract import extract
from mmi_tvr.library import Library
from mmi_tvr.types import Video
from mmi_tvr.utils.environment import DECODE_WORKERS

from .timing import rounds, table

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from fakes import FakeModel
from media_damage import mutants, two_colours, whole_files
from odd_media import corpus, outcomes

MUTANTS, FEW_MUTANTS = 2000, 100
BUGS = {"took longer": "time-outs", "crashes the decoder": "worker deaths", "cannot be decoded (": "mistakes of ours"}


def run(args: argparse.Namespace) -> Iterable[str]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield from _corpus(folder)
        yield from _mutants(folder, FEW_MUTANTS if args.small else MUTANTS)
        yield from _speed(folder, 1 if args.small else args.repeats, args.small)


def _index(folder: Path, library: Path) -> tuple[dict[str, int | str], float]:
    started = time.perf_counter()
    with Library(library, model=FakeModel()) as opened:
        report = opened.index(folder)
        return outcomes(opened, report), time.perf_counter() - started


def _corpus(folder: Path) -> Iterator[str]:
    odd = corpus(folder / "odd")
    actual, seconds = _index(folder / "odd", folder / "odd library")
    wrong = [each for each in odd if not each.agrees(actual.get(each.name))]
    yield f"robustness: {len(odd)} odd files in {seconds:.1f} s, {len(wrong)} with another outcome than expected"
    for kind in dict.fromkeys(each.kind for each in odd):
        fates = [actual.get(each.name) for each in odd if each.kind == kind]
        works = sum(isinstance(fate, int) for fate in fates)
        yield f"  {kind:<20} {works:4} work, {len(fates) - works:3} do not"
    for each in wrong:
        yield f"  {each.name!a}: {actual.get(each.name)}, expected: {each.outcome}"


def _mutants(folder: Path, count: int) -> Iterator[str]:
    (folder / "mutants").mkdir()
    for name, content in islice(mutants(whole_files(folder)), count):
        (folder / "mutants" / name).write_bytes(content)
    actual, seconds = _index(folder / "mutants", folder / "mutants library")
    fates = Counter("work" if isinstance(fate, int) else _kind(fate) for fate in actual.values())
    lost = count - sum(fates.values())
    yield f"{count} randomly damaged files in {seconds:.1f} s"
    for fate in ("work", *sorted(set(fates) - {"work", *BUGS.values()}), *BUGS.values()):
        yield f"  {fate:<70} {fates[fate]:5}"
    yield f"  {'without an outcome':<70} {lost:5}"


def _kind(reason: str) -> str:
    return next((kind for start, kind in BUGS.items() if reason.startswith(start)), f"set aside: {reason}")


def _speed(folder: Path, repeats: int, small: bool) -> Iterator[str]:
    """The same files on their way to the model: through workers, and decoded in a thread of this process."""
    for title, count, how in (
        ("96x64, 4 s", 16 if small else 64, {}),
        ("640x360, 10 s", 2 if small else 8, {"pictures": _moving(100, (640, 360)), "gop": 50}),
    ):
        sources = [Source(Video(two_colours(folder / f"{title} {number}.mp4", **how))) for number in range(count)]
        contenders = {
            "2 workers": lambda sources=sources: _extract(sources, 2),
            "1 worker": lambda sources=sources: _extract(sources, 1),
            "this process": lambda sources=sources: _extract(sources, 0),
        }
        yield from table(f"{count} files of {title}", rounds(contenders, repeats), "2 workers")


def _extract(sources: list[Source], workers: int) -> int:
    model = FakeModel()
    model.image_size = 224
    with patch.dict(os.environ, {DECODE_WORKERS: str(workers)}):
        return sum(len(batch) for batch in extract(sources, model, plugins.build("keyimages", "disparity")))


def _moving(count: int, size: tuple[int, int]) -> list[np.ndarray]:
    """Pictures of blocks that move."""
    width, height = size
    blocks = np.random.default_rng(0).integers(0, 256, (height // 20, width // 20, 3), dtype=np.uint8)
    picture = blocks.repeat(20, axis=0).repeat(20, axis=1)
    return [np.roll(picture, 3 * number, axis=1) for number in range(count)]
