"""Near-duplicates: found by vectors and fingerprints, listed, and shown as one hit."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeModel, RecordedProgress, clipped
from media_files import make_video
from PIL import Image

from mmi_tvr import Library
from mmi_tvr.library.duplicate_store import DUPLICATES_FILE
from mmi_tvr.library.duplicates import duplicate_groups
from mmi_tvr.scoring.fingerprints import (
    LEAST,
    fingerprint,
    may_be_copies,
    still_likenesses,
    video_fingerprints,
    video_likeness,
)
from mmi_tvr.types import Frames, Pixels


def scene(seed: int, width: int = 160, height: int = 120) -> Pixels:
    """Return a picture of coloured patches; scenes of other seeds are others, also where their mean colours agree."""
    generator = np.random.default_rng(seed)
    patches = Image.fromarray(generator.integers(0, 255, (5, 6, 3), dtype=np.uint8))
    return np.asarray(patches.resize((width, height), Image.Resampling.BICUBIC))


def likeness(left: Pixels, right: Pixels) -> float:
    return video_likeness(fingerprint(left)[None], fingerprint(right)[None], 0, 0)


def test_what_was_saved_again_is_alike_and_nothing_else(tmp_path: Path) -> None:
    picture = scene(1)
    Image.fromarray(picture).save(tmp_path / "again.jpg", quality=30)
    with Image.open(tmp_path / "again.jpg") as again:
        assert likeness(picture, np.asarray(again)) > LEAST
    small = np.asarray(Image.fromarray(picture).resize((80, 50)))
    assert likeness(picture, small) > LEAST
    assert likeness(picture, picture[3:-3, 4:-4]) > LEAST
    brighter = np.clip(picture.astype(np.float64) * 1.15, 0, 255).astype(np.uint8)
    assert likeness(picture, brighter) > LEAST
    others = [likeness(picture, scene(seed)) for seed in range(2, 30)]
    assert max(others) < LEAST
    assert likeness(picture, picture[:, ::-1]) < LEAST


def test_pictures_of_one_shade_are_told_apart_by_it() -> None:
    red, blue = np.full((9, 9, 3), (250, 0, 0), np.uint8), np.full((9, 9, 3), (0, 0, 250), np.uint8)
    grey, lighter = np.full((9, 9, 3), 100, np.uint8), np.full((9, 9, 3), 110, np.uint8)
    assert likeness(red, red) == pytest.approx(1.0)
    assert likeness(red, blue) < LEAST
    assert likeness(grey, lighter) == 1.0
    assert likeness(grey, np.full((9, 9, 3), 250, np.uint8)) == 0.0
    assert likeness(grey, scene(3)) < LEAST


def test_many_stills_are_compared_as_one_by_one() -> None:
    pictures = [scene(seed) for seed in range(6)] + [np.full((9, 9, 3), shade, np.uint8) for shade in (0, 20, 120, 180)]
    prints = np.stack([fingerprint(picture) for picture in pictures])  # (10, 192)
    rows, columns = np.indices((10, 10)).reshape(2, -1)
    likenesses = still_likenesses(prints[rows], prints[columns]).reshape(10, 10)
    np.testing.assert_allclose(likenesses[:6, :6], np.corrcoef(prints[:6]))
    distances = np.abs(prints[6:, None].astype(float) - prints[None, 6:]).mean(axis=2)
    np.testing.assert_array_equal(likenesses[6:, 6:], distances <= 40)
    assert np.abs(likenesses[:6, 6:]).max() < LEAST
    assert likeness(pictures[0], pictures[1]) == pytest.approx(likenesses[0, 1])


def film(
    scenes: list[Pixels], start: float = 0.0, end: float | None = None, fps: float = 2.0
) -> tuple[np.ndarray, float]:
    """The fingerprints and the length of a film of a second a scene, or of a part of it."""
    end = len(scenes) if end is None else end
    times = np.arange(start + 0.5 / fps, end, 1 / fps)
    pixels = np.stack([scenes[int(time)] for time in times])
    return video_fingerprints(Frames(times - start, pixels), end - start), end - start


def film_likeness(one: tuple[np.ndarray, float], other: tuple[np.ndarray, float]) -> float:
    return video_likeness(one[0], other[0], one[1], other[1])


def test_a_film_that_was_framed_or_cut_anew_is_alike_and_its_twins_are_not() -> None:
    scenes = [scene(seed) for seed in range(20)]
    whole = film(scenes)
    letterboxed = [np.pad(one, ((30, 20), (0, 0), (0, 0))) for one in scenes]
    pillarboxed = [np.pad(one, ((0, 0), (50, 50), (0, 0))) for one in scenes]
    copies = {
        "letterboxed": film(letterboxed),
        "pillarboxed": film(pillarboxed, fps=1.5),
        "start is away": film(scenes, 3.2),
        "end is away": film(scenes, 0, 17),
        "both are away": film(scenes, 1.7, 18.1),
        "one scene is other": film([*scenes[:-1], scene(99)]),
    }
    assert {
        name: film_likeness(whole, copy) for name, copy in copies.items() if film_likeness(whole, copy) < LEAST
    } == {}
    others = {
        "in another order": film(scenes[::-1]),
        "the last fifth is other": film([*scenes[:16], *(scene(seed) for seed in range(50, 54))]),
        "others": film([scene(seed) for seed in range(30, 50)]),
    }
    assert {name: film_likeness(whole, one) for name, one in others.items() if film_likeness(whole, one) >= LEAST} == {}
    for one in (*copies.values(), *others.values()):
        assert film_likeness(one, whole) == pytest.approx(film_likeness(whole, one), abs=0.1)


def test_a_dark_film_has_no_borders() -> None:
    dark = [(scene(seed) // 8).astype(np.uint8) for seed in range(4)]
    assert film_likeness(film(dark), film([one[::2, ::2] for one in dark])) > LEAST
    black = [np.zeros((60, 80, 3), np.uint8)] * 4
    assert film_likeness(film(black), film(black)) == 1.0
    assert film_likeness(film(black), film(dark)) < LEAST


def test_lengths_of_copies() -> None:
    assert may_be_copies(100, 80.1)
    assert not may_be_copies(100, 79)
    assert may_be_copies(3.6, 2.7)  # a second is little
    assert not may_be_copies(1.2, 0.6)  # but half of this


def test_groups() -> None:
    numbers = {"a": 4, "b": 2, "c": 9, "d": 5, "e": 7}
    assert duplicate_groups([("a", "b"), ("c", "b"), ("d", "gone")], numbers) == [[2, 4, 9]]
    assert duplicate_groups([], numbers) == []


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Two versions of one photo and of one film, other photos and films, one as long and one longer."""
    folder = tmp_path / "album"
    folder.mkdir()
    for seed in (1, 2, 3):
        Image.fromarray(scene(seed)).save(folder / f"photo{seed}.png")
    Image.fromarray(scene(1, 100, 75)).save(folder / "photo1 small.jpg", quality=60)
    films = {"film": [scene(7), scene(8)], "other": [scene(7), scene(9)], "longer": [scene(7), scene(8)] * 3}
    for name, scenes in films.items():
        make_video(folder / f"{name}.mp4", fps=8, pictures=[one for one in scenes for _ in range(8)])
    half = [np.asarray(Image.fromarray(one).resize((80, 60))) for one in (scene(7), scene(8))]
    make_video(folder / "film half.mp4", fps=8, pictures=[one for one in half for _ in range(8)])
    return folder


