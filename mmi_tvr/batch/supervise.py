"""A worker process, started again when it dies, and stopped when its supervisor is.

Under `accelerate launch` one dead process ends its siblings. So the process that the launcher starts only watches; the
worker, which holds the model and opens the files, is its child, and may die as often as items kill it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import MmiTvrError
from ..utils.device import available
from ..utils.interruption import Interrupted
from ..utils.progress import Progress
from .folder import BatchFolder
from .stopping import deferred_signals, interruptible

STOPPED = 143  # a worker's exit code: a signal stopped it; its supervisor says so
FAILED = 75  # a worker's exit code: an unexpected error, noted; start another one
_POLL_SECONDS = 2.0  # between two looks at how far all workers are
_MAX_CRASHES = 10  # in a row, and nothing finished in between


@dataclass(frozen=True)
class WorkerSlot:
    """Which of the processes that a launcher (accelerate, torchrun) started this is; alone without a launcher."""

    rank: int = 0
    world: int = 1
    local: int | None = None  # on its machine; None without a launcher

    @classmethod
    def from_environment(cls) -> WorkerSlot:
        """Read it from the launcher's environment; nobody waits for anybody."""
        local = os.environ.get("LOCAL_RANK")
        return cls(
            int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)), None if local is None else int(local)
        )

    def device(self, device: str) -> str:
        """Return the device to use: for auto, the GPU of this process's number on its machine, if there is one."""
        if device != "auto" or self.local is None or available()[0] != "cuda":
            return device
        import torch

        return f"cuda:{self.local % torch.cuda.device_count()}"


class StatusReporter:
    """Passes on to a progress how many items all workers together have finished."""

    def __init__(self, folder: BatchFolder, progress: Progress) -> None:
        self._folder, self._progress = folder, progress
        self._reported = 0
        progress.begin(folder.manifest["job"], folder.manifest["items"])
        self.update()

    def update(self) -> None:
        finished = self._folder.state().finished
        if finished > self._reported:
            self._progress.advance(finished - self._reported)
            self._reported = finished


def supervise(folder: BatchFolder, command: Sequence[str], progress: Progress) -> None:
    """Run a worker's command until all is done.

    Raises MmiTvrError where starting another one is pointless, SystemExit where the worker has said why it stopped.
    """
    reporter = StatusReporter(folder, progress)
    crashes, succeeded = 0, folder.state().succeeded
    with deferred_signals():
        while True:
            code = _run(command, reporter)
            if code == 0:
                return
            if code == STOPPED:
                raise Interrupted
            if code > 0 and code != FAILED:
                raise SystemExit(code)
            how = f"by signal {-code}" if code < 0 else "by an unexpected error"
            before, succeeded = succeeded, folder.state().succeeded
            crashes = crashes + 1 if succeeded == before else 1
            if crashes >= _MAX_CRASHES:
                raise MmiTvrError(
                    f"{crashes} workers in a row were ended {how}, and no item was finished; "
                    "is there memory for the model?"
                )
            progress.say(f"the worker was ended {how}; another one goes on")


def watch_parent() -> None:
    """Stop this worker, as at a signal, when the process that started this one is gone."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            threading.Event().wait(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _run(command: Sequence[str], reporter: StatusReporter) -> int:
    """Run one worker process, and report what all workers do meanwhile; returns its exit code."""
    with subprocess.Popen(command) as worker:
        try:
            while True:
                with interruptible(), contextlib.suppress(subprocess.TimeoutExpired):
                    return worker.wait(_POLL_SECONDS)
                reporter.update()
        except BaseException:
            worker.terminate()
            raise
        finally:
            worker.wait()
            reporter.update()
