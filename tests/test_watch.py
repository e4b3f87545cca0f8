"""A watcher: its loop against a worker that is faked, a simulated day, and the whole of it with real processes."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeModel, clipped, colour_video, counts

from mmi_tvr.cli.watch import watch
from mmi_tvr.config import WatchSection
from mmi_tvr.errors import MmiTvrError, UsageError
from mmi_tvr.library import Library
from mmi_tvr.library.pausing import current_pause, pause, resume
from mmi_tvr.serve.indexing_job import IndexingJob
from mmi_tvr.watch.budget import BudgetLedger
from mmi_tvr.watch.changes import Changes
from mmi_tvr.watch.conditions import Condition, Objection, WithinBudget
from mmi_tvr.watch.folders import How, WatchedFolders
from mmi_tvr.watch.job import Job, WorkerProcess
from mmi_tvr.watch.running import folders_to_watch
from mmi_tvr.watch.watcher import Watcher, WatcherParts

ROOT = Path(__file__).parent.parent


@dataclass
class FakeWorker:
    """A worker whose files are numbers: each takes `seconds` of the clock, and as much CPU."""

    clock: Callable[[], float]
    pending: int = 0
    seconds: float = 10.0
    jobs: list[Job] = field(default_factory=list)
    runs: bool = False
    stopping: bool = False
    alive: bool = False
    hangs: bool = False
    refuses: str | None = None
    crash: str | None = None
    busy: str | None = None
    unsettled: list[str] = field(default_factory=list)
    used: float = 0.0
    at: float = 0.0
    done: int = 0
    kills: int = 0

    def start(self, job: Job) -> None:
        if self.refuses:
            raise MmiTvrError(self.refuses)
        self.jobs.append(job)
        self.runs, self.alive, self.at, self.done = True, True, self.clock(), 0

    def replies(self) -> list[Mapping[str, Any]]:
        if not self.runs:
            ended, self.stopping = self.stopping and self.alive, False
            self.alive = self.alive and not ended
            return [{"ended": ""}] if ended else []
        if self.crash is not None:
            self.runs = self.alive = False
            return [{"ended": self.crash}]
        if self.busy is not None:
            self.runs = False
            return [{"busy": self.busy}]
        replies: list[Mapping[str, Any]] = []
        while not self.hangs and self.pending and self.clock() - self.at >= self.seconds:
            self.at += self.seconds
            self.pending, self.done, self.used = self.pending - 1, self.done + 1, self.used + self.seconds
            replies.append({"advance": 1})
            if self.stopping:
                break
        if self.stopping and not self.hangs:
            self.runs = self.alive = self.stopping = False
            return [*replies, {"ended": ""}]
        if not self.pending:
            self.runs = False
            names = ("added", "changed", "moved", "copies")
            report = dict.fromkeys(names, 0) | {"removed": [], "quarantined": [], "seconds": 0.1}
            report |= {"added": self.done, "embedded": self.done, "unsettled": self.unsettled}
            replies.append({"report": report})
        return replies

    def cpu_seconds(self) -> float:
        used, self.used = self.used, 0.0
        return used

    def stop(self) -> None:
        self.stopping = True

    def kill(self) -> None:
        self.runs = self.alive = self.stopping = False
        self.kills += 1


@dataclass
class FakeFolders:
    folders: tuple[Path, ...]
    only_rescans: bool = False

    def check(self) -> None: ...

    def states(self) -> dict[Path, How]:
        return dict.fromkeys(self.folders, "events")

    def present(self) -> Sequence[Path]:
        return self.folders


@dataclass
class Log:
    """Notes what a watcher says, with the clock's time."""

    clock: Callable[[], float]
    lines: list[tuple[float, str]] = field(default_factory=list)

    def _note(self, text: str) -> None:
        self.lines.append((self.clock(), text))

    def state(self, state: str, reason: str | None) -> None:
        self._note(f"{state}: {reason}" if reason else state)

    def begin(self, stage: str, total: int) -> None: ...

    def advance(self, steps: int) -> None: ...

    def say(self, message: str) -> None:
        self._note(message)

    def report(self, report: Mapping[str, Any], cpu_seconds: float) -> None:
        self._note(f"report: {report['added']} added, {cpu_seconds:.0f} s")

    def end_run(self, reason: str) -> None:
        self._note(f"ended: {reason}")

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.lines]


@dataclass
class Reason:
    """A condition that says what it is told to."""

    objecting: Objection | None = None

    def objection(self) -> Objection | None:
        return self.objecting


