"""The parts of a watcher: what it asks of the machine (fake buses, fake /proc and /sys), budget, changes, units."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock

from mmi_tvr.config import WatchSection, load
from mmi_tvr.errors import ConfigError, LibraryBusy, UsageError
from mmi_tvr.library.pausing import PAUSE_FILE, current_pause, pause, resume
from mmi_tvr.watch.budget import BUDGET_FILE, DAY, HOUR, BudgetLedger
from mmi_tvr.watch.bus import BusError, DesktopBus
from mmi_tvr.watch.changes import Changes
from mmi_tvr.watch.conditions import LowLoad, NotPaused, OnMains, UserIsIdle, WithinBudget, conditions_of
from mmi_tvr.watch.cpu_time import tree_cpu_seconds
from mmi_tvr.watch.idle import IdleTime
from mmi_tvr.watch.power import Power
from mmi_tvr.watch.priority import lower_priority
from mmi_tvr.watch.processors import Processors
from mmi_tvr.watch.status import LOCK_FILE, is_watched, only_watcher, read_status, status_document, write_status
from mmi_tvr.watch.units import UnitFiles, autostart_word, config_home, install, uninstall, unit_word


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


# Is somebody there?


def test_gnome_is_asked_first_then_the_screen_saver() -> None:
    both = IdleTime(FakeBus(GetIdletime=61_500, GetSessionIdleTime=1))
    assert (both.seconds(), both.source) == (61.5, "GNOME")
    kde = IdleTime(FakeBus(GetSessionIdleTime=2000))
    assert (kde.seconds(), kde.source) == (2.0, "the screen saver")


def test_desktops_that_do_not_answer_are_left_alone_for_a_while() -> None:
    clock, bus = Clock(), FakeBus()
    idle = IdleTime(bus, clock)
    assert [idle.seconds(), idle.seconds()] == [None, None]
    assert (idle.source, bus.calls) == (None, ["GetIdletime", "GetSessionIdleTime"])
    bus.answers["GetIdletime"] = 7000
    clock.now += 59
    assert idle.seconds() is None
    clock.now += 2
    assert idle.seconds() == 7.0


def proc(tmp_path: Path, stat: str = "", pressure: str | None = None) -> Path:
    (tmp_path / "pressure").mkdir(exist_ok=True)
    (tmp_path / "stat").write_text(stat)
    if pressure is not None:
        (tmp_path / "pressure" / "cpu").write_text(f"some avg10={pressure} avg60=0.00 avg300=0.00 total=1\n")
    return tmp_path


def test_somebody_is_there_until_the_machine_was_left_alone_long_enough(tmp_path: Path) -> None:
    processors = Processors(proc=proc(tmp_path, pressure="99.00"))
    assert UserIsIdle(IdleTime(FakeBus(GetIdletime=60_000)), processors, 60).objection() is None
    objection = UserIsIdle(IdleTime(FakeBus(GetIdletime=59_000)), processors, 60).objection()
    assert objection is not None
    assert (objection.reason, objection.urgent) == ("somebody is there (idle for 59 of 60 s)", True)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one processor: pressure is our own")
def test_without_a_desktop_the_pressure_on_the_processors_counts(tmp_path: Path) -> None:
    def objection(pressure: str | None) -> object:
        return UserIsIdle(IdleTime(FakeBus()), Processors(proc=proc(tmp_path, pressure=pressure)), 60).objection()

    assert objection(None) is None
    assert objection("29.99") is None
    assert objection("broken") is None
    assert "waits for the processors 31%" in str(objection("31.00"))


# Is the machine busy?


def test_the_share_of_others_is_what_was_used_without_our_own(tmp_path: Path) -> None:
    clock, ours = Clock(), [0.0]
    processors = Processors(lambda: ours[0], proc(tmp_path, "cpu 1000 0 0 9000 0 0 0 0 0 0\n"), clock)
    condition = LowLoad(processors, 0.5)
    assert condition.objection() is None  # the first look knows nothing
    clock.now += 10
    proc(tmp_path, "cpu 2600 200 0 9200 0 0 0 0 0 0\n")  # 1,800 of 2,000 ticks, niced ones among them
    assert str(condition.objection()).count("others use 90% of the processors")
    clock.now += 10
    ours[0] += 1800 / os.sysconf("SC_CLK_TCK")  # all of them ours
    proc(tmp_path, "cpu 4200 400 0 9400 0 0 0 0 0 0\n")
    assert condition.objection() is None
    assert processors.share() == pytest.approx(0.0)


def test_one_busy_moment_is_no_busy_machine(tmp_path: Path) -> None:
    clock = Clock()
    processors = Processors(proc=proc(tmp_path, "cpu 0 0 0 0 0 0 0 0\n"), clock=clock)
    processors.share()
    clock.now += 10
    proc(tmp_path, "cpu 0 0 0 2000 0 0 0 0\n")
    assert processors.share() == 0.0
    clock.now += 1
    proc(tmp_path, "cpu 200 0 0 2000 0 0 0 0\n")
    assert processors.share() == pytest.approx(0.1)


def test_without_proc_the_load_average_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (3.0, 0.0, 0.0))
    assert Processors(proc=tmp_path / "none").share() == pytest.approx(3.0 / (os.cpu_count() or 1))


def test_cpu_seconds_of_a_process_are_those_of_its_children_too(tmp_path: Path) -> None:
    tick = 1 / os.sysconf("SC_CLK_TCK")
    for pid, parent, used in ((10, 1, 100), (11, 10, 200), (12, 11, 400), (13, 1, 800)):
        (tmp_path / str(pid)).mkdir()
        times = f"{used} 0 0 0"
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (a ) b) S {parent} {' '.join('0' * 9)} {times} 20 0 1\n")
    assert tree_cpu_seconds(10, tmp_path) == pytest.approx(700 * tick)
    assert tree_cpu_seconds(14, tmp_path) is None
    assert tree_cpu_seconds(10, tmp_path / "none") is None
    assert (tree_cpu_seconds(os.getpid()) or 0) > 0


# Is it on mains?


def supply(folder: Path, name: str, **values: str) -> None:
    (folder / name).mkdir(parents=True)
    for key, value in values.items():
        (folder / name / key).write_text(value + "\n")


def test_upower_says_whether_the_machine_runs_on_its_battery(tmp_path: Path) -> None:
    for on_battery in (True, False):
        power = Power(FakeBus(Get=SimpleNamespace(value=on_battery)), tmp_path)
        assert (OnMains(power).objection() is not None) is on_battery


@pytest.mark.parametrize(
    ("supplies", "on_battery"),
    [
        ({}, False),
        ({"BAT0": {"type": "Battery", "status": "Discharging"}}, True),
        ({"BAT0": {"type": "Battery", "status": "Full"}}, False),
        ({"BAT0": {"type": "Battery", "status": "Discharging"}, "AC": {"type": "Mains", "online": "1"}}, False),
        ({"BAT0": {"type": "Battery", "status": "Discharging"}, "AC": {"type": "Mains", "online": "0"}}, True),
        ({"mouse": {"type": "Battery", "status": "Discharging", "scope": "Device"}}, False),
        ({"BAT0": {}}, False),
    ],
)
def test_without_upower_the_kernel_says_it(
    supplies: dict[str, dict[str, str]], on_battery: bool, tmp_path: Path
) -> None:
    for name, values in supplies.items():
        supply(tmp_path, name, **values)
    assert Power(FakeBus(), tmp_path).on_battery() is on_battery
    assert not Power(FakeBus(), tmp_path / "none").on_battery()


# A real bus

_DESKTOP = """
import asyncio, sys
from dbus_fast import BusType
from dbus_fast.aio import MessageBus
from dbus_fast.service import ServiceInterface, method
from mmi_tvr.watch.bus import BusError, DesktopBus
from mmi_tvr.watch.idle import IdleTime

