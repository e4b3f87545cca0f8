"""What a library does for a watcher, its commands, and the whole of it with real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeModel, clipped, colour_video, counts

from mmi_tvr.cli.watch import watch
from mmi_tvr.errors import UsageError
from mmi_tvr.library import Library
from mmi_tvr.library.pausing import current_pause, pause, resume
from mmi_tvr.serve.indexing_job import IndexingJob
from mmi_tvr.watch.job import Job, WorkerProcess

ROOT = Path(__file__).parent.parent


# What the library does for it


def test_a_file_that_was_just_written_is_left_to_a_later_run(tmp_path: Path) -> None:
    films = tmp_path / "films"
    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped) as library:
        red, blue = colour_video(films / "red.mp4", "red"), colour_video(films / "blue.mp4", "blue")
        os.utime(red, (1, 1))
        report = library.index(films, settle=60)
        assert (counts(report), report.unsettled) == ({"added": 1, "embedded": 1}, (blue,))
        future = time.time() + 1e6
        os.utime(blue, (future, future))  # a clock that was wrong
        assert counts(library.index(settle=60)) == {"added": 1, "unchanged": 1, "embedded": 1}
        colour_video(red, "green")
        report = library.index(settle=60)
        assert (counts(report), report.unsettled) == ({"unchanged": 2}, (red,))
        assert report.as_dict()["unsettled"] == [str(red)]
        moved = films / "moved" / "blue.mp4"
        moved.parent.mkdir()
        blue.rename(moved)
        assert counts(library.index(settle=60))["moved"] == 1
        os.utime(red, (2, 2))
        assert counts(library.index(settle=60)) == {"changed": 1, "unchanged": 1, "embedded": 1}


def test_a_pause_is_the_librarys_for_a_service_too(tmp_path: Path) -> None:
    films, path = tmp_path / "films", tmp_path / "library"
    colour_video(films / "red.mp4", "red")
    with Library(path, model=FakeModel(delay=0.2), relevance=clipped) as library:
        library.index(films)
        job = IndexingJob(library)
        assert (job.as_dict()["state"], job.pause()) == ("idle", False)
        pause(path)  # mmi-tvr watch pause
        assert job.as_dict()["state"] == "paused"
        colour_video(films / "blue.mp4", "blue")
        assert job.start()  # the page's button lifts it
        assert current_pause(path) is None
        pause(path)
        end = time.monotonic() + 60
        while job.is_running and time.monotonic() < end:
            time.sleep(0.02)
        assert job.as_dict()["state"] == "paused"
        assert library.status().videos == 1
        assert job.start()
        end = time.monotonic() + 60
        while job.is_running and time.monotonic() < end:
            time.sleep(0.02)
        assert (job.as_dict()["state"], library.status().videos) == ("done", 2)


def test_commands_about_a_watcher(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    library = tmp_path / "library"
    with pytest.raises(UsageError, match="no library is here"):
        watch(["status"], library=library)
    library.mkdir()
    (library / "catalogue.sqlite").touch()
    watch(["pause"], library=library, minutes=5, as_json=True)
    document = json.loads(capfd.readouterr().out)
    assert (document["running"], document["state"]) == (False, "stopped")
    assert document["paused"]["until"] > document["paused"]["since"]
    watch(["resume"], library=library)
    assert "none runs" in capfd.readouterr().out
    assert current_pause(library) is None
    for wrong, message in (
        ({"what": ["pause", "x"]}, "takes --library and --json alone"),
        ({"what": ["status"], "once": True}, "takes --library and --json alone"),
        ({"what": ["x"], "minutes": 3.0}, "--minutes goes with watch pause"),
        ({"once": True, "install": True}, "one of them"),
        ({"what": [str(tmp_path)], "load": 2.0}, "load"),
    ):
        with pytest.raises(UsageError, match=message):
            watch(library=library, **wrong)


# Real processes


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "mmi_tvr", "watch", *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}


def test_one_pass_and_the_questions_of_other_processes(tmp_path: Path) -> None:
    """`watch --once` takes in what is there, a file of just now included, and a paused library is left alone."""
    films, library = tmp_path / "my films", tmp_path / "library"
    colour_video(films / "red.mp4", "red")

    def once() -> list[dict[str, Any]]:
        answer = subprocess.run(
            command(films, "--library", library, "--once", "--settle", "0.1", "--json"),
            env=environment(), capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert answer.returncode == 0, answer.stderr
        return [json.loads(line) for line in answer.stdout.splitlines()]

    library.mkdir()
    pause(library)
    assert [(event["event"], event["reason"]) for event in once()] == [("state", "paused")]
    assert resume(library)
    reports = [event for event in once() if event["event"] == "report"]
    assert (reports[0]["added"], reports[0]["cpu_seconds"] > 0) == (1, True)
    assert Library(library).status().videos == 1


def test_the_worker_ends_when_its_watcher_is_gone(tmp_path: Path) -> None:
    worker = WorkerProcess(1, lambda: None)
    worker.start(Job(tmp_path / "library", (tmp_path / "none",), 0.1))
    pid = worker.pid
    assert pid is not None
    end, replies = time.monotonic() + 120, []
    while not replies and time.monotonic() < end:
        replies = worker.replies()
        time.sleep(0.05)
    assert "no such file or folder" in replies[0]["error"]
    worker.cpu_seconds()
    worker.stop()  # what the kernel does for a watcher that is killed
    assert worker.wait(60)
    assert worker.cpu_seconds() >= 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_watcher_takes_in_a_new_file_and_ends_at_once(tmp_path: Path) -> None:
    films, library = tmp_path / "films", tmp_path / "library"
    films.mkdir()
    options = (
        "--idle",
        "0",
        "--load",
        "1",
        "--battery",
        "--settle",
        "0.2",
        "--json",
        "--budget-hour",
        "0",
        "--priority",
        "normal",
    )
    with subprocess.Popen(
        command(films, "--library", library, *options), env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = map(json.loads, process.stdout)
        assert any(event["event"] == "state" and event["state"] == "watching" for event in lines)
        second = subprocess.run(
            command(films, "--library", library),
            env=environment(),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert second.returncode == 1
        assert f"process {process.pid} is watching for it already" in second.stderr
        colour_video(tmp_path / "red.mp4", "red").rename(films / "red.mp4")
        assert any(event["event"] == "report" and event["added"] == 1 for event in lines)
        process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        assert process.wait(60) == 0
        assert time.monotonic() - begun < 10  # 2 s where the machine is not busy
    assert sorted(path.name for path in library.glob("watch.*")) == ["watch.budget", "watch.lock"]
    assert Library(library).status().videos == 1