class World:
    """A watcher with a clock that stands still until it is moved."""

    def __init__(self, tmp_path: Path, **options: float) -> None:
        self.now = 0.0
        self.folder = tmp_path / "films"
        self.worker = FakeWorker(self.clock)
        self.log = Log(self.clock)
        self.options = WatchSection(**{"rescan": 600.0, **options})
        self.changes = Changes(self.options.settle)
        self.ledger = BudgetLedger(tmp_path, self.clock)
        self.folders = FakeFolders((self.folder,))
        self.reason = Reason()
        self.documents: list[Mapping[str, Any]] = []
        self.writes: str | None = None
        self.conditions: list[Condition] = [self.reason]
        parts = WatcherParts(
            library=tmp_path,
            options=self.options,
            settings={},
            folders=self.folders,
            changes=self.changes,
            conditions=self.conditions,
            ledger=self.ledger,
            worker=self.worker,
            audience=self.log,
            write_status=self.documents.append,
            writer=lambda: self.writes,
            monotonic=self.clock,
            now=self.clock,
        )
        self.watcher = Watcher(parts)

    def clock(self) -> float:
        return self.now

    def run(self, seconds: float) -> None:
        """Step for so many seconds, as often as the watcher says."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + self.watcher.step())

    def arrive(self, count: int) -> None:
        """Have so many files arrive."""
        self.worker.pending += count
        self.changes.note(self.folder, f"{self.now}", self.now)


def test_new_files_are_taken_in_once_they_are_quiet(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run(60)
    assert len(world.worker.jobs) == 1  # the look at the start
    world.arrive(2)
    world.run(4.9)
    assert len(world.worker.jobs) == 1
    world.run(2)
    assert world.worker.jobs[1].folders == (world.folder,)
    world.run(30)
    assert world.log.texts[-3:] == ["working", "report: 2 added, 20 s", "watching"]
    assert world.ledger.used(3600) == 20


def test_folders_are_looked_at_again_and_again_and_more_often_without_events(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run(1790)
    assert len(world.worker.jobs) == 3
    world.folders.only_rescans = True
    world.run(1200)
    assert len(world.worker.jobs) >= 3 + 10


def test_work_waits_for_its_reasons_and_goes_on(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.reason.objecting = Objection("somebody is there (idle for 3 of 60 s)")
    world.arrive(2)
    world.run(30)
    world.reason.objecting = Objection("somebody is there (idle for 33 of 60 s)")  # no news
    world.run(30)
    assert world.worker.jobs == []
    assert world.log.texts == ["waiting: somebody is there (idle for 3 of 60 s)"]
    assert world.documents[-1]["state"] == "waiting"
    world.reason.objecting = None
    world.run(60)
    assert world.log.texts[1:] == ["working", "report: 2 added, 20 s", "watching"]


def test_work_ends_within_a_file_when_somebody_comes_back(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.arrive(100)
    world.run(25)
    assert world.worker.runs
    world.reason.objecting = Objection("somebody is there")
    world.run(12)
    assert (world.worker.runs, world.worker.kills) == (False, 0)
    assert world.worker.pending == 98  # the file that was under way is finished
    assert world.log.texts[-2:] == ["waiting: somebody is there", "ended: somebody is there"]
    world.run(100)
    assert len(world.worker.jobs) == 1
    world.reason.objecting = None
    world.run(1000)
    assert world.worker.pending == 0


@pytest.mark.parametrize("urgent", [True, False])
def test_a_file_that_takes_long_is_given_up_for_a_person_and_not_for_the_budget(urgent: bool, tmp_path: Path) -> None:
    world = World(tmp_path)
    world.worker.hangs = True
    world.arrive(1)
    world.run(10)
    world.reason.objecting = Objection("reason", urgent)
    world.run(58)
    assert world.worker.kills == 0
    world.run(10)
    assert world.worker.kills == int(urgent)


def test_somebody_comes_back_while_the_budget_waits_for_a_file(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.worker.hangs = True
    world.arrive(1)
    world.run(10)
    world.reason.objecting = Objection("budget", urgent=False)
    world.run(300)
    world.reason.objecting = Objection("somebody is there")
    world.run(59)
    assert world.worker.kills == 0
    world.run(10)
    assert world.worker.kills == 1


def test_a_folder_that_went_away_is_not_looked_at(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run(10)
    world.arrive(1)
    world.folders.folders = ()
    world.run(60)
    assert len(world.worker.jobs) == 1


def test_the_budget_ends_a_run_and_is_renewed(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.conditions[:] = [WithinBudget(world.ledger, 300, 0)]
    world.arrive(100)
    world.run(3000)
    assert world.worker.pending in (69, 70)  # the file that was under way is finished
    assert "CPU s used in the last hour (budget 300)" in world.log.texts[-1]
    world.run(3600)
    assert world.worker.pending <= 45


def test_a_growing_file_brings_its_folder_back(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.worker.unsettled = [str(world.folder / "grows.mp4")]
    world.run(4)
    assert len(world.worker.jobs) == 1
    world.worker.unsettled = []
    world.run(10)
    assert len(world.worker.jobs) == 2
    assert world.watcher.is_up_to_date


def test_what_goes_wrong_is_said_once_and_tried_again_later(tmp_path: Path) -> None:
    world = World(tmp_path, rescan=1e5)
    world.worker.crash = "killed by signal 9"
    world.run(300)
    assert 2 <= len(world.worker.jobs) <= 4
    assert world.log.texts.count("the indexing process ended: killed by signal 9") == 1
    world.worker.crash, world.worker.refuses = None, "no process for indexing can be started"
    world.run(600)
    assert world.log.texts.count("no process for indexing can be started") == 1
    world.worker.refuses = None
    world.run(3600)
    assert world.watcher.last_problem is None
    assert world.watcher.is_up_to_date


def test_another_writer_is_waited_for(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.writes = "process 1 on host (mmi-tvr) is writing"
    world.run(60)
    assert world.worker.jobs == []
    assert world.log.texts == ["waiting: process 1 on host (mmi-tvr) is writing"]
    world.writes, world.worker.busy = None, "it came first"
    world.run(4)
    world.worker.busy = None
    world.run(60)
    assert world.watcher.is_up_to_date
    assert len(world.worker.jobs) == 2


def test_the_process_goes_when_nothing_is_to_be_done(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run(50)
    assert world.worker.alive
    world.run(40)
    assert not world.worker.alive


def test_ten_thousand_files_at_once_are_one_job(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run(5)
    for number in range(10_000):
        world.changes.note(world.folder, str(number), world.now)
    world.run(10)
    assert len(world.worker.jobs) == 2
    assert world.watcher.is_up_to_date


def test_a_slow_look_is_not_repeated_at_once(tmp_path: Path) -> None:
    """A share of one twentieth of the time is enough for looking at files of which none is new."""
    world = World(tmp_path)
    world.run(3)
    world.watcher._finish(world.watcher._run or _run_of(world), {**_REPORT, "seconds": 5.0}, world.now)
    world.arrive(1)
    world.run(95)
    assert len(world.worker.jobs) == 1
    world.run(10)
    assert len(world.worker.jobs) == 2


_REPORT: dict[str, Any] = {
    "added": 0, "changed": 0, "moved": 0, "copies": 0, "removed": [], "quarantined": [], "embedded": 0,
}  # fmt: skip


def _run_of(world: World) -> Any:
    from mmi_tvr.watch.watcher import _RunningJob

    return _RunningJob(world.worker.jobs[-1], world.now)


# A day


def simulated_day(tmp_path: Path) -> tuple[World, list[tuple[str, str]]]:
    """A laptop's day, by its clock: (time, what happened), and the world behind it.

    300 files are there at midnight, each of 20 CPU seconds; 40 come at noon, 5 at 20:00. It is on its battery from
    10:00 to 11:30. Somebody is there from 7:00 to 12:30, from 13:30 to 18:00 and from 19:00 to 22:30. The budget is
    1,200 CPU seconds an hour and 7,200 a day.
    """
    world = World(tmp_path, rescan=4 * 3600.0)
    world.ledger.save = lambda: None  # thousands of times
    world.worker.seconds = 20.0

    @dataclass
    class Between:
        spans: Sequence[tuple[float, float]]
        reason: str

        def objection(self) -> Objection | None:
            hour = world.now / 3600
            return Objection(self.reason) if any(first <= hour < last for first, last in self.spans) else None

    world.conditions[:] = [
        WithinBudget(world.ledger, 1200, 7200),
        Between([(10, 11.5)], "on battery"),
        Between([(7, 12.5), (13.5, 18), (19, 22.5)], "somebody is there"),
    ]
    for end, arriving in ((0, 300), (12, 40), (20, 5), (24, 0)):
        world.run(end * 3600 - world.now)
        if arriving:
            world.arrive(arriving)
    log = [(at, text) for at, text in world.log.lines if not text.startswith("ended")]
    return world, [(f"{int(at // 3600):02}:{int(at % 3600 // 60):02}", text) for at, text in log]


def test_a_simulated_day(tmp_path: Path) -> None:
    """The table of docs/watch.md is this log."""
    world, log = simulated_day(tmp_path)
    assert world.worker.pending == 0
    by_hour = [0.0] * 24
    for hour in range(24):
        by_hour[hour] = sum(used for step, used in world.ledger._used.items() if int(step * 300 // 3600) == hour)
    assert all(used <= 1200 + 20 + 300 for used in by_hour)
    assert sum(by_hour) == (300 + 40 + 5) * 20
    busy = {hour for hour, used in enumerate(by_hour) if used}
    assert not busy & {*range(7, 12), *range(14, 18), *range(19, 22)}
    page = (ROOT / "docs" / "watch.md").read_text(encoding="utf-8")
    rows = [
        (row[1].strip(), row[2].strip()) for row in (line.split("|") for line in page.splitlines()) if len(row) == 4
    ]
    assert [row for row in rows if row[0][:2].isdigit()] == log


# Folders


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
