"""A library as people use it: index, change something, index again; bad files, its folder, several processes."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeModel, RecordedProgress, best, clipped, colour_video, counts

from mmi_tvr.config import Section, Settings
from mmi_tvr.errors import LibraryBusy, MmiTvrError, UsageError
from mmi_tvr.index import open_index
from mmi_tvr.library import Library
from mmi_tvr.library.catalogue import Catalogue
from mmi_tvr.library.lock import writing
from mmi_tvr.library.migrations import MIGRATIONS
from mmi_tvr.skeletons.store import SKELETONS_FILE, SkeletonStore
from mmi_tvr.types import Query, row_ids

NAMES = ("blue", "green", "red", "yellow")


def rewrite(path: Path, *colours: str) -> None:
    """Other bytes, certainly another stamp."""
    colour_video(path, *colours)
    os.utime(path, ns=(time.time_ns(), time.time_ns() + 10**9))


# Incremental


def test_index_then_search_then_nothing_to_do(folder, library):
    assert counts(library.index(folder)) == {"added": 4, "embedded": 4}
    assert [best(library, name) for name in NAMES] == list(NAMES)
    model = FakeModel()
    again = Library(library.path, model=model).index([folder])
    assert counts(again) == {"unchanged": 4}
    assert model.images_encoded == 0


def test_a_hit_names_its_moment(tmp_path, library):
    video = colour_video(tmp_path / "videos" / "three.mp4", "red", "blue", "green", seconds=3)
    library.index(tmp_path / "videos")
    for position, name in enumerate(("red", "blue", "green")):
        [hit] = library.search(Query(name))
        assert hit.path == video.resolve()
        assert hit.start == pytest.approx(3 * position, abs=0.6)
        assert hit.end == pytest.approx(3 * position + 3, abs=0.6)
        assert hit.start <= hit.time <= hit.end
        assert hit.scores["moment"] > 0.9 > hit.scores["video"]


def test_renamed_changed_vanished_copied_and_new(folder, library):
    library.index(folder)
    model = FakeModel()
    library = Library(library.path, model=model, relevance=clipped)
    (folder / "part0" / "blue.mp4").rename(folder / "part1" / "sea.mp4")
    rewrite(folder / "part1" / "green.mp4", "white")
    (folder / "part0" / "red.mp4").unlink()
    shutil.copy(folder / "part1" / "yellow.mp4", folder / "sun.mp4")
    colour_video(folder / "cyan.mp4", "cyan")
    report = library.index(folder)
    assert counts(report) == {
        "moved": 1, "changed": 1, "removed": 1, "copies": 1, "unchanged": 1, "added": 1, "embedded": 2,
    }  # fmt: skip
    assert report.removed == ((folder / "part0" / "red.mp4").resolve(),)
    assert best(library, "blue") == "sea"
    assert best(library, "white") == "green"
    hits = library.search("yellow", top=9)
    assert len(hits) == 4  # blue, white, cyan, and yellow once
    assert {hits[0].path.name, *(path.name for path in hits[0].copies)} == {"sun.mp4", "yellow.mp4"}
    assert counts(library.index()) == {"unchanged": 5}


def test_a_touched_file_costs_a_hash_and_a_swap_is_noticed(folder, library):
    library.index(folder)
    os.utime(folder / "part0" / "red.mp4", ns=(1, 1))
    assert counts(library.index(folder)) == {"unchanged": 4}
    red, blue = folder / "part0" / "red.mp4", folder / "part0" / "blue.mp4"
    red.rename(folder / "aside")
    blue.rename(red)
    (folder / "aside").rename(blue)
    os.utime(red, ns=(2, 2))
    os.utime(blue, ns=(3, 3))
    assert counts(library.index(folder)) == {"changed": 2, "unchanged": 2}
    assert best(library, "blue") == "red"


def test_two_copies_of_which_one_goes(folder, library):
    shutil.copy(folder / "part0" / "red.mp4", folder / "again.mp4")
    assert counts(library.index(folder)) == {"added": 4, "copies": 1, "embedded": 4}
    (folder / "again.mp4").unlink()
    assert counts(library.index(folder)) == {"unchanged": 4, "removed": 1}
    assert library.search("red", top=1)[0].copies == ()
    (folder / "part0" / "red.mp4").unlink()
    library.index(folder)
    assert library.status().videos == 3
    assert best(library, "red") != "red"


def test_a_library_forgets_everything_of_what_is_gone(folder, library):
    library.index(folder)
    (folder / "part0" / "red.mp4").unlink()
    library.index(folder)
    status = library.status()
    assert (status.videos, status.files, status.pending) == (3, 3, 0)
    assert len(list((library.path / "features").glob("*.safetensors"))) == 1
    catalogue = Catalogue(library.path / "catalogue.sqlite")
    rows = catalogue._db.execute("SELECT COUNT(DISTINCT content) FROM moments").fetchone()
    assert rows == (3,)
    catalogue.close()


def test_answers_about_a_video_go_with_its_last_file(folder, library):
    library.index(folder)
    hashes = sorted(library._reader.catalogue().content_hashes())
    with SkeletonStore(library.path / SKELETONS_FILE) as store:
        store.put([(content, "question", "answer") for content in hashes])
    (folder / "part0" / "red.mp4").unlink()
    library.index(folder)
    remaining = library._reader.catalogue().content_hashes()
    with SkeletonStore(library.path / SKELETONS_FILE) as store:
        assert {content for content, _ in store.get(hashes, ["question"])} == set(remaining) < set(hashes)


def test_remove_forgets_files_and_folders(folder, library):
    library.index(folder)
    assert library.remove(folder / "part0" / "red.mp4") == ((folder / "part0" / "red.mp4").resolve(),)
    assert len(library.remove(folder / "part1")) == 2
    assert library.status().videos == 1
    catalogue = library._reader.catalogue()
    assert library._reader.searcher(catalogue).index.ids().tolist() == catalogue.expected_ids().tolist()
    with pytest.raises(UsageError, match="knows nothing of it"):
        library.remove(folder / "part1")
    library.remove(folder)
    assert library.status().roots == ()
    assert list(library.search("red")) == []
    assert (folder / "part0" / "red.mp4").exists()


# Bad files


def test_bad_files_are_quarantined_with_reasons_and_tried_again_only_on_request(folder, library):
    (folder / "empty.mp4").touch()
    (folder / "empty too.mp4").touch()
    (folder / "text.mkv").write_text("no video")
    (folder / "link.mp4").symlink_to(folder / "nowhere.mp4")
    os.mkfifo(folder / "pipe.mp4")
    report = library.index(folder)
    assert counts(report) == {"added": 4, "embedded": 4, "quarantined": 5}
    reasons = {path.name: reason for path, reason in report.quarantined}
    assert reasons["link.mp4"] == "a link that points to nothing"
    assert reasons["pipe.mp4"] == "not a regular file"
    assert all(reasons.values())
    assert library.status().quarantined == report.quarantined
    progress = RecordedProgress()
    assert counts(library.index(folder, progress=progress)) == {"unchanged": 4, "quarantined": 5}
    assert ("looking at files", 2) not in progress.stages
    progress = RecordedProgress()
    assert counts(library.index(folder, retry=True, progress=progress)) == {"unchanged": 4, "quarantined": 5}
    assert ("looking at files", 2) in progress.stages  # two contents among the three readable files


def test_a_repaired_file_leaves_quarantine(folder, library):
    (folder / "new.mp4").write_text("still being copied")
    (folder / "link.mp4").symlink_to(folder / "later")
    assert counts(library.index(folder))["quarantined"] == 2
    rewrite(folder / "new.mp4", "cyan")
    colour_video(folder / "later.mp4", "white").rename(folder / "later")
    assert counts(library.index(folder)) == {"changed": 1, "added": 1, "unchanged": 4, "embedded": 2}
    assert best(library, "cyan") == "new"


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux's /proc")
def test_a_file_that_cannot_be_read_is_quarantined(folder, library):
    (folder / "unreadable.mp4").symlink_to("/proc/self/mem")  # open works, reading fails, also for root
    report = library.index(folder)
    assert [path.name for path, _ in report.quarantined] == ["unreadable.mp4"]
    assert counts(library.index(folder)) == {"unchanged": 4, "quarantined": 1}


def test_a_file_that_changes_under_our_hands_waits_for_the_next_run(folder, library):
    class Meddling(RecordedProgress):
        def begin(self, stage, total):
            super().begin(stage, total)
            if stage == "embedding":
                rewrite(folder / "part0" / "red.mp4", "white")

    (folder / "text.mkv").write_text("no video")
    report = library.index(folder, progress=Meddling())
    assert counts(report) == {"added": 3, "embedded": 3, "quarantined": 2}
    reasons = {path.name: reason for path, reason in report.quarantined}
    assert "changed while" in reasons["red.mp4"]
    assert "changed while" not in reasons["text.mkv"]
    (folder / "text.mkv").unlink()
    assert library.search("red", top=9).coverage.pending == 1
    assert counts(library.index(folder)) == {"unchanged": 3, "changed": 1, "removed": 1, "embedded": 1}
    assert best(library, "white") == "red"
    assert library.status().pending == 0


def test_a_named_file_that_vanished_is_forgotten(folder, library):
    library.index(folder)
    red = folder / "part0" / "red.mp4"
    red.unlink()
    report = library.index(red)
    assert counts(report) == {"removed": 1}
    assert report.removed == (red.resolve(),)
    assert library.status().files == 3


def test_every_file_that_cannot_be_searched_is_in_the_coverage(folder, library):
    (folder / "text.mkv").write_text("no video")
    os.mkfifo(folder / "pipe.mp4")
    library.index(folder)
    coverage = library.search("red").coverage
    assert (coverage.searched, coverage.pending, coverage.quarantined) == (4, 0, 2)


def test_progress_is_one_step_a_file_and_one_a_video(folder, library):
    shutil.copy(folder / "part0" / "red.mp4", folder / "again.mp4")
    progress = RecordedProgress()
    library.index(folder, progress=progress)
    stages = [("reading", 5), ("looking at files", 4), ("embedding", 4), ("looking for near-duplicates", 4)]
    assert progress.stages == stages
    assert progress.steps == [5, 4, 4, 4]


def test_of_many_new_files_a_few_are_searchable_before_the_others_are_looked_at(folder, library, monkeypatch):
    monkeypatch.setattr("mmi_tvr.library.first_look._MANY", 4)
    monkeypatch.setattr("mmi_tvr.library.first_look._FIRST", 3)
    progress = RecordedProgress()
    report = library.index(folder, progress=progress)
    assert progress.stages[:5] == [
        ("reading", 4), ("looking at files", 3), ("embedding", 3), ("looking at files", 1), ("embedding", 1)
    ]  # fmt: skip
    assert counts(report) == {"added": 4, "embedded": 4}
    assert best(library, "red") == "red"
    assert counts(library.index(folder)) == {"unchanged": 4}


def test_copies_that_arrive_as_one_goes_are_one_move_and_one_copy(folder, library):
    red = folder / "part0" / "red.mp4"
    library.index(folder)
    shutil.copy(red, folder / "x.mp4")
    red.rename(folder / "y.mp4")
    report = library.index(folder)
    assert counts(report) == {"moved": 1, "copies": 1, "unchanged": 3}
    assert report.removed == ()


def test_two_that_went_for_one_copy_are_one_move_and_one_removal(folder, library):
    red = folder / "part0" / "red.mp4"
    shutil.copy(red, folder / "again.mp4")
    library.index(folder)
    (folder / "again.mp4").unlink()
    red.rename(folder / "y.mp4")
    report = library.index(folder)
    assert counts(report) == {"moved": 1, "unchanged": 3, "removed": 1}


def test_a_quarantined_file_that_is_written_again_is_tried_again(folder, library):
    broken = folder / "broken.mp4"
    broken.write_text("still being copied")
    library.index(folder)
    os.utime(broken, ns=(7, 7))  # the same bytes at another time
    progress = RecordedProgress()
    assert counts(library.index(folder, progress=progress)) == {"unchanged": 4, "quarantined": 1}
    assert ("looking at files", 1) in progress.stages


def test_a_model_that_cannot_be_had_says_so_before_anything_is_read(folder, library, monkeypatch):
    progress = RecordedProgress()
    settings = Settings(model=Section(name="clip4clip", checkpoint="no/such"))
    with Library(library.path, settings=settings) as fresh, pytest.raises(MmiTvrError):
        fresh.index(folder, progress=progress)
    assert progress.stages == []


# The library's own folder


def test_opening_wrong_folders(tmp_path, folder):
    with pytest.raises(UsageError, match="no library is here"):
        Library(tmp_path / "none").search("red")
    with pytest.raises(UsageError, match="no library is here"):
        Library(tmp_path / "none").status()
    with pytest.raises(UsageError, match="no library is here"):
        Library(tmp_path / "none").remove(folder)
    assert not (tmp_path / "none").exists()
    with pytest.raises(UsageError, match="no such file or folder"):
        Library(tmp_path / "none", model=FakeModel()).index(tmp_path / "typo")
    assert not (tmp_path / "none").exists()
    with pytest.raises(UsageError, match="not a library, and not empty"):
        Library(folder, model=FakeModel()).index(folder)
    with pytest.raises(UsageError, match="nothing to index"):
        Library(tmp_path / "fresh", model=FakeModel()).index()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "catalogue.sqlite").write_text("x" * 5000)
    with pytest.raises(MmiTvrError, match="not usable as the catalogue"):
        Library(tmp_path / "broken").status()


def test_a_path_may_begin_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Library("~/videos").path == tmp_path / "videos"


def test_what_a_killed_first_run_left_is_no_foreign_folder(folder, tmp_path):
    (tmp_path / "library").mkdir()
    for name in ("catalogue.sqlite-wal", "writer.lock"):
        (tmp_path / "library" / name).touch()
    with Library(tmp_path / "library", model=FakeModel()) as library:
        assert counts(library.index(folder))["added"] == 4


def test_a_library_inside_the_folder_it_indexes(folder):
    with Library(folder / "library", model=FakeModel(), relevance=clipped) as library:
        assert counts(library.index(folder)) == {"added": 4, "embedded": 4}
        assert counts(library.index(folder)) == {"unchanged": 4}


def test_a_newer_catalogue_is_refused(tmp_path):
    path = tmp_path / "catalogue.sqlite"
    Catalogue(path, create=True).close()
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(UsageError, match=r"a newer mmi-tvr made this library .* version 99, this program"):
        Catalogue(path)


def test_status_without_a_model(folder, library):
    library.index(folder)
    with Library(library.path) as opened:
        status = opened.status()
        assert status.size == sum(path.stat().st_size for path in library.path.rglob("*") if path.is_file())
    assert (status.videos, status.files, status.pending, status.model) == (4, 4, 0, "fake")
    catalogue = Catalogue(library.path / "catalogue.sqlite")
    assert status.moments == len(catalogue.expected_ids()) - 4 >= 4
    catalogue.close()
    assert status.duration == pytest.approx(8, abs=0.5)
    assert [root.path for root in status.roots] == [folder.resolve()]
    assert status.writer is None


# Processes


def test_an_interrupted_run_is_taken_up(folder, library):
    class Interrupting(RecordedProgress):
        def begin(self, stage, total):
            super().begin(stage, total)
            if stage == "embedding":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        library.index(folder, progress=Interrupting())
    assert library.status().pending == 4
    assert counts(library.index(folder)) == {"added": 4, "embedded": 4}


def test_a_waiting_video_is_read_from_the_copy_that_is_there(folder, library):
    class Interrupting(RecordedProgress):
        def begin(self, stage, total):
            if stage == "embedding":
                raise KeyboardInterrupt
            super().begin(stage, total)

    disk = folder.parent / "disk"
    disk.mkdir()
    shutil.copy(folder / "part0" / "red.mp4", disk / "red.mp4")
    colour_video(disk / "cyan.mp4", "cyan")
    with pytest.raises(KeyboardInterrupt):
        library.index([folder, disk], progress=Interrupting())
    disk.rename(folder.parent / "unplugged")
    assert library.index().embedded == 4
    status = library.status()
    assert (status.videos, status.pending) == (4, 1)  # cyan goes on waiting for its disk
    assert library.search("red", top=1)[0].scores["moment"] > 0.9


def test_the_second_writer_hears_who_holds_the_library(folder, library):
    library.index(folder)
    progress = RecordedProgress()
    with writing(library.path, 0, progress.say):
        started = time.monotonic()
        with pytest.raises(LibraryBusy, match=rf"process {os.getpid()} on .* is writing to it"):
            library.index(folder, wait=0.3, progress=progress)
        assert time.monotonic() - started < 10
        assert "waiting up to" in progress.messages[0]
        assert f"process {os.getpid()}" in library.status().writer
        assert best(library, "red") == "red"  # searching needs no lock
    assert counts(library.index(folder, wait=0)) == {"unchanged": 4}


def test_two_processes_index_one_library(folder, library):
    child = (
        "import sys; from fakes import FakeModel; from mmi_tvr.library import Library\n"
        "report = Library(sys.argv[1], model=FakeModel(delay=0.2)).index(sys.argv[2])\n"
        "print(report.added, report.unchanged)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, "-c", child, str(library.path), str(folder)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    printed = sorted(process.communicate(timeout=60)[0].strip() for process in running)
    assert printed == ["0 4", "4 0"]
    assert library.status().videos == 4


def test_an_open_searcher_sees_what_another_object_writes(folder, library):
    library.index(folder / "part0")
    reader = Library(library.path, model=FakeModel(), relevance=clipped)
    assert len(reader.search("green", top=9)) == 2
    library.index(folder)
    assert best(reader, "green") == "green"
    library.remove(folder)
    assert list(reader.search("green")) == []


def test_rows_that_disagree_with_the_catalogue_are_put_right(folder, library):
    library.index(folder)
    [vectors] = (library.path / "vectors").iterdir()
    shutil.rmtree(vectors)
    assert counts(library.index(folder)) == {"added": 4, "embedded": 4}
    assert best(library, "yellow") == "yellow"
    library.close()
    meta = Catalogue(library.path / "catalogue.sqlite")
    index = open_index("flat", path=vectors, dim=meta.meta("dim"), fingerprint=meta.meta("fingerprint"))
    stray = np.eye(meta.meta("dim"), dtype=np.float32)[:2]
    index.upsert(row_ids(99, 1), stray)
    index.flush()
    index.close()
    meta.close()
    assert len(library.search("red", top=9)) == 4  # nobody knows video 99
    assert counts(library.index(folder)) == {"unchanged": 4}
    index = open_index("flat", path=vectors, dim=len(stray[0]), fingerprint=index.fingerprint)
    assert 99 not in set((index.ids() >> 12).tolist())
    index.close()