class Monitor(ServiceInterface):
    def __init__(self): super().__init__("org.gnome.Mutter.IdleMonitor")
    @method()
    def GetIdletime(self) -> "t": return 123000

async def main():
    bus = await MessageBus(bus_type=BusType.SESSION).connect()
    bus.export("/org/gnome/Mutter/IdleMonitor/Core", Monitor())
    await bus.request_name("org.gnome.Mutter.IdleMonitor")
    def ask():
        client = DesktopBus("session")
        idle = IdleTime(client)
        print(idle.seconds(), idle.seconds(), idle.source)
        try:
            client.call("org.nobody", "/", "org.nobody", "Nothing")
        except BusError as error:
            print(error)
        client.close()
    await asyncio.get_running_loop().run_in_executor(None, ask)
asyncio.run(main())
"""


@pytest.mark.skipif(not shutil.which("dbus-run-session"), reason="no D-Bus here")
def test_a_desktop_answers_over_a_real_bus() -> None:
    pytest.importorskip("dbus_fast")
    command = ["dbus-run-session", "--", sys.executable, "-c", _DESKTOP]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert answer.stdout.splitlines() == ["123.0 123.0 GNOME", "org.freedesktop.DBus.Error.NameHasNoOwner"]


def test_no_bus_is_an_answer_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    bus = DesktopBus("session")
    assert IdleTime(bus).seconds() is None
    bus.close()


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


# Units


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config"


ODD = ("/a b", "/50%", '/"q"', "/back\\slash", "/$HOME", "/`x`", "/ü 写真", "/a;b'c", "/-dash")


def test_units_are_written_and_removed_under_the_config_folder_alone(home: Path, tmp_path: Path) -> None:
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(home)}
    written = install(tmp_path / "a library", ["watch", "/my films"])
    files = UnitFiles.of(tmp_path / "a library")
    assert written == [files.unit, files.link, files.autostart]
    assert all(path.is_relative_to(home) for path in written)
    assert files.link.resolve() == files.unit
    text = files.unit.read_text()
    assert '"watch" "/my films"' in text
    for line in ("CPUSchedulingPolicy=idle", "IOSchedulingClass=idle", "CPUWeight=1", "IOWeight=1", "Nice=19"):
        assert line in text.splitlines()
    assert UnitFiles.of(tmp_path / "other").unit != files.unit
    assert install(tmp_path / "a library", ["watch"], spare_time=False) == written  # replaces its own
    assert "idle" not in files.unit.read_text()
    assert uninstall(tmp_path / "a library") == [files.link, files.unit, files.autostart]
    assert uninstall(tmp_path / "a library") == []
    assert {path for path in tmp_path.rglob("*") if not path.is_relative_to(home)} == before


def test_files_of_others_are_not_replaced(home: Path, tmp_path: Path) -> None:
    files = UnitFiles.of(tmp_path)
    files.autostart.parent.mkdir(parents=True)
    files.autostart.write_text("[Desktop Entry]\n")
    with pytest.raises(UsageError, match="did not write it"):
        install(tmp_path, ["watch"])
    assert not files.unit.exists()
    assert uninstall(tmp_path) == []
    assert files.autostart.exists()


@pytest.mark.parametrize("path", ["/a\nb", "/a\tb", "/\udce9", "/\x1b[0m", "/\u2028"])
def test_what_cannot_stand_in_a_unit_is_refused(path: str, home: Path) -> None:
    for word in (unit_word, autostart_word):
        with pytest.raises(UsageError, match="cannot stand in a unit file"):
            word(path)
    with pytest.raises(UsageError):
        install(Path(path), ["watch"])
    assert not home.exists()


def test_a_unit_takes_neither_specifiers_nor_variables() -> None:
    assert [unit_word(path) for path in ("/50%h", "/$HOME", '/"q"', "/back\\slash")] == [
        '"/50%%h"', '"/$$HOME"', '"/\\"q\\""', '"/back\\\\slash"',
    ]  # fmt: skip


@pytest.mark.parametrize("path", ODD)
def test_a_desktop_reads_back_the_words_of_an_autostart_file(path: str) -> None:
    """By the rules of the desktop entry specification: the text's escapes first, then the quotes'."""
    text = autostart_word(path).replace("\\\\", "\0").replace("\0", "\\")
    assert (text[0], text[-1]) == ('"', '"')
    word, letters = "", iter(text[1:-1])
    for letter in letters:
        word += next(letters) if letter == "\\" else letter
    assert word.replace("%%", "%") == path


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_reads_the_unit(home: Path, tmp_path: Path) -> None:
    install(tmp_path / ODD[0][1:], ["watch", *ODD, "--library", "/l"])
    unit = UnitFiles.of(tmp_path / ODD[0][1:]).unit
    command = ["systemd-analyze", "--user", "verify", "--man=no", str(unit)]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert unit.name not in answer.stderr + answer.stdout, answer.stderr


def test_the_config_folder_is_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", "relative/folder"):
        monkeypatch.setenv("XDG_CONFIG_HOME", value)
        assert config_home() == Path.home() / ".config"


# Priority


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_work_in_spare_time_stands_behind_all_others() -> None:
    begin, end = os.pipe()
    child = os.fork()
    if not child:
        lower_priority()
        os.close(begin)
        os.write(end, b"!")
        signal.pause()
    try:
        assert os.read(begin, 1) == b"!"
        assert os.sched_getscheduler(child) == os.SCHED_IDLE
        assert os.getpriority(os.PRIO_PROCESS, child) == 19
        if shutil.which("ionice"):
            answer = subprocess.run(["ionice", "-p", str(child)], capture_output=True, text=True, check=True)
            assert answer.stdout.strip() == "idle"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(begin)
        os.close(end)
