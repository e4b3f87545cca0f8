"""A watcher: its loop against a worker that is faked, and a simulated day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fake_watcher import World

from mmi_tvr.watch.conditions import Objection, WithinBudget

ROOT = Path(__file__).parent.parent


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
