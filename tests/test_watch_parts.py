"""The parts of a watcher: its budget, pauses, what changed, its status and its settings."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from mmi_tvr.config import WatchSection, load
from mmi_tvr.errors import ConfigError, LibraryBusy
from mmi_tvr.library.pausing import PAUSE_FILE, current_pause, pause, resume
from mmi_tvr.watch.budget import BUDGET_FILE, DAY, HOUR, BudgetLedger
from mmi_tvr.watch.bus import BusError
from mmi_tvr.watch.changes import Changes
from mmi_tvr.watch.conditions import NotPaused, WithinBudget, conditions_of
from mmi_tvr.watch.idle import IdleTime
from mmi_tvr.watch.power import Power
from mmi_tvr.watch.status import LOCK_FILE, is_watched, only_watcher, read_status, status_document, write_status


class FakeBus:
    """A bus on which these services answer these values; all else is an error."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.calls: list[str] = []

    def call(
        self, service: str, path: str, interface: str, member: str, signature: str = "", body: Sequence[Any] = ()
    ) -> Any:
        self.calls.append(member)
        if member not in self.answers:
            raise BusError("org.freedesktop.DBus.Error.ServiceUnknown")
        return self.answers[member]


class Clock:
    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


# The budget


def test_a_budget_is_used_up_within_an_hour_and_renewed_after_it(tmp_path: Path) -> None:
    clock = Clock()
    ledger = BudgetLedger(tmp_path, clock)
    condition = WithinBudget(ledger, hour=100, day=250)
    ledger.add(99)
    assert condition.objection() is None
    ledger.add(2)
    assert str(condition.objection()).count("101 CPU s used in the last hour (budget 100)")
    assert condition.objection().urgent is False
    clock.now += HOUR + 300
    assert condition.objection() is None
    ledger.add(99)
    clock.now += HOUR + 300
    ledger.add(99)
    assert "last 24 hours (budget 250)" in str(condition.objection())
    clock.now += DAY
    assert condition.objection() is None
    assert WithinBudget(ledger, 0, 0).objection() is None


def test_neither_a_restart_nor_a_wrong_clock_renews_a_budget(tmp_path: Path) -> None:
    clock = Clock()
    ledger = BudgetLedger(tmp_path, clock)
    ledger.add(50)
    ledger.save()
    clock.now += 60
    assert BudgetLedger(tmp_path, clock).used(HOUR) == 50
    clock.now -= 10 * DAY  # the clock was put back: what lies in the future holds nothing up
    assert BudgetLedger(tmp_path, clock).used(DAY) == 0
    for text in ("", "[]", '{"a": 1}', "null", '{"1": "x"}'):
        (tmp_path / BUDGET_FILE).write_text(text)
        assert BudgetLedger(tmp_path, clock).used(DAY) == 0


def test_a_budget_is_written_now_and_then_and_keeps_a_day(tmp_path: Path) -> None:
    clock = Clock()
    ledger = BudgetLedger(tmp_path, clock)
    ledger.add(1)
    assert not (tmp_path / BUDGET_FILE).exists()
    clock.now += 60
    ledger.add(1)
    assert BudgetLedger(tmp_path, clock).used(HOUR) == 2
    clock.now += 2 * DAY
    ledger.add(3)
    assert list(json.loads((tmp_path / BUDGET_FILE).read_text()).values()) == [3]


# Pausing


def test_a_pause_holds_until_it_is_lifted_or_over(tmp_path: Path) -> None:
    assert not resume(tmp_path)
    pause(tmp_path)
    assert str(NotPaused(tmp_path).objection()).count("reason='paused'")
    assert resume(tmp_path)
    entry = pause(tmp_path, 3600)
    assert entry.until is not None
    assert current_pause(tmp_path, entry.until - 1) == entry
    assert "paused until" in str(NotPaused(tmp_path).objection())
    assert current_pause(tmp_path, entry.until) is None
    for text in ("", "nonsense", "{}", "[1]"):
        (tmp_path / PAUSE_FILE).write_text(text)
        assert current_pause(tmp_path) is not None


