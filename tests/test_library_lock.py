"""The writer's lock of a library, held by this process."""

from __future__ import annotations

import json
import os
import platform
import sys
import threading
import time

import pytest

from mmi_tvr.errors import LibraryBusy
from mmi_tvr.library.lock import HOLDER, holder, writer, writing


def test_nobody_writes_to_an_empty_folder_and_looking_leaves_nothing(tmp_path):
    assert writer(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_the_holder_is_named_while_the_lock_is_held_and_not_after(tmp_path):
    with writing(tmp_path, 0, lambda message: None):
        assert writer(tmp_path) == holder(tmp_path)
        assert holder(tmp_path).startswith(f"process {os.getpid()} on ")
        record = json.loads((tmp_path / HOLDER).read_text(encoding="utf-8"))
        assert record.keys() == {"pid", "host", "command", "since"}
    assert writer(tmp_path) is None
    assert not (tmp_path / HOLDER).exists()


def test_the_holder_is_known_by_its_command(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/opt/bin/mmi-tvr", "index", "videos"])
    with writing(tmp_path, 0, lambda message: None):
        assert holder(tmp_path).startswith(f"process {os.getpid()} on {platform.node()} (mmi-tvr")


def test_the_note_of_a_killed_writer_means_nothing(tmp_path):
    (tmp_path / HOLDER).write_text(json.dumps({"pid": 1, "host": "x", "command": "y", "since": "z"}))
    assert writer(tmp_path) is None


@pytest.mark.parametrize("note", [None, "", "[]", '{"pid": 1}'])
def test_a_holder_that_has_not_written_its_note_is_another_process(tmp_path, note):
    if note is not None:
        (tmp_path / HOLDER).write_text(note)
    assert holder(tmp_path) == "another process"


def test_who_does_not_wait_is_refused_at_once_and_in_silence(tmp_path):
    messages = []
    with writing(tmp_path, 0, messages.append):
        started = time.monotonic()
        with (
            pytest.raises(LibraryBusy, match="is writing to it; try again when it is done"),
            writing(tmp_path, 0, messages.append),
        ):
            pass
        assert time.monotonic() - started < 1
    assert messages == []


def test_who_waits_says_so_and_gets_the_lock(tmp_path):
    messages = []
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with writing(tmp_path, 0, lambda message: None):
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert entered.wait(30)

    def announce(message: str) -> None:
        messages.append(message)
        leave.set()

    with writing(tmp_path, 30, announce):
        pass
    thread.join()
    assert len(messages) == 1
    assert messages[0].startswith(f"waiting up to 30 s for process {os.getpid()} on ")


def test_the_lock_is_free_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), writing(tmp_path, 0, lambda message: None):
        raise ZeroDivisionError
    with writing(tmp_path, 0, lambda message: None):
        pass
