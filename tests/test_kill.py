"""An indexing process is killed at any step, again and again; the next run finds everything, once."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from fakes import COLOURS, LIBRARY_FILES, FakeModel, clipped, colour_video
from killing import Run, driver
from media_files import make_sound
from PIL import Image

from mmi_tvr.errors import IndexMismatch
from mmi_tvr.features.cache import FeatureCache
from mmi_tvr.library import Library

DRIVER = """
from fakes import FakeModel
from killing import serve
from mmi_tvr import keyimages
from mmi_tvr.index import faiss
from mmi_tvr.library import Library, translating

translating.FLOOR = 0.0  # what few colours show is no measure

def work(library, folder, vision, options):
    with Library(library, model=FakeModel(vision=vision)) as opened:
        opened.index(folder, **options)

serve(work, ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"))
"""


@pytest.fixture(scope="module")
def run():
    """Index in a process of its own: the number of its steps, or None where it was killed (before step `fatal`)."""
    with driver(DRIVER, MMI_TVR_DECODE_WORKERS="0") as run:  # a worker a run takes long to start

        def index(library: Path, folder: Path, fatal: int = 0, vision: int = 0, **options: int) -> int | None:
            return run(fatal, str(library), str(folder), vision, options)

        yield index


@pytest.fixture
def folder(tmp_path):
    for colour in sorted(COLOURS):
        colour_video(tmp_path / "videos" / f"{colour}.mp4", colour, seconds=0.5)
    return tmp_path / "videos"


def check(path: Path, folder: Path, vision: int = 0) -> None:
    """All of the folder is there exactly once, in catalogue, index and features; it is found; nothing is left to do.

    The files of the folder are named after their colours.
    """
    names = sorted(file.name for file in folder.iterdir())
    with Library(path, model=FakeModel(vision=vision), relevance=clipped) as library:
        status = library.status()
        assert (status.videos, status.files, status.pending) == (len(names), len(names), 0)
        assert status.quarantined == ()
        for name in names:
            assert library.search(name.partition(".")[0], top=1)[0].path.name == name
        catalogue = library._reader.catalogue()
        index = library._reader.searcher(catalogue).index
        assert index.ids().tolist() == catalogue.expected_ids().tolist()
        assert len(catalogue.content_hashes()) == len(names)
        features = Counter(key.partition("-")[0] for key in FeatureCache(path / "features"))
        assert features.keys() == catalogue.content_hashes()
        assert vision or set(features.values()) == {1}
        report = library.index()
        assert (report.unchanged, report.embedded, report.removed) == (len(names), 0, ())
    assert len(list((path / "vectors").iterdir())) == 1
    assert sorted(file.name for file in path.iterdir()) == LIBRARY_FILES


def check_complete(path: Path) -> None:
    """Nothing is translated any more, and nothing is left of what was."""
    with Library(path, model=FakeModel(vision=1), relevance=clipped) as library:
        status = library.status()
        assert (status.translated, status.former, status.rebuilding) == (0, None, None)
        catalogue = library._reader.catalogue()
        index = library._reader.searcher(catalogue).index
        assert index.ids().tolist() == catalogue.expected_ids().tolist()
    assert len(list((path / "vectors").iterdir())) == 1
    assert sorted(file.name for file in path.iterdir()) == LIBRARY_FILES


def check_search(path: Path) -> None:
    """What a kill leaves behind can be searched at once, as far as it goes."""
    with Library(path, model=FakeModel(), relevance=clipped) as library:
        if library.exists:
            result = library.search("red", top=99, fold=False)
            assert len(result) == result.coverage.searched


def check_answers(path: Path, folder: Path) -> None:
    """Whatever was killed, all is found: by the old model, or by the new one if the rebuild was as good as done."""
    answers = None
    for vision in (0, 1):
        with Library(path, model=FakeModel(vision=vision), relevance=clipped) as library, suppress(IndexMismatch):
            answers = {hit.path.name for hit in library.search("red", top=99, min_relevance=0, fold=False)}
    assert answers == {file.name for file in folder.iterdir()}


def test_killed_at_every_few_steps_of_a_first_run(tmp_path, folder, run: Run):
    steps = run(tmp_path / "measured", folder)
    assert steps > 100
    kills = 0
    for fatal in range(1, steps, 9):
        library = tmp_path / f"killed at {fatal}"
        kills += run(library, folder, fatal) is None
        check_search(library)
        assert run(library, folder) is not None
        check(library, folder)
    assert kills > 10


def test_killed_among_pictures_recordings_and_live_photos(tmp_path, run: Run):
    folder = tmp_path / "media"
    folder.mkdir()
    for colour in ("red", "blue"):
        Image.new("RGB", (64, 48), COLOURS[colour]).save(folder / f"{colour}.png")
    colour_video(folder / "blue.mp4", "blue", seconds=0.5)  # the clip of a live photo
    colour_video(folder / "green.mp4", "green", seconds=0.5)
    make_sound(folder / "talk.m4a", 0.5)
    steps = run(tmp_path / "measured", folder)
    assert steps > 7
    for fatal in range(1, steps, steps // 7):
        library = tmp_path / f"killed at {fatal}"
        assert run(library, folder, fatal) is None
        assert run(library, folder) is not None
        with Library(library, model=FakeModel(), relevance=clipped) as opened:
            status = opened.status()
            assert (status.kinds, status.pending) == ({"video": 1, "image": 2, "audio": 1}, 0)
            hits = opened.search("blue", top=9, min_relevance=0)
            assert sorted(hit.path.name for hit in hits) == ["blue.png", "green.mp4", "red.png"]
            assert hits[0].companions == (folder / "blue.mp4",)


def test_killed_at_every_few_steps_of_a_rebuild(tmp_path, folder, run: Run):
    run(tmp_path / "library", folder)
    shutil.copytree(tmp_path / "library", tmp_path / "measured")
    steps = run(tmp_path / "measured", folder, vision=1, rebuild=True)
    kills = 0
    for fatal in range(1, steps, 9):
        library = shutil.copytree(tmp_path / "library", tmp_path / f"killed at {fatal}")
        kills += run(library, folder, fatal, vision=1, rebuild=True) is None
        check_answers(library, folder)
        assert run(library, folder, vision=1, rebuild=True) is not None
        check(library, folder, vision=1)
    assert kills > 5


@pytest.mark.slow
def test_killed_at_every_few_steps_of_a_translation(tmp_path, folder, run: Run):
    """All is found at every moment, by the old model or by the new one; the same command, or a plain one, goes on."""
    for number, colour in enumerate(sorted(COLOURS)):
        colour_video(folder / f"{colour}.{number}.mp4", colour, "white", seconds=0.5)
    run(tmp_path / "library", folder)
    shutil.copytree(tmp_path / "library", tmp_path / "measured")
    steps = run(tmp_path / "measured", folder, vision=1, translate=12)
    kills = 0
    for number, fatal in enumerate(range(5, steps, steps // 6)):
        library = shutil.copytree(tmp_path / "library", tmp_path / f"killed at {fatal}")
        kills += run(library, folder, fatal, vision=1, translate=12) is None
        check_answers(library, folder)
        with Library(library) as begun:
            plain = number % 2 and begun.status().translating is not None
        assert run(library, folder, vision=1, **({} if plain else {"translate": 12})) is not None
        check_answers(library, folder)
        run(library, folder, fatal, vision=1)
        check_answers(library, folder)
        assert run(library, folder, vision=1) is not None
        assert run(library, folder, vision=1) is not None  # where the first one only ended the translation
        check_complete(library)
    assert kills > 3


@pytest.mark.parametrize("seed", range(4))
def test_killed_again_and_again_while_the_folder_changes(tmp_path, folder, run: Run, seed):
    chance = random.Random(seed)
    library, aside = tmp_path / "library", tmp_path / "aside"
    aside.mkdir()
    kills = 0
    for _ in range(20):
        kills += run(library, folder, fatal=chance.randrange(1, 120)) is None
        check_search(library)
        present, moved_away = sorted(folder.iterdir()), sorted(aside.iterdir())
        if moved_away and chance.random() < 0.5:
            chosen = chance.choice(moved_away)
            chosen.rename(folder / chosen.name)
        elif len(present) > 2:
            chosen = chance.choice(present)
            chosen.rename(aside / chosen.name)
        renamed = chance.choice(sorted(folder.iterdir()))
        renamed.rename(folder / f"{renamed.name.partition('.')[0]}.{chance.randrange(9)}.mp4")
    assert kills >= 3
    assert run(library, folder) is not None
    check(library, folder)