def test_a_search_shows_one_of_each_group_and_they_are_listed(tmp_path: Path, album: Path) -> None:
    before = sorted((path.name, path.stat().st_mtime_ns) for path in album.iterdir())
    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped) as library:
        library.index(album)
        folded = library.search("red", top=99, min_relevance=0)
        progress = RecordedProgress()
        report = library.duplicates(progress)
        assert progress.stages == [("looking for near-duplicates", 0)]  # `index` has done it
        groups = [[item.paths[0].name for item in group] for group in report.groups]
        assert sorted(map(sorted, groups)) == [["film half.mp4", "film.mp4"], ["photo1 small.jpg", "photo1.png"]]
        assert all(group[0].size >= group[1].size for group in report.groups)
        assert (report.items, report.unread) == (8, 0)
        plain = library.search("red", top=99, min_relevance=0, fold=False)
        assert (len(folded), len(plain)) == (6, 8)
        similar = {hit.path.name: [item.path.name for item in hit.similar] for hit in folded if hit.similar}
        assert {frozenset([name, *others]) for name, others in similar.items()} == set(map(frozenset, groups))
        [first, second] = library.search("red", top=2, min_relevance=0)
        assert second.id not in {item.id for item in first.similar}  # two hits are of two groups
        assert len(folded[0].as_dict().get("similar", [])) == len(folded[0].similar)
    assert sorted((path.name, path.stat().st_mtime_ns) for path in album.iterdir()) == before


def test_films_in_which_something_else_happens_are_listed_and_not_folded(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    for name, colour in (("red", (250, 0, 0)), ("blue", (0, 0, 250))):
        pictures = []
        for step in range(16):
            pictures.append(scene(7).copy())
            pictures[-1][50:70, 10 + 8 * step : 30 + 8 * step] = colour
        make_video(tmp_path / "films" / f"{name}.mp4", fps=8, pictures=pictures)
    for quality in (95, 60):  # of photos, such a pair is one
        picture = scene(3) if quality == 95 else scene(3)[3:-3, 4:-4]
        Image.fromarray(picture).save(tmp_path / "films" / f"{quality}.jpg", quality=quality)
    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped) as library:
        library.index(tmp_path / "films")
        assert sorted(len(group) for group in library.duplicates().groups) == [2, 2]
        similar = {hit.path.name for hit in library.search("red", top=9, min_relevance=0) if hit.similar}
        assert len(library.search("red", top=9, min_relevance=0)) == 3
        assert similar <= {"95.jpg", "60.jpg"}
        assert len(similar) == 1


