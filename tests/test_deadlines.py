"""Deadlines of decoding: one thread for all of them, and an end for a decoder that nobody waits for any more."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mmi_tvr.media._deadlines import Deadlines

ORPHAN = "import odd_worker; from mmi_tvr.media import _worker; _worker._GRACE = 0.2; odd_worker.main()"


def test_what_is_late_is_called_once_and_what_ends_in_time_never() -> None:
    deadlines, calls = Deadlines(), []
    with deadlines.within(30, lambda: calls.append("in time")):
        pass
    with deadlines.within(0.05, lambda: calls.append("late")):
        time.sleep(0.4)
    time.sleep(0.1)
    assert calls == ["late"]


def test_a_deadline_before_the_others_is_kept() -> None:
    deadlines, called = Deadlines(), threading.Event()
    with deadlines.within(30, lambda: None):
        time.sleep(0.05)  # the thread waits for the first by now
        with deadlines.within(0.05, called.set):
            assert called.wait(10)


def test_any_number_of_deadlines_takes_one_thread_which_ends_behind_the_last() -> None:
    deadlines, before = Deadlines(), set(threading.enumerate())
    started = set()
    for _ in range(50):
        with deadlines.within(0.3, lambda: None):
            started |= set(threading.enumerate()) - before
    [thread] = started
    thread.join(10)
    assert not thread.is_alive()
    called = threading.Event()
    with deadlines.within(0.05, called.set):
        assert called.wait(10)  # by another thread


@pytest.mark.skipif(sys.platform == "win32", reason="by a signal")
@pytest.mark.parametrize("name", ["hangs", "hangs and lets no thread run"])
def test_a_worker_ends_a_file_that_hangs_where_nobody_else_does(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.mp4"
    path.touch()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    with subprocess.Popen([sys.executable, "-c", ORPHAN], stdin=-1, stdout=-1, env=environment) as worker:
        assert worker.stdin is not None
        request = {"task": "sample", "path": str(path), "start": 0, "end": None, "picture": False, "seconds": 0.2}
        worker.stdin.write(json.dumps({**request, "fps": 1, "max_frames": 1, "size": 8}).encode() + b"\n")
        worker.stdin.flush()
        try:
            assert worker.wait(30) == -signal.SIGALRM
        finally:
            worker.kill()
