"""Bringing a library up to date from a service: one run at a time, which can be paused and goes on where it was.

A paused run has ended (decision): it gives back the writer's lock and all memory, nothing is lost, and whoever uses
the command line meanwhile need not wait for somebody to come back to a page. The pause is the library's
(`library.pausing`): a watcher of it rests, too, and `mmi-tvr watch pause` pauses a run here.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import Any, Literal

from ..errors import LibraryReadOnly, MmiTvrError, one_line
from ..library import Library
from ..library.pausing import current_pause, pause, resume
from ..utils.interruption import Interrupted

_LOGGER = logging.getLogger(__name__)
JobState = Literal["idle", "running", "paused", "done", "failed"]


class IndexingJob:
    """The indexing run of a service (`utils.progress.Progress` of it)."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._state: JobState = "idle"
        self._retry = False
        self._stage, self._total, self._done = "", 0, 0
        self._problem: str | None = None
        self._report: dict[str, Any] | None = None

    @property
    def is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self, retry: bool = False) -> bool:
        """Begin a run, or take up a paused one, which lifts the library's pause; False where one is under way.

        retry: try files again that were set aside.
        """
        with self._lock:
            if self.is_running:
                return False
            with suppress(LibraryReadOnly):  # which the run will say
                resume(self._library.path)
            self._retry = retry
            self._stop.clear()
            self._state, self._problem = "running", None
            self._stage, self._total, self._done = "", 0, 0
            self._thread = threading.Thread(target=self._run, name="indexing", daemon=True)
            self._thread.start()
            return True

    def pause(self) -> bool:
        """Have the run end at its next step, and pause the library; False where none is under way."""
        if not self.is_running:
            return False
        with suppress(LibraryReadOnly):  # then there is no watcher, either
            pause(self._library.path)
        self._stop.set()
        return True

    def close(self, wait: float) -> bool:
        """End the run; return whether it ended within `wait` seconds. Killed later, it loses the step it was at."""
        self._stop.set()
        thread = self._thread
        if thread is not None:
            thread.join(wait)
        return not self.is_running

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (`GET /api/index`)."""
        with self._lock:
            return {
                "state": self._current_state(),
                "stage": self._stage,
                "done": self._done,
                "total": self._total,
                "problem": self._problem,
                "report": self._report,
            }

    def _current_state(self) -> JobState:
        """Return the state, which is that of the library where it is paused and no run is under way."""
        return self._state if self._state == "running" or not current_pause(self._library.path) else "paused"

    def _run(self) -> None:
        state: JobState = "failed"
        try:
            report = self._library.index(retry=self._retry, progress=self).as_dict()
            state = "done"
            with self._lock:
                self._report = report
        except Interrupted:
            state = "paused"
        except MmiTvrError as error:
            self._problem = str(error)
        except Exception as error:
            _LOGGER.exception("indexing failed")
            self._problem = one_line(error)
        finally:
            with self._lock:
                self._state = state

    # Progress

    def begin(self, stage: str, total: int) -> None:
        """Start a stage of `total` steps."""
        self._check()
        with self._lock:
            self._stage, self._total, self._done = stage, total, 0

    def advance(self, steps: int = 1) -> None:
        """Count steps."""
        with self._lock:
            self._done += steps
        self._check()

    def say(self, message: str) -> None:
        """Take note of what the run says."""
        self._check()

    def _check(self) -> None:
        """Raise Interrupted where the run is to end."""
        if self._stop.is_set() or current_pause(self._library.path):
            raise Interrupted
