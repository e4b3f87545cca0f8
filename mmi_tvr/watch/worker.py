"""The process that indexes for a watcher: jobs come in, what becomes of them goes out, a line of JSON for each.

A process of its own (decision), because the watcher runs day and night: when nothing is to be done, no model lies in
memory; the priority cannot be raised again; and what hangs in a decoder can be ended. It stops at its next step when
its input ends, so it does not outlive a watcher that was killed.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Mapping
from typing import Any, TextIO

from ..config import from_values
from ..errors import LibraryBusy, MmiTvrError, one_line
from ..library import Library
from ..utils.device import calm_threads
from ..utils.interruption import Interrupted
from .priority import lower_priority

ORPHAN_SECONDS = 60.0  # for the step that is under way, once the watcher is gone


class WorkerProgress:
    """Sends how far a run is, and ends it at its next step once the input has ended (`utils.progress.Progress`)."""

    def __init__(self, replies: Replies, stop: threading.Event) -> None:
        self._replies = replies
        self._stop = stop

    def begin(self, stage: str, total: int) -> None:
        self._check()
        self._replies.send(begin=stage, total=total)

    def advance(self, steps: int = 1) -> None:
        if steps:
            self._replies.send(advance=steps)
        self._check()

    def say(self, message: str) -> None:
        self._replies.send(say=message)
        self._check()

    def _check(self) -> None:
        if self._stop.is_set():
            raise Interrupted


class Replies:
    """Where replies go: the standard output, which nobody else writes to any more."""

    def __init__(self) -> None:
        self._stream: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)  # a stray print must not stand between replies

    def send(self, **reply: Any) -> None:
        """Send one reply. Raises Interrupted where the watcher is gone."""
        try:
            self._stream.write(json.dumps(reply) + "\n")
            self._stream.flush()
        except OSError as error:
            raise Interrupted from error


def main(spare_time: bool) -> None:
    """Do jobs until the input ends, with the lowest priority where it is spare time's."""
    if spare_time:
        lower_priority()
    calm_threads()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the watcher decides when to stop
    replies = Replies()
    stop = threading.Event()
    jobs: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(jobs, stop), daemon=True).start()
    library: Library | None = None
    while (line := jobs.get()) is not None:
        job = json.loads(line)
        if library is None:
            library = Library(job["library"], settings=from_values(job["settings"]))
        try:
            replies.send(**_run(library, job, WorkerProgress(replies, stop)))
        except Interrupted:
            break
    sys.stdout.flush()
    os._exit(0)  # what a decoder still does has no reader


def _run(library: Library, job: Mapping[str, Any], progress: WorkerProgress) -> dict[str, Any]:
    """Return the reply to a job. Raises Interrupted."""
    try:
        report = library.index(job["paths"], retry=job["retry"], settle=job["settle"], wait=0.0, progress=progress)
    except LibraryBusy as error:
        return {"busy": str(error)}
    except MmiTvrError as error:
        return {"error": str(error)}
    except OSError as error:  # a full disk
        return {"error": one_line(error)}
    return {"report": report.as_dict()}


def _listen(jobs: queue.SimpleQueue[str | None], stop: threading.Event) -> None:
    """Pass jobs on, and end the process some time after the input has ended, whatever it is at."""
    for line in sys.stdin:
        jobs.put(line)
    stop.set()
    jobs.put(None)
    threading.Event().wait(ORPHAN_SECONDS)
    os._exit(1)  # a kill costs the step that was under way, and nothing else