def test_a_new_item_joins_and_one_that_is_away_leaves(tmp_path: Path, album: Path) -> None:
    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped) as library:
        library.index(album)
        Image.fromarray(scene(2, 90, 60)).save(album / "photo2 again.webp", quality=70)
        library.index()
        assert len(library.search("red", top=99, min_relevance=0)) == 6
        os.unlink(album / "photo1 small.jpg")
        library.index()
        assert len(library.duplicates().groups) == 2
        assert len(library.search("red", top=99, min_relevance=0)) == 6
        looked = "SELECT COUNT(*) FROM looked"
        with closing(sqlite3.connect(tmp_path / "library" / DUPLICATES_FILE)) as database:
            assert database.execute(looked).fetchone() == (8,)
        library.remove(album / "photo3.png")
        with closing(sqlite3.connect(tmp_path / "library" / DUPLICATES_FILE)) as database:
            assert database.execute(looked).fetchone() == (7,)
        with closing(sqlite3.connect(tmp_path / "library" / DUPLICATES_FILE)) as database:
            database.executescript("PRAGMA user_version = 0; DELETE FROM pairs;")
        assert len(library.duplicates().groups) == 2  # what an older version knew is looked at anew
    (tmp_path / "library" / DUPLICATES_FILE).write_bytes(b"no database")
    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped) as library:
        assert len(library.search("red", top=99, min_relevance=0)) == 7  # a damaged file folds nothing
        assert len(library.duplicates().groups) == 2  # and is made anew


def test_what_another_process_commits_is_folded_at_once(tmp_path: Path, album: Path) -> None:
    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped) as library:
        library.index(album)

        def count() -> int:
            return len(library.search("red", top=99, min_relevance=0))

        assert count() == 6
        with closing(sqlite3.connect(tmp_path / "library" / DUPLICATES_FILE)) as other:  # keeps its log, as a run does
            [*pairs] = other.execute("SELECT * FROM pairs")
            before = (tmp_path / "library" / DUPLICATES_FILE).stat()
            with other:
                other.execute("DELETE FROM pairs")
            assert count() == 8
            with other:
                other.executemany("INSERT INTO pairs VALUES (?, ?, ?)", pairs)
            assert count() == 6
            after = (tmp_path / "library" / DUPLICATES_FILE).stat()
            assert (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)
        with closing(sqlite3.connect(tmp_path / "library" / DUPLICATES_FILE)) as other:
            other.execute("PRAGMA user_version = 99")
        assert count() == 8, "what another version found is not folded"


@pytest.mark.parametrize("disk", ["read-only", "full"])
def test_a_file_that_was_replaced_is_read_anew_where_nothing_can_be_written(
    tmp_path: Path, album: Path, monkeypatch: pytest.MonkeyPatch, disk: str
) -> None:
    def no_room(path: Path) -> sqlite3.Connection:
        raise sqlite3.OperationalError("database or disk is full")

    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped) as library:
        library.index(album)
    path = tmp_path / "library" / DUPLICATES_FILE
    for module in ("utils.sqlite", "library.catalogue_file"):
        name, function = ("is_writable", lambda path: False) if disk == "read-only" else ("open_to_write", no_room)
        monkeypatch.setattr(f"mmi_tvr.{module}.{name}", function)
    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped) as library:
        for expected in (6, 8, 6):
            assert len(library.search("red", top=99, min_relevance=0)) == expected
            if expected == 6:
                path.rename(tmp_path / "kept")
            else:
                (tmp_path / "kept").rename(path)


def test_a_killed_run_loses_none(tmp_path: Path, album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(*arguments: object) -> None:
        raise KeyboardInterrupt

    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped) as library:
        with monkeypatch.context() as patch:
            patch.setattr("mmi_tvr.library.indexing.compare_new_items", kill)
            with pytest.raises(KeyboardInterrupt):
                library.index(album)
        library.index()
        assert len(library.search("red", top=99, min_relevance=0)) == 6


def test_features_without_fingerprints_are_left_to_the_command(
    tmp_path: Path, album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped) as library:
        with monkeypatch.context() as patch:
            patch.setattr("mmi_tvr.features.extract.video_fingerprints", lambda frames, seconds: None)
            library.index(album)
        assert len(library.search("red", top=99, min_relevance=0)) == 8
        (album / "photo1.png").rename(album / "away")
        assert library.duplicates().unread == 1
        (album / "away").rename(album / "photo1.png")
        assert library.duplicates().unread == 0
        progress = RecordedProgress()
        assert len(library.duplicates(progress).groups) == 2
        assert progress.stages == [("looking for near-duplicates", 0)]
        assert len(library.search("red", top=99, min_relevance=0)) == 6
