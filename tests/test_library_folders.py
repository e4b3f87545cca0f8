"""What a library makes of a folder: hidden, linked, unplugged, oddly named, and whatever happens between two runs."""

from __future__ import annotations

import os
import re
import tempfile
import time
from functools import cache
from pathlib import Path

import pytest
from fakes import COLOURS, FakeModel, RecordedProgress, best, clipped, colour_video, counts
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from mmi_tvr.errors import UsageError
from mmi_tvr.library import Library
from mmi_tvr.library.scan import Root, scan


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


def test_proposed_commands_work_as_printed_for_a_library_with_a_space_in_its_name(tmp_path):
    with Library(tmp_path / "my clips") as library:
        option = f"--library '{tmp_path}/my clips'"
        for wrong_use in (lambda: library.index(), lambda: library.search("red")):
            with pytest.raises(UsageError, match=f"mmi-tvr index DIR {re.escape(option)}$"):
                wrong_use()
        library.index(colour_video(tmp_path / "red.mp4", "red"), model=FakeModel())
        with pytest.raises(UsageError, match=f"mmi-tvr status {re.escape(option)}$"):
            library.remove(tmp_path / "blue.mp4")


def test_explicit_files_are_always_tried(tmp_path, library):
    odd = colour_video(tmp_path / "x.mp4", "red").rename(tmp_path / "odd.name")
    hidden = colour_video(tmp_path / ".hidden.mp4", "blue")
    assert counts(library.index([odd, hidden])) == {"added": 2, "embedded": 2}
    odd.unlink()
    assert counts(library.index()) == {"unchanged": 1, "removed": 1}
    with pytest.raises(UsageError, match="no such file or folder"):
        library.index(odd)


def test_explicit_files_can_be_excluded_too(folder, library):
    progress = RecordedProgress()
    files = [folder / "part0" / "blue.mp4", folder / "part1" / "green.mp4", folder / "part0" / "red.mp4"]
    assert library.index(files, exclude=["blue*", "*/part1/*"], progress=progress).added == 1
    assert progress.messages == ["left out by --exclude: 2 of the files that were named"]
    assert [path.name for path in library.index(files, exclude=["red.mp4"]).removed] == ["red.mp4"]
    assert library.index(files, exclude=[]).added == 1


def test_overlapping_folders_and_loops_of_links_count_once(folder, library):
    (folder / "part0" / "loop").symlink_to(folder)
    (folder / "self").symlink_to(folder / "self")
    (folder / "a first name").symlink_to(folder / "part1")
    elsewhere = folder.parent / "elsewhere"
    colour_video(elsewhere / "cyan.mp4", "cyan")
    (folder / "linked").symlink_to(elsewhere)
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
    for subfolder in range(20):
        (tmp_path / str(subfolder)).mkdir()
        for number in range(100):
            (tmp_path / str(subfolder) / f"{number}.mp4").touch()
    started = time.monotonic()
    assert len(scan([Root(tmp_path, ("*.part",))]).files) == 2000
    assert time.monotonic() - started < 5


POOL = tuple(sorted(COLOURS))


class FolderMachine(RuleBasedStateMachine):
    """Whatever happens to a folder between two runs: the library says what is in it, each content once."""

    names = st.sampled_from(["a.mp4", "b.mp4", "sub/c.mp4", "sub/d.mp4", "sub/deep/e.mkv"])
    colours = st.sampled_from(POOL[:4])

    def __init__(self) -> None:
        super().__init__()
        self.temporary = tempfile.TemporaryDirectory()
        self.root = Path(self.temporary.name).resolve() / "videos"
        self.root.mkdir()
        (self.root / "sub").mkdir()
        self.model = FakeModel()
        self.library = Library(Path(self.temporary.name) / "library", model=self.model, relevance=clipped)
        self.folder: dict[str, str] = {}
        self.indexed: dict[str, str] = {}
        self.clock = 0
        self.write("keep.mp4", "white")  # a folder of which nothing is left counts as unplugged

    def teardown(self) -> None:
        self.library.close()
        self.temporary.cleanup()

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
        usable = report.added + report.unchanged + report.moved + report.changed + report.copies
        assert usable == len(self.folder)
        assert report.changed == sum(before.get(name, colour) != colour for name, colour in self.folder.items())
        assert report.moved + len(report.removed) == len(before.keys() - self.folder.keys())
        self.indexed = dict(self.folder)
        catalogue = self.library._reader.catalogue()
        assert len(catalogue.content_hashes()) == self.library.status().videos == len(set(self.folder.values()))
        assert self.library._reader.searcher(catalogue).index.ids().tolist() == catalogue.expected_ids().tolist()

    @rule(colour=colours)
    def search(self, colour: str) -> None:
        if not self.indexed:
            return
        hits = self.library.search(colour, top=9)
        assert len(hits) == len(set(self.indexed.values()))
        names = {hit.path.relative_to(self.root).as_posix() for hit in hits}
        names |= {path.relative_to(self.root).as_posix() for hit in hits for path in hit.copies}
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
