"""The process that indexes, as its watcher sees it."""

from __future__ import annotations

import json
import os
import queue
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from ..errors import MmiTvrError
from ..utils import environment
from .cpu_time import tree_cpu_seconds

_BOOTSTRAP = """\
import sys
spare_time, *sys.path = sys.argv[1:]
from mmi_tvr.watch.worker import main
main(bool(int(spare_time)))"""
_DECODE_SECONDS = 600  # that one file may take: low priority is no reason to set it aside
_QUIET = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_VERBOSITY": "critical", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
_LAST_WORDS = 2000  # bytes of its errors that are looked at when it crashes


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is to do: bring a library up to date with folders.

    `settings` are those that were set explicitly; `retry` tries files again that were set aside; `settle` is
    `Library.index`'s.
    """

    library: Path
    folders: tuple[Path, ...]
    settle: float
    settings: Mapping[str, Any] = field(default_factory=dict)
    retry: bool = False

    def as_line(self) -> str:
        """Return the line of JSON that a worker reads."""
        document = {
            "library": str(self.library),
            "paths": list(map(str, self.folders)),
            "settle": self.settle,
            "settings": self.settings,
            "retry": self.retry,
        }
        return json.dumps(document) + "\n"


class IndexWorker(Protocol):
    """Does one job at a time."""

    def start(self, job: Job) -> None:
        """Begin a job. Raises MmiTvrError where no process can be started."""
        ...

    def replies(self) -> Sequence[Mapping[str, Any]]:
        """Return what came since the last call (`watch.worker`); `ended`: why the process is gone, where it is."""
        ...

    def cpu_seconds(self) -> float:
        """Return the CPU seconds that were used since the last call."""
        ...

    def stop(self) -> None:
        """Have it end at its next step; a later `start` starts it anew."""
        ...

    def kill(self) -> None:
        """End it now, and wait until it is gone."""
        ...


class WorkerProcess:
    """A worker in a process of its own, which lives from one job to the next (`IndexWorker`)."""

    def __init__(self, threads: int, wake: Callable[[], object], spare_time: bool = True) -> None:
        """Start nothing yet.

        Args:
            threads: of the model, and processes that decode.
            wake: called, from another thread, at each reply.
            spare_time: whether it stands back behind all others.
        """
        self._spare_time = spare_time
        self._threads = threads
        self._wake = wake
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[bytes] | None = None
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._counted = 0.0  # CPU seconds of this process that were reported
        self._waited = 0.0  # CPU seconds of ended children before this process
        self._left = 0.0  # CPU seconds of an ended process that were not reported yet

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self, job: Job) -> None:
        if self._process is not None and self._process.stdin is not None and self._process.stdin.closed:
            self.kill()  # it was stopped, and is just ending
        if self._process is None:
            self._start_process()
        assert self._process is not None
        assert self._process.stdin is not None
        with suppress(OSError):  # it has just died; its end is among the replies
            self._process.stdin.write(job.as_line())
            self._process.stdin.flush()

    def replies(self) -> list[Mapping[str, Any]]:
        received: list[Mapping[str, Any]] = []
        with suppress(queue.Empty):
            while True:
                line = self._lines.get_nowait()
                if line is None:
                    received.append({"ended": self._wait()})
                    break
                with suppress(ValueError):  # cut off by a kill
                    received.append(json.loads(line))
        return received

    def cpu_seconds(self) -> float:
        used, self._left = self._left, 0.0
        if self._process is not None:
            total = tree_cpu_seconds(self._process.pid)
            if total is not None and total > self._counted:
                used += total - self._counted
                self._counted = total
        return used

    def stop(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def kill(self) -> None:
        if self._process is not None:
            with suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)  # with its decoders
            self._wait()
            self._lines = queue.SimpleQueue()

    def wait(self, seconds: float) -> bool:
        """Wait for the end of a process that was stopped; return whether it ended."""
        if self._process is None:
            return True
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        self._wait()
        return True

    def _start_process(self) -> None:
        variables = {**os.environ, **_QUIET, "OMP_NUM_THREADS": str(self._threads)}
        variables[environment.DECODE_WORKERS] = str(self._threads)
        variables.setdefault(environment.DECODE_SECONDS, str(_DECODE_SECONDS))
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        self._lines = queue.SimpleQueue()
        self._counted, self._waited = 0.0, _waited_for()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOTSTRAP, str(int(self._spare_time)), *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                encoding="utf-8",
                env=variables,
                start_new_session=True,  # Ctrl-C is the watcher's, which then ends it
            )
        except OSError as error:
            raise MmiTvrError(f"no process for indexing can be started ({error})") from error
        threading.Thread(target=_read, args=(self._process.stdout, self._lines, self._wake), daemon=True).start()

    def _wait(self) -> str:
        """Wait for the end of the process, and return how it ended, empty where it was stopped."""
        process, self._process = self._process, None
        if process is None:
            return ""
        with suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        status = process.wait()
        if process.stdout is not None:
            process.stdout.close()
        self._left += max(0.0, _waited_for() - self._waited - self._counted)
        words = _last_line(self._errors)
        if self._errors is not None:
            self._errors.close()
            self._errors = None
        if not status:
            return ""
        return f"killed by signal {-status}" if status < 0 else words or f"exit code {status}"


def _read(stream: IO[str], lines: queue.SimpleQueue[str | None], wake: Callable[[], object]) -> None:
    with suppress(ValueError, OSError):  # closed meanwhile
        for line in stream:
            lines.put(line)
            wake()
    lines.put(None)
    wake()


def _waited_for() -> float:
    """Return the CPU seconds of all ended children, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _last_line(stream: IO[bytes] | None) -> str:
    if stream is None:
        return ""
    with suppress(OSError):
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - _LAST_WORDS))
        lines = stream.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1].strip() if lines else ""
    return ""
