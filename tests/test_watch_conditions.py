"""Whether somebody is there, the machine is busy, and it runs on mains: by fake buses, fake /proc and /sys, and by a
real bus."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_watch_parts import Clock, FakeBus

from mmi_tvr.watch.bus import DesktopBus
from mmi_tvr.watch.conditions import LowLoad, OnMains, UserIsIdle
from mmi_tvr.watch.cpu_time import tree_cpu_seconds
from mmi_tvr.watch.idle import IdleTime
from mmi_tvr.watch.power import Power
from mmi_tvr.watch.processors import Processors


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
