"""Files that are away or closed for a while, folders without videos, failing first runs, hits whose files are gone."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import av
import pytest
from fakes import FakeModel, RecordedProgress, best, colour_video, counts
from typer import Exit

from mmi_tvr import models
from mmi_tvr.cli import library as library_commands
from mmi_tvr.cli import search as search_commands
from mmi_tvr.config import Section, Settings
from mmi_tvr.errors import MmiTvrError, UnreadableFile
from mmi_tvr.features import extract
from mmi_tvr.library import Library, file_tags
from mmi_tvr.library.lock import writing
from mmi_tvr.media.video import probe
from mmi_tvr.report import search_page
from mmi_tvr.scoring.decision import Decision

CLOSED = OSError(errno.EACCES, os.strerror(errno.EACCES))


@pytest.fixture
def closed(monkeypatch):
    """Names of files that cannot be read for now."""
    names: set[str] = set()
    digest = file_tags.file_digest

    def read(path):
        if path.name in names:
            raise CLOSED
        return digest(path)

    monkeypatch.setattr(file_tags, "file_digest", read)
    return names


# What cannot be read for a while


def test_a_file_whose_permissions_were_repaired_is_read_by_the_next_run(folder, library, closed):
    closed.add("red.mp4")
    report = library.index(folder)
    assert counts(report) == {"added": 3, "embedded": 3, "quarantined": 1}
    assert [reason for _, reason in report.quarantined] == ["Permission denied"]
    assert counts(library.index(folder)) == {"unchanged": 3, "quarantined": 1}
    closed.clear()  # which changes neither its size nor its time
    assert counts(library.index(folder)) == {"unchanged": 3, "added": 1, "embedded": 1}
    assert best(library, "red") == "red"


def test_what_is_known_of_a_file_that_cannot_be_read_is_kept(folder, library, closed):
    library.index(folder)
    os.utime(folder / "part0" / "red.mp4", ns=(7, 7))
    closed.add("red.mp4")
    report = library.index(folder)
    assert counts(report) == {"unchanged": 3, "quarantined": 1}
    assert [reason for _, reason in report.quarantined] == ["Permission denied; what is known of it is kept"]
    assert best(library, "red") == "red"
    closed.clear()
    assert counts(library.index(folder)) == {"unchanged": 4}  # nothing was embedded again


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), UnreadableFile("red.mp4", "no such file")])
def test_a_file_that_fails_while_it_is_decoded_waits_for_the_next_run(folder, library, monkeypatch, error):
    from_frames = extract.keyimages.from_frames

    def failing(video, *arguments):
        if video.path.name == "red.mp4":
            raise error
        return from_frames(video, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(extract.keyimages, "from_frames", failing)
        report = library.index(folder)
    assert counts(report) == {"added": 3, "embedded": 3, "quarantined": 1}
    assert [reason for _, reason in report.quarantined] in (["Input/output error"], ["no such file"])
    assert library.search("red").coverage.pending == 1
    assert counts(library.index(folder)) == {"unchanged": 3, "added": 1, "embedded": 1}


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_decoder_tells_a_bad_disk_from_bad_bytes(tmp_path, monkeypatch, workers):
    from mmi_tvr import keyimages, plugins
    from mmi_tvr.media.guarded import DecoderPool, Limits
    from mmi_tvr.types import Video

    method = plugins.build("keyimages", "uniform")
    pool = DecoderPool(Limits(workers=int(workers)))
    with pytest.raises(UnreadableFile, match="no such file"):
        keyimages.from_video(Video(tmp_path / "none.mp4"), method, 32, pool.sample)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(MmiTvrError) as raised:
        keyimages.from_video(Video(tmp_path / "text.mp4"), method, 32, pool.sample)
    assert not isinstance(raised.value, UnreadableFile)
    pool.stop()
    monkeypatch.setattr(
        av, "open", lambda *arguments, **options: (_ for _ in ()).throw(OSError(errno.EIO, "I/O error"))
    )
    with pytest.raises(UnreadableFile, match=r"cannot be read \(I/O error\)"):
        probe(tmp_path / "text.mp4")


def test_a_disk_that_is_away_is_not_deleted(folder, library, tmp_path):
    disk = tmp_path / "disk"
    colour_video(disk / "cyan.mp4", "cyan")
    colour_video(disk / "white.mp4", "white")
    (folder / "link.mp4").symlink_to(disk / "white.mp4")
    library.index([folder, disk / "cyan.mp4"])
    assert library.status().videos == 6
    disk.rename(tmp_path / "unplugged")
    (tmp_path / "disk").mkdir()  # the mount point stays
    report = library.index()
    assert counts(report) == {"unchanged": 4, "quarantined": 1, "unreadable": 1}
    assert library.status().videos == 6
    hit = library.search("cyan", top=1)[0]
    assert (hit.path.name, hit.is_missing) == ("cyan.mp4", True)
    disk.rmdir()
    (tmp_path / "unplugged").rename(disk)
    assert counts(library.index()) == {"unchanged": 6}
    (disk / "cyan.mp4").unlink()  # deleted, while its folder is there
    (disk / "white.mp4").rename(disk / "elsewhere.mp4")
    report = library.index()
    assert (len(report.removed), dict(report.quarantined)[folder / "link.mp4"]) == (1, "a link that points to nothing")
    assert library.status().videos == 4


def test_a_disk_below_an_indexed_folder_is_not_deleted_either(folder, library, tmp_path, monkeypatch):
    usb, disk = folder / "usb", tmp_path / "disk"
    colour_video(usb / "cyan.mp4", "cyan")
    colour_video(disk / "films" / "white.mp4", "white")
    (folder / "more").symlink_to(disk / "films")
    stat = Path.stat

    def on_another_device(path, **options):
        status = stat(path, **options)
        if path != usb or not (usb / "cyan.mp4").exists():
            return status
        return os.stat_result([*status[:2], status.st_dev + 1, *status[3:]])

    monkeypatch.setattr(Path, "stat", on_another_device)
    assert library.index(folder).added == 6
    (usb / "cyan.mp4").rename(tmp_path / "cyan.mp4")  # as if it were unmounted
    disk.rename(tmp_path / "unplugged")
    report = library.index(folder)
    assert counts(report) == {"unchanged": 4, "unreadable": 2}
    assert {path.name for path, _ in report.unreadable} == {"usb", "more"}
    usb.rmdir()
    assert counts(library.index(folder)) == {"unchanged": 4, "unreadable": 2}
    usb.mkdir()
    (tmp_path / "cyan.mp4").rename(usb / "cyan.mp4")
    (tmp_path / "unplugged").rename(disk)
    assert counts(library.index(folder)) == {"unchanged": 6}
    (folder / "part0" / "red.mp4").unlink()
    (folder / "part0" / "blue.mp4").unlink()  # part0 is empty, and was never a mount point
    assert len(library.index(folder).removed) == 2


def test_files_that_were_not_read_yet_are_pending(folder, library):
    class Interrupting(RecordedProgress):
        def advance(self, steps=1):
            super().advance(steps)
            if self.steps[-1] == 3:
                raise KeyboardInterrupt

    library.index(folder / "part0" / "red.mp4")
    assert library.search("red").coverage.pending == 0
    with pytest.raises(KeyboardInterrupt):
        library.index(folder, progress=Interrupting())
    coverage = library.search("red").coverage
    assert (coverage.searched, coverage.pending) == (1, 3)  # of what one commit holds, nothing
    library.index(folder)
    assert library.search("red").coverage.pending == library.status().pending == 0


# Hits whose files are gone


def test_a_hit_leads_with_a_file_that_is_there(folder, library, tmp_path):
    red = folder / "part0" / "red.mp4"
    copies = [Path(shutil.copy(red, folder / name)) for name in ("a.mp4", "z.mp4")]
    library.index(folder)
    copies[0].rename(tmp_path / "aside")
    hit = library.search("red", top=1)[0]
    assert (hit.path, hit.copies, hit.missing) == (red, (copies[1], copies[0]), (copies[0],))
    assert not hit.is_missing
    red.unlink()
    copies[1].unlink()
    result = library.search("red", top=1)
    assert result[0].is_missing
    assert set(result[0].missing) == {red, *copies}
    nothing = library.search("red", top=1, min_relevance=1.0)
    assert nothing.closest is None or nothing.closest.is_missing
    page = search_page(result)
    assert '<li class="missing">' in page
    assert "there is no file here now" in page
    assert "Not convincing" not in page
    doubted = replace(result, decision=Decision(False, "no < less"))
    assert "Not convincing: no &lt; less." in search_page(doubted)
    assert "Nothing found: no &lt; less." in search_page(replace(doubted, hits=()))
    assert library.status().videos == 4  # a search forgets nothing


# Folders without videos


def test_a_folder_of_texts_says_what_it_holds(folder, library, tmp_path):
    texts = tmp_path / "texts"
    (texts / "sub").mkdir(parents=True)
    for name in ("a.txt", "sub/b.md", "notes.txt", ".hidden.png"):
        (texts / name).write_text("x")
    (tmp_path / "bare").mkdir()
    report = library.index([folder, texts, tmp_path / "bare"])
    assert report.added == 4
    assert dict(report.without_videos) == {
        texts: "holds 3 other files and no video, picture or recording",
        tmp_path / "bare": "holds no video, picture or recording, nor any other file",
    }
    assert [*dict(library.index(texts / "sub").without_videos)] == [texts / "sub"]
    shutil.rmtree(folder)
    folder.mkdir()
    assert library.index(folder).without_videos == ()  # its videos are known, and may come back


# First runs that fail


class Stopping(RecordedProgress):
    def __init__(self, stage: str) -> None:
        super().__init__()
        self.stage = stage

    def begin(self, stage, total):
        super().begin(stage, total)
        if stage == self.stage:
            raise KeyboardInterrupt


def test_a_first_run_that_fails_leaves_nothing(folder, tmp_path):
    path = tmp_path / "new" / "deep" / "library"
    absent = Settings(model=Section(name="clip4clip", checkpoint="no/such"))
    with pytest.raises(MmiTvrError):
        Library(path, settings=absent).index(folder)
    assert not (tmp_path / "new").exists()
    with pytest.raises(KeyboardInterrupt):
        Library(path, model=FakeModel()).index(folder, progress=Stopping("reading"))
    assert not (tmp_path / "new").exists()
    path.mkdir(parents=True)
    (path / "writer.lock").touch()  # which was there before
    with pytest.raises(MmiTvrError):
        Library(path, settings=absent).index(folder)
    assert os.listdir(path) == ["writer.lock"]


def test_what_was_read_before_an_interruption_stays(folder, library):
    with pytest.raises(KeyboardInterrupt):
        library.index(folder, progress=Stopping("embedding"))
    assert library.status().pending == 4
    assert counts(library.index(folder)) == {"added": 4, "embedded": 4}
    with pytest.raises(MmiTvrError):
        Library(library.path, settings=Settings(model=Section(name="clip4clip", checkpoint="no/such"))).index(folder)
    assert library.status().videos == 4


def test_a_first_run_that_waits_in_vain_takes_nothing_from_the_other(folder, tmp_path):
    path = tmp_path / "library"
    path.mkdir()
    with writing(path, 0, print):
        with pytest.raises(MmiTvrError, match="is writing to it"):
            Library(path, model=FakeModel()).index(folder, wait=0)
        assert sorted(os.listdir(path)) == ["writer.json", "writer.lock"]


# The commands


@pytest.fixture
def command_line(monkeypatch, capsys):
    """Runs a command's function with the model that knows colours; returns exit code, stdout and stderr."""
    monkeypatch.setattr(models, "make", lambda section, device: FakeModel())
    monkeypatch.setattr(models, "resolve", lambda section: Section(name="label_bridge"))

    def run(command, *arguments, **options):
        code = 0
        try:
            command(*arguments, **options)
        except Exit as stop:
            code = stop.exit_code
        except SystemExit as stop:
            code = stop.code
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_nothing_indexed_is_told_apart_from_nothing_relevant(folder, tmp_path, command_line):
    library = tmp_path / "library"
    assert command_line(search_commands.search, ["red"], library=library)[0] == 3
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").touch()
    code, _, messages = command_line(library_commands.index, [tmp_path / "texts"], library=library)
    assert code == 0
    assert "holds 1 other file and no video" in messages
    code, answer, messages = command_line(search_commands.search, ["red"], library=library)
    assert (code, answer) == (3, "")
    assert "nothing is indexed yet in" in messages
    code, answer, _ = command_line(search_commands.search, ["red"], library=library, as_json=True)
    document = json.loads(answer)
    assert document["seconds"] == {"total": 0.0}
    assert (code, document["hits"]) == (3, [])
    assert document["coverage"] == {"searched": 0, "pending": 0, "quarantined": 0, "translated": 0}
    assert (document["found"], document["found_reason"]) == (False, "nothing is indexed yet")
    (folder / "text.mp4").write_text("no video")
    command_line(library_commands.index, [folder], library=library)
    code, answer, _ = command_line(search_commands.search, ["red"], library=library, as_json=True, min_relevance=0)
    document = json.loads(answer)
    assert (code, document["coverage"]) == (0, {"searched": 4, "pending": 0, "quarantined": 1, "translated": 0})
    assert [document["hits"][0][name] for name in ("missing", "also_missing")] == [False, []]
    assert document["found"] is True
    assert re.fullmatch(r"the best hit has a relevance of [01]\.\d\d, and \w+ is to be .*", document["found_reason"])
    code, answer, _ = command_line(search_commands.search, ["red"], library=library, min_relevance=1)
    assert code == 0
    assert re.match(r"nothing found for 'red': the best hit has a relevance of 0\.\d+, and 1\.0+ is asked for", answer)
    (folder / "part0" / "red.mp4").unlink()
    code, answer, _ = command_line(search_commands.search, ["red"], library=library, min_relevance=0)
    assert "red.mp4  (missing)" in answer