# Changes


def test_a_file_is_due_once_it_is_quiet_and_one_that_grows_holds_up_no_other(tmp_path: Path) -> None:
    changes, folder = Changes(settle=5.0), tmp_path
    assert (changes.is_due(0), changes.next_due(0), changes.take(0)) == (False, None, [])
    changes.note(folder, "grows", 0)
    changes.note(folder, "done", 1)
    changes.note(folder, "grows", 4)
    assert (changes.is_due(5.9), changes.next_due(5.5)) == (False, 0.5)
    assert changes.is_due(6)
    assert changes.next_due(6) == 0
    changes.note(folder, "grows", 7)
    assert changes.take(8) == [folder]
    assert not changes.is_due(8)
    for now in range(9, 40):
        changes.note(folder, "grows", now)
        assert not changes.is_due(now)
    assert changes.take(45) == [folder]
    assert changes.next_due(100) is None


def test_folders_that_changed_are_looked_at_together_so_that_moves_are_seen(tmp_path: Path) -> None:
    changes = Changes(settle=5.0)
    changes.note(tmp_path / "a", "moved", 0)
    changes.note(tmp_path / "b", "moved", 3)
    assert changes.take(5) == [tmp_path / "a", tmp_path / "b"]
    assert changes.take(8) == [tmp_path / "b"]  # what is quiet now was not when it was looked at
    changes.note(tmp_path / "a", "x", 9)
    changes.note_all([tmp_path / "a"])
    changes.forget(tmp_path / "a")
    assert changes.next_due(20) is None


# One watcher, and what it says


def test_a_second_watcher_is_refused_and_the_first_leaves_nothing(tmp_path: Path) -> None:
    with only_watcher(tmp_path):
        write_status(tmp_path, {"state": "working", "reason": None})
        assert is_watched(tmp_path)
        with (
            pytest.raises(LibraryBusy, match=rf"process {os.getpid()} is watching for it already"),
            only_watcher(tmp_path),
        ):
            raise AssertionError
        assert status_document(tmp_path)["state"] == "working"
    assert not is_watched(tmp_path)
    assert list(tmp_path.iterdir()) == []  # there is no library


def test_the_status_of_a_watcher_that_was_killed_is_none(tmp_path: Path) -> None:
    write_status(tmp_path, {"state": "working"})
    (tmp_path / LOCK_FILE).touch()
    document = status_document(tmp_path)
    assert (document["running"], document["state"], document["pid"]) == (False, "stopped", None)
    with FileLock(tmp_path / LOCK_FILE):
        assert status_document(tmp_path)["state"] == "working"
        (tmp_path / "watch.status").write_text("torn {")
        assert (read_status(tmp_path), status_document(tmp_path)["state"]) == ({}, "starting")


# Settings


def test_settings_choose_the_conditions(tmp_path: Path) -> None:
    def kinds(*overrides: str) -> list[str]:
        ledger, bus = BudgetLedger(tmp_path), FakeBus()
        options = load(overrides=overrides).watch
        return [type(item).__name__ for item in conditions_of(options, tmp_path, ledger, IdleTime(bus), Power(bus))]

    assert kinds() == ["NotPaused", "OnMains", "UserIsIdle", "LowLoad", "WithinBudget"]
    assert kinds("watch.idle=0", "watch.battery=true", "watch.load=1") == ["NotPaused", "WithinBudget"]
    assert load(overrides=["watch.settle=2"]).watch == WatchSection(settle=2)
    for wrong in ("watch.idle=-1", "watch.load=0", "watch.threads=0", "watch.hours=1", "watch.rescan=.inf"):
        with pytest.raises(ConfigError, match=r"watch\."):
            load(overrides=[wrong])
