"""Long work as steps, each of them Python scripts in processes of their own: what is finished stays, and what is asked
to stop saves first.

    FOLDER/steps.json     how long each step took, with the times before a stop
    FOLDER/lock           held by whoever works there, and by the processes that it started
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from ..errors import MmiTvrError, UsageError
from ..utils import interruption
from ..utils.device import processors
from ..utils.files import write_atomically
from ..utils.wording import time_span

TIMES = "steps.json"
_LOCK = "lock"
_PAUSE = 0.2  # seconds between two looks at what runs
_GRACE = 60.0  # seconds that a process has to save, and to end, when the one that started it was killed
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class ScriptRun:
    """A Python script that is run.

    Args:
        words: Its path and arguments.
        finished: Whether what it makes is there, whole.
        processes: That it is started in, to train together (`utils.distributed`).
        output: File that keeps what it prints, once it has ended well; None shows it.
    """

    words: Sequence[str]
    finished: Callable[[], bool]
    processes: int = 1
    output: Path | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A part of long work: tasks that run at once.

    Args:
        name: Of the step, unique in the work.
        tasks: Each has its share of the processors.
        seconds: That it takes on the machine that the defaults were measured on.
    """

    name: str
    tasks: Sequence[ScriptRun]
    seconds: float = 60.0

    def pending(self) -> list[ScriptRun]:
        """Return the tasks that are not finished."""
        return [task for task in self.tasks if not task.finished()]


@dataclass(frozen=True, slots=True)
class Spent:
    """What a step took: seconds by the clock, and of processors."""

    clock: float = 0.0
    processors: float = 0.0


def run_steps(folder: Path, steps: Sequence[Step], say: Callable[[str], None]) -> dict[str, Spent]:
    """Run steps one after the other; what is finished is left out. Before each step a line says what is left.

    Args:
        folder: Of the work.
        steps: In order.
        say: Shows a line.

    Returns:
        What each step took, times before a stop included.

    Raises:
        Interrupted: It was stopped; what ran has saved, and the same call goes on.
        MmiTvrError: A step failed, and has said why.
        UsageError: Somebody else works in the folder.
    """
    with _locked(folder):
        for number, step in enumerate(steps):
            pending = step.pending()
            if not pending:
                continue
            left = _seconds_left(steps[number:], steps[:number], read_times(folder))
            say(f"step {number + 1} of {len(steps)}, {step.name}; about {time_span(left)} left for all")
            before, start = _children(), time.monotonic()
            try:
                run_at_once(pending)
            finally:
                spent = Spent(time.monotonic() - start, _children() - before)
                times = read_times(folder)
                former = times.get(step.name, Spent())
                times[step.name] = Spent(former.clock + spent.clock, former.processors + spent.processors)
                _write_times(folder, times)
            if step.pending():
                raise MmiTvrError(f"{step.name}: its scripts ended, and what they make is not there")
            say(f"{step.name}: done after {time_span(times[step.name].clock)}")
    return read_times(folder)


def read_times(folder: Path) -> dict[str, Spent]:
    """Return what the steps of a folder have taken so far; nothing where the file is damaged."""
    try:
        values = json.loads((folder / TIMES).read_text(encoding="utf-8"))
        return {name: Spent(float(spent["clock"]), float(spent["processors"])) for name, spent in values.items()}
    except (FileNotFoundError, ValueError, AttributeError, TypeError, KeyError):
        return {}


def _write_times(folder: Path, times: Mapping[str, Spent]) -> None:
    values = {name: {"clock": spent.clock, "processors": spent.processors} for name, spent in times.items()}
    write_atomically(folder / TIMES, json.dumps(values, indent=1).encode())


def _seconds_left(steps: Sequence[Step], before: Sequence[Step], times: Mapping[str, Spent]) -> float:
    """Return how long steps will take: what they are known to, by how fast this machine was with those before."""
    timed = [step for step in before if step.name in times]
    expected = sum(step.seconds for step in timed)
    pace = sum(times[step.name].clock for step in timed) / expected if expected else 1.0
    return pace * sum(step.seconds for step in steps)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. The processes that are started meanwhile hold it, too, so that one that outlives this
    process keeps others away until it has ended."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        deadline = time.monotonic() + _GRACE
        while not _lock(descriptor):
            if time.monotonic() > deadline:
                raise UsageError(f"{folder}: somebody works there already; wait for the end, or end it")
            time.sleep(_PAUSE)
        os.set_inheritable(descriptor, True)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _end_with_parent() -> None:
    """Have Linux send SIGTERM to this process when the one that started it is gone, however that ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))


def run_at_once(tasks: Sequence[ScriptRun]) -> None:
    """Run tasks at once, to their ends, each process with its share of the processors. Asked to stop, or where one
    fails, they are given the time to save what they have (`utils.interruption`).

    Raises:
        Interrupted: they were stopped.
        MmiTvrError: one failed, and has said why.
    """
    total = sum(task.processes for task in tasks)
    threads = {"OMP_NUM_THREADS": str(max(1, processors() // total))} if total > 1 else {}
    stop_requested = False
    with ExitStack() as stack:
        processes: list[tuple[ScriptRun, subprocess.Popen[bytes]]] = []

        def pass_on(number: int, frame: object) -> None:
            nonlocal stop_requested
            stop_requested = True
            end()

        def end() -> None:
            for _, process in processes:
                process.send_signal(signal.SIGTERM)

        stack.enter_context(interruption.signal_handler(pass_on, signal.SIGTERM))
        interrupted = stack.enter_context(interruption.stop_event(signal.SIGINT))  # Ctrl-C reaches all: they decide
        streams = {task.output: stack.enter_context(TemporaryFile()) for task in tasks if task.output}
        for task in tasks:
            for environment in _environments(task.processes):
                process = subprocess.Popen(
                    [sys.executable, *task.words],
                    stdout=streams[task.output] if task.output else None,
                    env={**os.environ, **threads, **environment},
                    close_fds=False,  # the lock of the folder
                    preexec_fn=_end_with_parent,
                )
                processes.append((task, stack.enter_context(process)))
        if stop_requested:  # perhaps while one was being started, which nobody has told
            end()
        while None in (codes := [process.poll() for _, process in processes]) and not any(codes):
            time.sleep(_PAUSE)
        end()  # where one has failed; who has ended gets none
        for _, process in processes:
            process.wait()
        printed = {output: _content(stream) for output, stream in streams.items()}
    ended = [(code, task) for code, (task, _) in zip(codes, processes, strict=True) if code]  # of themselves
    failed = [one for one in ended if one[0] != interruption.EXIT_CODE]
    if failed and not stop_requested:
        code, task = failed[0]
        raise MmiTvrError(f"{Path(task.words[0]).name} stopped with exit code {code}; the same command again goes on")
    if ended or stop_requested or interrupted.is_set():
        raise interruption.Interrupted
    for output, content in printed.items():
        write_atomically(output, content)


def _content(stream: IO[bytes]) -> bytes:
    stream.seek(0)
    return stream.read()


def _environments(processes: int) -> Iterator[dict[str, str]]:
    """Yield what tells each of some processes that they train together, as `torchrun` does."""
    if processes == 1:
        yield {}
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    size = str(processes)
    for rank in map(str, range(processes)):
        yield {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": size,
            "LOCAL_WORLD_SIZE": size,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }


def set_options(changes: Iterable[str]) -> list[str]:
    """Return the words of a command line that change options, `A.B=C`."""
    return [word for change in changes for word in ("--set", change)]
