"""A worker process, started again when it dies, and told to stop when we are.

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
from ..utils.progress import Progress
from . import stopping
from .folder import Folder

STOPPED = 143  # a worker's exit code: it was told to stop; who started it says so
FAILED = 75  # a worker's exit code: an unexpected error, noted; start another one
_LOOK = 2.0  # seconds between two looks at how far all workers are
_DEATHS = 10  # in a row, and nothing finished in between


@dataclass(frozen=True)
class Place:
    """Which of the processes that a launcher (accelerate, torchrun) started this is; alone without a launcher."""

    rank: int = 0
    world: int = 1
    local: int | None = None  # on its machine; None without a launcher

    @classmethod
    def here(cls) -> Place:
        """From the launcher's environment; nobody waits for anybody."""
        local = os.environ.get("LOCAL_RANK")
        return cls(
            int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)), None if local is None else int(local)
        )

    def device(self, asked: str) -> str:
        """Of a device that is chosen by itself: the GPU of this process's number on its machine, if there is one."""
        if asked != "auto" or self.local is None or available()[0] != "cuda":
            return asked
        import torch

        return f"cuda:{self.local % torch.cuda.device_count()}"


class Told:
    """Passes on to a progress how many items all workers together have finished."""

    def __init__(self, folder: Folder, progress: Progress) -> None:
        self._folder, self._progress = folder, progress
        self._known = 0
        progress.begin(folder.manifest["job"], folder.manifest["items"])
        self.look()

    def look(self) -> None:
        finished = self._folder.state().finished
        if finished > self._known:
            self._progress.advance(finished - self._known)
            self._known = finished


def supervise(folder: Folder, command: Sequence[str], progress: Progress) -> None:
    """Run a worker's command until all is done.

    Raises MmiTvrError where starting another one is pointless, SystemExit where the worker has said why it stopped.
    """
    told = Told(folder, progress)
    deaths, good = 0, folder.state().good
    with stopping.installed():
        while True:
            code = _run(command, told)
            if code == 0:
                return
            if code == STOPPED:
                raise SystemExit(stopping.INTERRUPTED)
            if code > 0 and code != FAILED:
                raise SystemExit(code)
            how = f"by signal {-code}" if code < 0 else "by an unexpected error"
            now = folder.state().good
            deaths, good = (deaths + 1 if now == good else 1), now
            if deaths >= _DEATHS:
                all_of_them = f"{deaths} workers in a row were ended {how}, and no item was finished"
                raise MmiTvrError(f"{all_of_them}; is there memory for the model?")
            progress.say(f"the worker was ended {how}; another one goes on")


def watch_parent() -> None:
    """In a worker: stop, as if told to, when the process that started this one is gone."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            threading.Event().wait(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _run(command: Sequence[str], told: Told) -> int:
    """Exit code of one worker process; what all workers do meanwhile is told."""
    with subprocess.Popen(command) as child:
        try:
            while True:
                with stopping.allowed(), contextlib.suppress(subprocess.TimeoutExpired):
                    return child.wait(_LOOK)
                told.look()
        except BaseException:
            child.terminate()
            raise
        finally:
            child.wait()
            told.look()
