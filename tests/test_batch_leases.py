"""Leases of a batch: who holds a shard, for how long, and what a holder that ended leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from mmi_tvr.batch.leases import Holder, LeaseLost, Leases, machine


def ended_process(*, collected: bool) -> subprocess.Popen[bytes]:
    """A process that has ended; unless it is collected, its number still belongs to it."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    if collected:
        process.wait()
    else:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    return process


def write_holder(folder: Path, pid: int, machine_name: str | None = None) -> Path:
    path = folder / "a.json"
    path.write_text(json.dumps(asdict(Holder("another token", pid, machine_name or machine()))))
    return path


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


def test_a_process_that_ended_holds_nothing_whether_it_is_collected_or_not(tmp_path: Path) -> None:
    for collected in (True, False):
        process = ended_process(collected=collected)
        write_holder(tmp_path, process.pid)
        assert Holder("token", process.pid, machine()).is_dead()
        assert not Holder("token", process.pid, "elsewhere").is_dead()  # another machine's numbers say nothing
        assert Leases(tmp_path, heartbeat=60, stale_after=600).claim("a") is not None
        (tmp_path / "a.json").unlink()
        process.wait()


def test_a_process_that_lives_keeps_its_lease(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    assert not Holder("token", sleeper.pid, machine()).is_dead()
    write_holder(tmp_path, sleeper.pid)
    assert Leases(tmp_path, heartbeat=60, stale_after=600).claim("a") is None


def test_a_process_of_another_user_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert not Holder("token", 12345, machine()).is_dead()


def test_a_lease_is_stale_when_it_looks_the_same_for_long_enough(tmp_path: Path, monkeypatch: Any) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    path = write_holder(tmp_path, 1, "elsewhere")
    leases = Leases(tmp_path, stale_after=10)
    assert leases.claim("a") is None
    clock[0] += 9
    assert leases.claim("a") is None
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))  # the holder's heart beats
    clock[0] += 9
    assert leases.claim("a") is None
    clock[0] += 9
    assert leases.claim("a") is None
    clock[0] += 2
    assert leases.claim("a") is not None


def test_of_two_who_claim_at_once_one_gets_it(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    leases = Leases(tmp_path)

    @contextmanager
    def overtaken() -> Iterator[None]:
        write_holder(tmp_path, sleeper.pid)  # while this process waits for the lock
        yield

    leases._lock = overtaken()  # type: ignore[assignment]
    assert leases.claim("a") is None
    assert json.loads((tmp_path / "a.json").read_text())["pid"] == sleeper.pid


def test_a_held_lease_is_touched_and_given_back_once(tmp_path: Path) -> None:
    lease = Leases(tmp_path, heartbeat=0.02).claim("a")
    assert lease is not None
    before = lease.path.stat().st_mtime_ns
    with lease:
        lease.check()
        end = time.monotonic() + 10
        while lease.path.stat().st_mtime_ns == before:
            assert time.monotonic() < end
            time.sleep(0.01)
    assert not lease.path.exists()
    assert not [thread for thread in threading.enumerate() if thread.name == "lease"]
    with pytest.raises(LeaseLost, match="a"):
        lease.check()


def test_a_lease_that_another_has_taken_is_left_alone(tmp_path: Path) -> None:
    lease = Leases(tmp_path, heartbeat=60).claim("a")
    assert lease is not None
    with lease:
        path = write_holder(tmp_path, os.getpid())  # the same process may claim again: its token differs
        with pytest.raises(LeaseLost):
            lease.check()
    assert json.loads(path.read_text())["token"] == "another token"
