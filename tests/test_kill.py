"""An indexing process is killed at any moment, again and again; the next run finds everything, once."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from fakes import COLOURS, FakeModel, clipped, colour_video

from mmi_tvr.features import FeatureCache
from mmi_tvr.library import Library
from mmi_tvr.library.catalogue import Catalogue
from mmi_tvr.types import video_of

# The child counts its file operations and SQL statements, and kills itself before the one that it was told. (Killing
# it from outside after a random time would hit the same few slow places again and again.)
CHILD = """
import os, signal, sqlite3, sys
from fakes import FakeModel
from mmi_tvr.library import Library

folder, library, vision, fatal, rebuild = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
count = 0

def step(event="sql", arguments=()):
    global count
    if event in ("sql", "open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"):
        count += 1
        if count == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

class Counting(sqlite3.Connection):
    def execute(self, *arguments):
        step()
        return super().execute(*arguments)

    def executemany(self, *arguments):
        step()
        return super().executemany(*arguments)

connect = sqlite3.connect
sqlite3.connect = lambda *arguments, **options: connect(*arguments, factory=Counting, **options)
sys.addaudithook(step)
with Library(library, model=FakeModel(vision=vision)) as opened:
    opened.index(folder, rebuild=bool(rebuild))
print(count)
"""


def child(library: Path, folder: Path, vision: int = 0, fatal: int = 0, rebuild: bool = False) -> int | None:
    """Index in a process of its own; the number of its file operations, or None where it was killed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    arguments = [str(folder), str(library), str(vision), str(fatal), str(int(rebuild))]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *arguments], env=environment, capture_output=True, text=True, timeout=60
    )
    if done.returncode == -signal.SIGKILL:
        return None
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def check(path: Path, expected: dict[str, str], vision: int = 0) -> None:
    """Everything exactly once, in the catalogue, the index and the features; everything found; nothing to do."""
    with Library(path, model=FakeModel(vision=vision), relevance=clipped) as library:
        status = library.status()
        assert (status.videos, status.files, status.pending) == (len(expected), len(expected), 0)
        assert status.quarantined == ()
        for name, colour in expected.items():
            assert library.search(colour, top=1)[0].path.name == name
        index = library._current_searcher(library._open()).index
        catalogue = Catalogue(path / "catalogue.sqlite")
        assert index.ids().tolist() == catalogue.expected_ids().tolist()
        assert len(set(video_of(index.ids()).tolist())) == len(expected)
        sha = Counter(key.partition("-")[0] for key in FeatureCache(path / "features"))
        assert set(sha) == catalogue.hashes()
        assert len(catalogue.hashes()) == len(expected)
        catalogue.close()
        report = library.index()
        assert (report.unchanged, report.embedded, report.removed) == (len(expected), 0, ())
    assert not list(path.glob("*.tmp")) + list(path.glob(".*"))


@pytest.fixture
def folder(tmp_path):
    return make(tmp_path / "videos")


def make(folder: Path) -> Path:
    for colour in sorted(COLOURS):
        colour_video(folder / f"{colour}.mp4", colour, seconds=1)
    return folder


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_again_and_again_while_the_folder_changes(tmp_path, folder, seed):
    chance = random.Random(seed)
    library = tmp_path / "library"
    total = child(tmp_path / "measured", folder)
    assert total > 100
    kills = sum(child(library, folder, fatal=chance.randrange(1, total)) is None for _ in range(4))
    expected = {f"{colour}.mp4": colour for colour in sorted(COLOURS)}
    assert child(library, folder) is not None
    assert kills >= 2
    check(library, expected)

    (folder / "red.mp4").unlink()
    (folder / "blue.mp4").rename(folder / "sea.mp4")
    shutil.move(colour_video(tmp_path / "new.mp4", "magenta", "red", seconds=1), folder / "magenta.mp4")
    changes = child(shutil.copytree(library, tmp_path / "copied"), folder)
    kills = sum(child(library, folder, fatal=chance.randrange(1, changes)) is None for _ in range(3))
    assert kills >= 1
    assert child(library, folder) is not None
    del expected["red.mp4"], expected["blue.mp4"]
    expected |= {"sea.mp4": "blue", "magenta.mp4": "magenta red"}
    check(library, expected)


def test_killed_while_rebuilding(tmp_path, folder):
    chance = random.Random(7)
    library = tmp_path / "library"
    child(library, folder)
    total = child(shutil.copytree(library, tmp_path / "copied"), folder, vision=1, rebuild=True)
    kills = sum(child(library, folder, 1, chance.randrange(1, total), rebuild=True) is None for _ in range(4))
    assert kills >= 2
    assert child(library, folder, vision=1, rebuild=True) is not None
    check(library, {f"{colour}.mp4": colour for colour in sorted(COLOURS)}, vision=1)
