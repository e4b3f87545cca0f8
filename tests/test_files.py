"""Outputs are the old ones or the new ones, whole, and never in the place of what others wrote."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from mmi_tvr.errors import UsageError
from mmi_tvr.utils import files

PAGE = b"<!doctype html>\n" + files.PAGE_MARK + b"\nhello"


def test_a_file_is_replaced_as_a_whole_with_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(b"old")
    path.chmod(0o640)
    files.write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["page.html"]


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"")
    files.write_atomically(tmp_path / "page", b"new")
    assert (tmp_path / "page").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_a_link(tmp_path: Path, exists: bool) -> None:
    target, link = tmp_path / "folder" / "target", tmp_path / "link"
    target.parent.mkdir()
    if exists:
        target.write_bytes(b"old")
    link.symlink_to(target)
    files.write_atomically(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_name_of_the_greatest_length_can_be_written(tmp_path: Path) -> None:
    files.write_atomically(tmp_path / ("n" * 255), b"new")
    assert len(os.listdir(tmp_path)) == 1


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    files.write_output(pipe, PAGE, files.PAGE_MARK)
    assert os.read(reader, 1000) == PAGE
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def fail(number: int) -> Callable[..., int]:
    def write(path: Path, content: bytes) -> int:
        with path.open("wb") as stream:
            stream.write(content[:3])
        raise OSError(number, os.strerror(number))

    return write


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_disk_names_the_file_and_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(PAGE)
    monkeypatch.setattr(Path, "write_bytes", fail(number))
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        files.write_output(path, PAGE + b"more", files.PAGE_MARK)
    assert (caught.value.errno, caught.value.filename) == (number, str(path))
    assert path.read_bytes() == PAGE
    assert os.listdir(tmp_path) == ["page.html"]


def test_an_error_of_another_file_keeps_its_name(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError) as caught,
        files.draft_of(tmp_path / "page") as draft,
        draft.open("wb") as stream,
    ):
        stream.write((tmp_path / "input").read_bytes())
    assert caught.value.filename == str(tmp_path / "input")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("content", [b"mine", b"x" * 5000 + files.PAGE_MARK, files.PICTURE_MARK])
def test_a_file_of_others_stays_unless_it_is_forced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(content)
    foreign = r"page\.html: is there, and mmi-tvr did not write it.*--force"
    with pytest.raises(UsageError, match=foreign):
        files.check_output(path, files.PAGE_MARK)
    with pytest.raises(UsageError, match=foreign):
        files.write_output(path, PAGE, files.PAGE_MARK)
    assert path.read_bytes() == content
    files.write_output(path, PAGE, files.PAGE_MARK, force=True)
    assert path.read_bytes() == PAGE


@pytest.mark.parametrize("content", [b"", PAGE])
def test_our_files_and_empty_ones_may_be_written_again(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(content)
    files.write_output(path, PAGE + b"new", files.PAGE_MARK)
    assert path.read_bytes() == PAGE + b"new"


def test_what_cannot_be_written_is_said_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path, problem in (
        (tmp_path / "none" / "page.html", "its folder does not exist"),
        (tmp_path, "a folder is there"),
        (tmp_path / "file" / "page.html", "its folder does not exist"),
        (tmp_path / ("n" * 300), "File name too long"),
    ):
        with pytest.raises(UsageError, match=problem):
            files.check_output(path, files.PAGE_MARK)
    with pytest.raises(UsageError, match="file is a file; name a folder"):
        files.check_folder(tmp_path / "file" / "reports")
    files.check_folder(tmp_path / "new" / "reports")
    assert os.listdir(tmp_path) == ["file"]


def test_what_may_not_be_written_is_said_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page.html").write_bytes(PAGE)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # whoever runs the tests may be root
    with pytest.raises(UsageError, match=r"page\.html: may not be written"):
        files.check_output(tmp_path / "page.html", files.PAGE_MARK)
    with pytest.raises(UsageError, match="nothing may be written to its folder"):
        files.check_output(tmp_path / "other.html", files.PAGE_MARK)
    with pytest.raises(UsageError, match="nothing may be written to"):
        files.check_folder(tmp_path / "reports")
    with pytest.raises(PermissionError) as caught:
        files.write_atomically(tmp_path / "page.html", b"new")
    assert caught.value.filename == str(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_bytes() == PAGE


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_named() -> None:
    full = pytest.raises(OSError, match="No space left on device")
    with full as raised, files.naming("some place"), open("/dev/full", "w") as stream:
        stream.write("text")
    assert raised.value.filename == "some place"
    with pytest.raises(FileNotFoundError) as missing, files.naming("some place"):
        Path("/no/such/file").read_bytes()
    assert missing.value.filename == "/no/such/file"
