"""The folders that a watcher follows: which, their events, and what happens where there are none."""

from __future__ import annotations

import errno
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeModel, clipped, colour_video

from mmi_tvr.errors import UsageError
from mmi_tvr.library import Library
from mmi_tvr.library.pausing import pause
from mmi_tvr.watch.changes import Changes
from mmi_tvr.watch.folders import WatchedFolders
from mmi_tvr.watch.running import folders_to_watch


@contextmanager
def watched(folder: Path, library: Path) -> Iterator[tuple[WatchedFolders, Changes, list[str], threading.Event]]:
    said_lines: list[str] = []
    changes, woken = Changes(settle=0.1), threading.Event()
    with closing(WatchedFolders([folder], library, changes, woken.set, said_lines.append)) as folders:
        folders.check()
        changes.take(time.monotonic())
        yield folders, changes, said_lines, woken


def due_within(changes: Changes, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if changes.is_due(time.monotonic()):
            return True
        time.sleep(0.02)
    return False


def test_events_of_media_wake_a_watcher_and_others_do_not(tmp_path: Path) -> None:
    folder, library = tmp_path / "films", tmp_path / "films" / "library"
    library.mkdir(parents=True)
    with watched(folder, library) as (_, changes, _, woken):
        (folder / "notes.txt").write_text("x")
        (folder / ".hidden.mp4").write_text("x")
        (library / "catalogue.mp4").write_text("x")
        assert not due_within(changes, 0.5)
        (folder / "new" / "nested").mkdir(parents=True)
        (folder / "new" / "nested" / "a.mp4").write_text("x")
        assert due_within(changes)
        assert changes.take(time.monotonic()) == [folder]
        (folder / "new" / ".nomedia").touch()
        assert due_within(changes)
        changes.take(time.monotonic())
        for number in range(2000):
            (folder / f"{number}.mp4").touch()
        (folder / "new" / "nested" / "a.mp4").unlink()
        assert due_within(changes)
        while due_within(changes, 0.5):
            changes.take(time.monotonic())
        woken.clear()
        pause(library)
        assert woken.wait(5)
        assert not due_within(changes, 0.3)


def test_a_folder_that_is_deleted_and_made_again_is_watched_again(tmp_path: Path) -> None:
    folder, library = tmp_path / "films", tmp_path / "library"
    folder.mkdir()
    library.mkdir()
    with watched(folder, library) as (folders, changes, _, _):
        shutil.rmtree(folder)
        folders.check()
        assert folders.states() == {folder: "away"}
        assert folders.present() == []
        assert not due_within(changes, 0.3)
        folder.mkdir()
        folders.check()
        assert due_within(changes, 1)
        changes.take(time.monotonic())
        (folder / "a.mp4").write_text("x")
        assert due_within(changes)
        assert folders.states() == {folder: "events"}


@pytest.mark.parametrize("place", ["folder", "library"])
def test_where_the_system_watches_no_more_rescans_take_its_place(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from watchdog.observers import Observer

    folder, library = tmp_path / "films", tmp_path / "library"
    folder.mkdir()
    library.mkdir()
    schedule = Observer.schedule

    def limited(self: Any, handler: Any, path: str, **options: Any) -> Any:
        if path == str(tmp_path / {"folder": "films", "library": "library"}[place]):
            raise OSError(errno.ENOSPC, "inotify watch limit reached")
        return schedule(self, handler, path, **options)

    monkeypatch.setattr(Observer, "schedule", limited)
    with watched(folder, library) as (folders, _, said_lines, _):
        folders.check()
        assert folders.only_rescans
        assert folders.states() == {folder: "rescans"}
        assert [line.split(":")[0] for line in said_lines] == ["the system watches no more folders for us"]


def test_loops_of_links_and_closed_folders_are_watched_past(tmp_path: Path) -> None:
    folder, library = tmp_path / "films", tmp_path / "library"
    (folder / "a").mkdir(parents=True)
    (folder / "closed").mkdir()
    (folder / "a" / "loop").symlink_to(folder)
    library.mkdir()
    (folder / "closed").chmod(0)
    with watched(folder, library) as (folders, changes, _, _):
        assert folders.states() == {folder: "events"}
        (folder / "a" / "b.mp4").write_text("x")
        assert due_within(changes)
    (folder / "closed").chmod(0o700)


def test_what_is_watched(tmp_path: Path) -> None:
    library = Library(tmp_path / "library", model=FakeModel(), relevance=clipped)
    films = tmp_path / "films"
    colour_video(films / "below" / "red.mp4", "red")
    with pytest.raises(UsageError, match="knows no folder yet"):
        folders_to_watch(library, [])
    with pytest.raises(UsageError, match="no such folder"):
        folders_to_watch(library, [tmp_path / "none"])
    with pytest.raises(UsageError, match="watch takes folders"):
        folders_to_watch(library, [films / "below" / "red.mp4"])
    assert folders_to_watch(library, [films / "below", films, films / "below" / ".."]) == [films]
    library.index(films)
    assert folders_to_watch(library, []) == [films]
    shutil.rmtree(films)
    assert folders_to_watch(library, [films]) == [films]  # its disk is away
    library.close()
