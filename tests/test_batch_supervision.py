"""Signals, and who starts workers, counts their crashes and sums up their work."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from fakes import RecordedProgress
from test_batch_units import ScriptedTask, folder_of

from mmi_tvr.batch import program, stopping, supervise
from mmi_tvr.errors import MmiTvrError
from mmi_tvr.utils.interruption import Interrupted


def test_a_signal_waits_for_a_part_that_is_interruptible() -> None:
    steps = []
    with stopping.deferred_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        steps.append("not here")
        with pytest.raises(Interrupted), stopping.interruptible():
            steps.append("never")
    assert steps == ["not here"]
    with stopping.deferred_signals(), stopping.interruptible():  # what came before is over with
        steps.append("again")
    assert steps == ["not here", "again"]


def test_a_signal_ends_an_interruptible_part_once() -> None:
    steps = []

    def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            os.kill(os.getpid(), signal.SIGINT)  # ignored: the process is stopping
            steps.append("cleared up")

    with stopping.deferred_signals():
        with pytest.raises(Interrupted), stopping.interruptible():
            work()
        assert steps == ["cleared up"]


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_crashes_count_only_while_nothing_is_finished(tmp_path: Path) -> None:
    """Each worker finishes an item and crashes; that may happen as often as there are items."""
    folder = folder_of(tmp_path / "out", count=12, shard_size=1)
    code = (
        "import sys; from pathlib import Path; from mmi_tvr.batch.folder import BatchFolder\n"
        f"folder = BatchFolder(Path({str(folder.path)!r}))\n"
        "shard = folder.open_shards()[0]\n"
        "folder.publish(shard, folder.items(shard), {int(shard): {}})\n"
        "sys.exit(75 if folder.open_shards() else 0)"
    )
    progress = RecordedProgress()
    supervise.supervise(folder, python(code), progress)
    assert folder.state().succeeded == 12
    assert progress.steps == [12]
    assert progress.messages == ["the worker was ended by an unexpected error; another one goes on"] * 11


def test_the_tenth_crash_in_a_row_is_the_last(tmp_path: Path) -> None:
    folder, progress = folder_of(tmp_path / "out"), RecordedProgress()
    with pytest.raises(MmiTvrError, match=r"^10 workers in a row were ended by signal 9, and no item was finished"):
        supervise.supervise(folder, ["sh", "-c", "kill -9 $$"], progress)
    assert len(progress.messages) == 9


@pytest.mark.parametrize(("code", "ends_with"), [(supervise.STOPPED, 130), (2, 2)])
def test_a_worker_that_says_why_it_ended_ends_its_supervisor(tmp_path: Path, code: int, ends_with: int) -> None:
    with pytest.raises(SystemExit) as raised:
        supervise.supervise(folder_of(tmp_path / "out"), ["sh", "-c", f"exit {code}"], RecordedProgress())
    assert raised.value.code == ends_with


def test_a_supervisor_that_is_stopped_stops_its_worker(tmp_path: Path) -> None:
    folder, pid_file = folder_of(tmp_path / "out"), tmp_path / "pid"

    def stop() -> None:
        while not pid_file.exists() or not pid_file.read_text():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    worker = python(f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(20)")
    start = time.monotonic()
    with pytest.raises(Interrupted):
        supervise.supervise(folder, worker, RecordedProgress())
    assert time.monotonic() - start < 15
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_a_launcher_gives_each_process_its_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert supervise.WorkerSlot.from_environment() == supervise.WorkerSlot(0, 1, None)
    assert program.is_first_of_machine()
    monkeypatch.setattr(supervise, "available", lambda: ("cuda", "a GPU"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert supervise.WorkerSlot().device("auto") == "auto"  # the model chooses
    for rank, world, local, first, device in ((4, 8, 0, True, "cuda:0"), (7, 8, 3, False, "cuda:1")):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", str(world))
        monkeypatch.setenv("LOCAL_RANK", str(local))
        slot = supervise.WorkerSlot.from_environment()
        assert slot == supervise.WorkerSlot(rank, world, local)
        assert program.is_first_of_machine() is first
        assert (slot.device("auto"), slot.device("cpu")) == (device, "cpu")
    monkeypatch.setattr(supervise, "available", lambda: ("cpu", "no GPU"))
    assert supervise.WorkerSlot.from_environment().device("auto") == "auto"


def test_a_worker_begins_where_its_rank_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, task = folder_of(tmp_path / "out", count=4, shard_size=1), ScriptedTask()
    monkeypatch.setattr(program, "make_task", lambda *arguments: task)
    monkeypatch.setattr(program, "watch_parent", lambda: None)
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "4")
    program.run_worker(folder.path, "cpu", None, print)
    assert task.published == ["000002", "000003", "000000", "000001"]


@pytest.mark.parametrize(
    ("error", "code"), [(RuntimeError("odd"), supervise.FAILED), (Interrupted(), supervise.STOPPED)]
)
def test_a_worker_says_by_its_exit_code_why_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    folder, lines = folder_of(tmp_path / "out", count=1), []
    monkeypatch.setattr(program, "make_task", lambda *arguments: ScriptedTask({0: error}))
    monkeypatch.setattr(program, "watch_parent", lambda: None)
    with pytest.raises(SystemExit) as raised:
        program.run_worker(folder.path, "cpu", None, lines.append)
    assert raised.value.code == code
    assert lines == (["item 0: RuntimeError: odd"] if code == supervise.FAILED else [])


@pytest.mark.parametrize("rank", [0, 1])
def test_only_the_first_process_opens_shards_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    folder = folder_of(tmp_path / "out", count=1)
    folder.publish("000000", folder.items("000000"), {0: {"reason": "bad"}})
    monkeypatch.setattr(program, "make_task", lambda *arguments: ScriptedTask())
    monkeypatch.setenv("RANK", str(rank))
    state = program.run(folder, program.RunOptions(retry=True), RecordedProgress(), ["true"])
    assert state.open_shards == (1 if rank == 0 else 0)
    assert program.run(folder, program.RunOptions(), RecordedProgress(), ["true"]) == state


def test_a_summary_names_a_few_of_the_quarantined(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "out", count=25, shard_size=25)
    folder.publish("000000", folder.items("000000"), {number: {"reason": "bad"} for number in range(25)})
    lines = program.summary(folder, folder.state()).splitlines()
    assert lines[0] == f"0 of 25 items in 1 shard: {folder.path}"
    assert lines[1] == "25 quarantined (--retry tries them again):"
    assert lines[2:22] == [f"  item {number}: bad" for number in range(20)]
    assert lines[22:] == [f"  and 5 more: the lines of {folder.path}/done/ that have a reason"]
