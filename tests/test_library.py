"""A library as people use it: index, change the folder, index again, search; locks, models, wild folders."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from fakes import COLOURS, ClippedScore, Ear, FakeModel, clipped, colour_video
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from mmi_tvr.config import Section, Settings
from mmi_tvr.errors import IndexMismatch, LibraryBusy, MmiTvrError, UsageError
from mmi_tvr.index import open_index
from mmi_tvr.library import IndexReport, Library
from mmi_tvr.library.catalogue import MIGRATIONS, Catalogue
from mmi_tvr.library.lock import writing
from mmi_tvr.library.scan import Root, scan
from mmi_tvr.search import Searcher
from mmi_tvr.types import Embeddings, Query, Scoring, row_ids

NAMES = ("blue", "green", "red", "yellow")


@pytest.fixture
def folder(tmp_path):
    """Four videos of one colour each, in two folders."""
    for at, name in enumerate(NAMES):
        colour_video(tmp_path / "videos" / f"part{at % 2}" / f"{name}.mp4", name)
    return tmp_path / "videos"


@pytest.fixture
def library(tmp_path):
    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped) as opened:
        yield opened


def counts(report: IndexReport) -> dict[str, int]:
    """What is not zero."""
    names = ("added", "unchanged", "moved", "changed", "copies", "embedded")
    found = {name: getattr(report, name) for name in names}
    found |= {name: len(getattr(report, name)) for name in ("removed", "quarantined", "unreadable")}
    return {name: count for name, count in found.items() if count}


def best(library: Library, text: str) -> str:
    return library.search(text, top=1)[0].path.stem


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
    assert model.seen == 0


def test_a_hit_names_its_moment(tmp_path, library):
    video = colour_video(tmp_path / "videos" / "three.mp4", "red", "blue", "green", seconds=3)
    library.index(tmp_path / "videos")
    for at, name in enumerate(("red", "blue", "green")):
        [hit] = library.search(Query(name))
        assert hit.path == video.resolve()
        assert hit.start == pytest.approx(3 * at, abs=0.6)
        assert hit.end == pytest.approx(3 * at + 3, abs=0.6)
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
    assert {hits[0].path.name, *(path.name for path in hits[0].also)} == {"sun.mp4", "yellow.mp4"}
    assert counts(library.index()) == {"unchanged": 5}


def test_a_touched_file_costs_a_hash_and_a_swap_is_noticed(folder, library):
    library.index(folder)
    os.utime(folder / "part0" / "red.mp4", ns=(1, 1))
    assert counts(library.index(folder)) == {"unchanged": 4}
    one, two = folder / "part0" / "red.mp4", folder / "part0" / "blue.mp4"
    one.rename(folder / "aside")
    two.rename(one)
    (folder / "aside").rename(two)
    os.utime(one, ns=(2, 2))
    os.utime(two, ns=(3, 3))
    assert counts(library.index(folder)) == {"changed": 2, "unchanged": 2}
    assert best(library, "blue") == "red"


def test_two_copies_of_which_one_goes(folder, library):
    shutil.copy(folder / "part0" / "red.mp4", folder / "again.mp4")
    assert counts(library.index(folder)) == {"added": 4, "copies": 1, "embedded": 4}
    (folder / "again.mp4").unlink()
    assert counts(library.index(folder)) == {"unchanged": 4, "removed": 1}
    assert library.search("red", top=1)[0].also == ()
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


def test_remove_forgets_files_and_folders(folder, library):
    library.index(folder)
    assert library.remove(folder / "part0" / "red.mp4") == ((folder / "part0" / "red.mp4").resolve(),)
    assert len(library.remove(folder / "part1")) == 2
    assert library.status().videos == 1
    with pytest.raises(UsageError, match="knows nothing of it"):
        library.remove(folder / "part1")
    library.remove(folder)
    assert library.status().roots == ()
    assert list(library.search("red")) == []
    assert (folder / "part0" / "red.mp4").exists()


POOL = tuple(sorted(COLOURS))


class FolderMachine(RuleBasedStateMachine):
    """Whatever happens to a folder between two runs: the library says what is in it, each content once."""

    names = st.sampled_from(["a.mp4", "b.mp4", "sub/c.mp4", "sub/d.mp4", "sub/deep/e.mkv"])
    colours = st.sampled_from(POOL[:4])

    def __init__(self) -> None:
        super().__init__()
        self.place = tempfile.TemporaryDirectory()
        self.root = Path(self.place.name).resolve() / "videos"
        self.root.mkdir()
        (self.root / "sub").mkdir()
        self.model = FakeModel()
        self.library = Library(Path(self.place.name) / "library", model=self.model, relevance=clipped)
        self.folder: dict[str, str] = {}
        self.indexed: dict[str, str] = {}
        self.clock = 0
        self.write("keep.mp4", "white")  # a folder of which nothing is left counts as unplugged

    def teardown(self) -> None:
        self.library.close()
        self.place.cleanup()

    @rule(name=names, colour=colours)
    def write(self, name: str, colour: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pool(colour))
        self.touch(name)
        self.folder[name] = colour

    @rule(name=names)
    def touch(self, name: str) -> None:
        self.clock += 1
        if (self.root / name).exists():
            os.utime(self.root / name, ns=(self.clock, self.clock))

    @rule(name=names)
    def delete(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)
        self.folder.pop(name, None)

    @rule(old=names, new=names)
    def rename(self, old: str, new: str) -> None:
        if old in self.folder:
            (self.root / new).parent.mkdir(parents=True, exist_ok=True)
            (self.root / old).rename(self.root / new)
            self.folder[new] = self.folder.pop(old)

    @rule(reopen=st.booleans())
    def index(self, reopen: bool) -> None:
        if reopen:
            self.library.close()
        before, known = self.indexed, set(self.indexed.values())
        report = self.library.index(self.root)
        fresh = set(self.folder.values()) - known
        assert report.embedded == len(fresh)
        assert report.quarantined == report.unreadable == ()
        found = report.added + report.unchanged + report.moved + report.changed + report.copies
        assert found == len(self.folder)
        assert report.changed == sum(before.get(name, colour) != colour for name, colour in self.folder.items())
        assert report.moved + len(report.removed) == len(before.keys() - self.folder.keys())
        self.indexed = dict(self.folder)
        catalogue = self.library._open()
        assert len(catalogue.hashes()) == self.library.status().videos == len(set(self.folder.values()))
        assert self.library._current_searcher(catalogue).index.ids().tolist() == catalogue.expected_ids().tolist()

    @rule(colour=colours)
    def search(self, colour: str) -> None:
        if not self.indexed:
            return
        hits = self.library.search(colour, top=9)
        assert len(hits) == len(set(self.indexed.values()))
        names = {hit.path.relative_to(self.root).as_posix() for hit in hits}
        names |= {path.relative_to(self.root).as_posix() for hit in hits for path in hit.also}
        assert names == set(self.indexed)
        if colour in self.indexed.values():
            assert self.indexed[hits[0].path.relative_to(self.root).as_posix()] == colour


TestFolder = FolderMachine.TestCase
TestFolder.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@cache
def pool(colour: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return colour_video(Path(folder) / f"{colour}.mp4", colour, seconds=0.5).read_bytes()


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
    ear = Ear()
    assert counts(library.index(folder, progress=ear)) == {"unchanged": 4, "quarantined": 5}
    assert ("embedding", 2) not in ear.stages
    ear = Ear()
    assert counts(library.index(folder, retry=True, progress=ear)) == {"unchanged": 4, "quarantined": 5}
    assert ("embedding", 2) in ear.stages  # two contents among the three readable files


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
    class Meddling(Ear):
        def begin(self, stage, total):
            super().begin(stage, total)
            if stage == "embedding":
                rewrite(folder / "part0" / "red.mp4", "white")

    report = library.index(folder, progress=Meddling())
    assert counts(report) == {"added": 3, "embedded": 3, "quarantined": 1}
    assert "changed while" in report.quarantined[0][1]
    assert library.search("red", top=9).coverage.pending == 1
    assert counts(library.index(folder)) == {"unchanged": 3, "changed": 1, "embedded": 1}
    assert best(library, "white") == "red"
    assert library.status().pending == 0


# Folders


def test_hidden_excluded_and_foreign_files_are_passed_over(folder, library):
    for name in (".hidden.mp4", "@eaDir/x.mp4", ".trash/x.mp4", "drafts/x.mp4", "keep/drafts/x.mp4", "keep/a.part.mp4"):
        colour_video(folder / name, "cyan")
    (folder / "notes.txt").write_text("text")
    (folder / "code.ts").write_text("export const x = 1;")
    report = library.index(folder, exclude=["drafts", "keep/*.part.mp4"])
    assert counts(report) == {"added": 4, "embedded": 4}
    assert counts(library.index(folder)) == {"unchanged": 4}  # the patterns are remembered
    report = library.index(folder, exclude=["keep", "part0"])
    assert counts(report) == {"unchanged": 2, "added": 1, "embedded": 1, "removed": 2}
    assert counts(library.index(folder, exclude=[]))["unchanged"] == 3


def test_explicit_files_are_always_tried(tmp_path, library):
    odd = colour_video(tmp_path / "x.mp4", "red").rename(tmp_path / "odd.name")
    hidden = colour_video(tmp_path / ".hidden.mp4", "blue")
    assert counts(library.index([odd, hidden])) == {"added": 2, "embedded": 2}
    odd.unlink()
    assert counts(library.index()) == {"unchanged": 1, "removed": 1}
    with pytest.raises(UsageError, match="no such file or folder"):
        library.index(odd)


def test_overlapping_folders_and_loops_of_links_count_once(folder, library):
    (folder / "part0" / "loop").symlink_to(folder)
    (folder / "self").symlink_to(folder / "self")
    (folder / "a first name").symlink_to(folder / "part1")
    other = folder.parent / "elsewhere"
    colour_video(other / "cyan.mp4", "cyan")
    (folder / "linked").symlink_to(other)
    report = library.index([folder, folder / "part0", folder.parent / "videos" / ".." / "videos"])
    assert counts(report) == {"added": 5, "embedded": 5}
    assert best(library, "cyan") == "cyan"
    paths = {hit.path for hit in library.search("red", top=9)}
    assert (folder / "part1" / "yellow.mp4").resolve() in paths  # by its own name, not by the link's
    assert counts(library.index()) == {"unchanged": 5}
    assert counts(library.index(folder / "part0")) == {"unchanged": 2}


def test_an_unplugged_folder_loses_nothing(folder, library):
    library.index([folder / "part0", folder / "part1"])
    away = folder / "away"
    (folder / "part0").rename(away)
    report = library.index()
    assert counts(report) == {"unchanged": 2, "unreadable": 1}
    (folder / "part0").mkdir()  # an empty mount point
    report = library.index(folder / "part0")
    assert counts(report) == {"unreadable": 1}
    assert "nothing of it is there" in report.unreadable[0][1]
    assert library.status().videos == 4
    (folder / "part0").rmdir()
    away.rename(folder / "part0")
    assert counts(library.index()) == {"unchanged": 4}


def test_names_that_are_no_text(folder, library):
    raw = os.fsencode(folder) + b"/caf\xe9 \n.mp4"
    os.rename(colour_video(folder / "x.mp4", "cyan"), raw)
    assert counts(library.index(folder))["added"] == 5
    assert os.fsencode(library.search("cyan", top=1)[0].path) == os.path.realpath(raw)
    assert counts(library.index(folder)) == {"unchanged": 5}


def test_a_large_folder_is_walked_quickly(tmp_path):
    for part in range(20):
        (tmp_path / str(part)).mkdir()
        for at in range(100):
            (tmp_path / str(part) / f"{at}.mp4").touch()
    started = time.monotonic()
    assert len(scan([Root(tmp_path, ("*.part",))]).files) == 2000
    assert time.monotonic() - started < 5


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
    with pytest.raises(UsageError, match="made by a newer"):
        Catalogue(path)


def test_status_without_a_model(folder, library):
    library.index(folder)
    status = Library(library.path).status()
    assert (status.videos, status.files, status.pending, status.model) == (4, 4, 0, "fake")
    assert status.moments >= 4
    assert status.duration == pytest.approx(8, abs=0.5)
    assert status.size > 0
    assert [root.path for root in status.roots] == [folder.resolve()]
    assert status.writer is None


# Models


def test_another_model_is_refused_and_rebuild_changes_it(folder, library):
    library.index(folder)
    for other in (FakeModel(head=2), FakeModel("other", vision=1)):
        changed = Library(library.path, model=other, relevance=clipped)
        for attempt in (lambda library=changed: library.index(folder), lambda library=changed: library.search("red")):
            with pytest.raises(IndexMismatch, match=f"--library .* --model {other.name} --rebuild"):
                attempt()
    same_tower = FakeModel("heads", head=2)
    changed = Library(library.path, model=same_tower, relevance=clipped)
    assert counts(changed.index(folder, rebuild=True)) == {"added": 4, "embedded": 4}
    assert same_tower.seen == 0
    assert [best(changed, name) for name in NAMES] == list(NAMES)
    assert changed.status().model == "heads"
    assert len(list((library.path / "vectors").iterdir())) == 1
    with pytest.raises(IndexMismatch):
        library.search("red")


def test_a_rebuild_that_was_interrupted_goes_on(folder, library):
    class Stops(FakeModel):
        left = 1

        def embed_videos(self, features):
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return super().embed_videos(features[:1]) if len(features) == 1 else super().embed_videos(features)

    library.index(folder / "part0")
    rewritten = Library(library.path, model=Stops(vision=1), relevance=clipped)
    rewritten._model.left = 0
    with pytest.raises(KeyboardInterrupt):
        rewritten.index(folder, rebuild=True)
    assert rewritten.status().pending == 4
    result = rewritten.search("red")
    assert (list(result), result.coverage.searched, result.coverage.pending) == ([], 0, 4)
    model = FakeModel(vision=1)
    assert counts(Library(library.path, model=model).index(folder, rebuild=True))["embedded"] == 4
    assert model.seen == 0  # the features of the interrupted run were kept
    again = Library(library.path, model=FakeModel(vision=1), relevance=clipped)
    assert counts(again.index(folder)) == {"unchanged": 4}
    assert best(again, "red") == "red"


def test_settings_are_kept_and_a_change_is_refused(folder, library):
    library.index(folder)
    plain = Library(library.path, model=FakeModel(), settings=Settings(), relevance=clipped)
    assert counts(plain.index(folder)) == {"unchanged": 4}
    uniform = Settings(keyimages=Section(name="uniform"))
    with pytest.raises(IndexMismatch, match="--rebuild"):
        Library(library.path, model=FakeModel(), settings=uniform).index(folder)
    faiss = Settings(index=Section(name="faiss"))
    with pytest.raises(IndexMismatch, match="index is auto, not faiss"):
        Library(library.path, model=FakeModel(), settings=faiss).index(folder)
    changed = Library(library.path, model=FakeModel(), settings=faiss, relevance=clipped)
    assert counts(changed.index(folder, rebuild=True))["embedded"] == 4
    assert changed.status().index == "faiss"
    assert best(changed, "green") == "green"


def test_the_same_model_under_another_name_is_the_same(folder, library):
    library.index(folder)
    renamed = Library(library.path, model=FakeModel("alias"), relevance=clipped)
    assert counts(renamed.index(folder)) == {"unchanged": 4}


# Processes


def test_an_interrupted_run_is_taken_up(folder, library):
    class Interrupting(Ear):
        def begin(self, stage, total):
            super().begin(stage, total)
            if stage == "embedding":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        library.index(folder, progress=Interrupting())
    assert library.status().pending == 4
    assert counts(library.index(folder)) == {"added": 4, "embedded": 4}


def test_the_second_writer_hears_who_holds_the_library(folder, library):
    library.index(folder)
    ear = Ear()
    with writing(library.path, 0, ear.say):
        with pytest.raises(LibraryBusy, match=rf"process {os.getpid()} on .* is writing to it"):
            library.index(folder, wait=0.3, progress=ear)
        assert "waiting up to" in ear.messages[0]
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


# Search


def gallery(seed: int, videos: int, dim: int = 12) -> dict[int, Embeddings]:
    rng = np.random.default_rng(seed)

    def unit(*shape: int) -> np.ndarray:
        rows = rng.normal(size=shape).astype(np.float32)
        return rows / np.linalg.norm(rows, axis=-1, keepdims=True)

    made = {}
    for number in range(1, videos + 1):
        count = int(rng.integers(1, 5))
        edges = np.linspace(0, 10, count + 1)
        segments = np.stack([edges[:-1], edges[1:], (edges[:-1] + edges[1:]) / 2], axis=1)
        made[number] = Embeddings(unit(dim), unit(count, dim), segments)
    made[videos] = made[1]  # a tie
    return made


class OneVector(FakeModel):
    """Every query is this vector."""

    def __init__(self, vector: np.ndarray, scoring: Scoring) -> None:
        super().__init__(scoring=scoring)
        self.vector = vector

    def embed_queries(self, queries):
        return np.stack([self.vector for _ in queries])


@pytest.mark.parametrize("scoring", [Scoring(), Scoring(moments=1.0), Scoring(moments=0.4, top=2)])
def test_search_equals_a_naive_loop(tmp_path, scoring):
    stored = gallery(seed=3, videos=40)
    index = open_index("flat", path=tmp_path, dim=12, fingerprint="f")
    for number, found in stored.items():
        index.upsert(row_ids(number, len(found.moments)), np.vstack([found.video[None], found.moments]))
    index.flush()
    for seed in range(5):
        query = gallery(seed=100 + seed, videos=1)[1].video
        model = OneVector(query, scoring)
        searcher = Searcher(
            model,
            index,
            lambda numbers: {n: ((Path(f"{n}.mp4"),), stored[n].segments) for n in numbers},
            ClippedScore(),
        )
        naive = {}
        for number, found in stored.items():
            cosines = sorted((float(moment @ query) for moment in found.moments), reverse=True)[: scoring.top]
            naive[number] = (1 - scoring.moments) * float(found.video @ query) + scoring.moments * float(
                np.mean(cosines)
            )
        expected = sorted(naive, key=lambda number: (-round(naive[number], 6), number))[:8]
        result = searcher.search("anything", top=8)
        assert [int(hit.path.stem) for hit in result] == expected
        assert [hit.score for hit in result] == pytest.approx([naive[number] for number in expected], abs=1e-6)
        for hit in result:
            found = stored[int(hit.path.stem)]
            assert (hit.start, hit.end, hit.time) == tuple(found.segments[int(np.argmax(found.moments @ query))])
        few = searcher.search("anything", top=8, videos=frozenset(expected[3:5]))
        assert [int(hit.path.stem) for hit in few] == expected[3:5]
        sure = searcher.search("anything", top=8, min_score=max(0.0, result[2].relevance))
        assert [hit.path for hit in sure] == [hit.path for hit in result if hit.relevance >= result[2].relevance]
        assert set(result.seconds) == {"embed", "search", "score", "relevance", "total"}
    index.close()


def test_a_reranker_reorders_and_invents_nothing(folder, library):
    class Backwards:
        def rerank(self, query, candidates, scores):
            return -scores

    library.index(folder)
    plain = library.search("red", top=9)
    searcher = library._current_searcher(library._open())
    searcher.reranker = Backwards()
    turned = library.search("red", top=9)
    assert [hit.path for hit in turned] == [hit.path for hit in plain][::-1]
    assert "rerank" in turned.seconds


def test_strange_queries(folder, library):
    library.index(folder)
    for text in ("", "  \n", "\0"):
        with pytest.raises(UsageError, match="query is empty"):
            library.search(text)
    for text in ("red\0", "红色", "\ud83d", "red " * 5000, *COLOURS):
        assert len(library.search(text, top=2)) == 2
    with pytest.raises(UsageError, match="at least 1 hit"):
        library.search("red", top=0)
    with pytest.raises(UsageError, match="between 0 and 1"):
        library.search("red", min_score=float("nan"))


def test_nothing_found_is_an_answer(folder, library):
    library.index(folder)
    assert [hit.path.stem for hit in library.search("red", top=9, min_score=0.8)] == ["red"]
    result = library.search("cyan", min_score=0.99)
    assert list(result) == []
    assert (result.model, result.coverage.searched) == ("fake", 4)
    assert len(library.search("red", top=100)) == 4


def test_the_default_calibration_ranks_present_above_absent(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MMI_TVR_CACHE", str(tmp_path / "cache"))
    with Library(tmp_path / "library", model=FakeModel()) as library:
        library.index(folder)
        present, absent = library.search("red", top=1)[0], library.search("magenta cyan", top=1)[0]
        assert 0 <= absent.relevance < present.relevance <= 1
