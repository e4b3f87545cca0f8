"""Calls that are made unless what they guard ends in time."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Deadlines:
    """One thread that waits for all deadlines of a process.

    A `threading.Timer` each would be a new thread for every file that is decoded: a tenth of the system time of
    indexing thousands of small pictures. This thread starts with the first deadline, is woken for one that comes before
    those that it knows of, and ends where it wakes and there is none.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._calls: dict[int, tuple[float, Callable[[], object]]] = {}  # the time of a deadline, and what to call
        self._wakes = math.inf  # when the thread looks next
        self._thread: threading.Thread | None = None

    @contextmanager
    def within(self, seconds: float, call: Callable[[], object]) -> Iterator[None]:
        """Call something from another thread if the block takes longer than so many seconds."""
        number, deadline = next(self._numbers), time.monotonic() + seconds
        with self._changed:
            self._calls[number] = deadline, call
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="deadlines", daemon=True)
                self._thread.start()
            elif deadline < self._wakes:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._calls.pop(number, None)

    def _watch(self) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                missed = [number for number, (deadline, _) in self._calls.items() if deadline <= now]
                calls = [self._calls.pop(number)[1] for number in missed]
                if not calls and not self._calls:
                    self._thread = None
                    return
                if not calls:
                    self._wakes = min(deadline for deadline, _ in self._calls.values())
                    self._changed.wait(self._wakes - now)
            for call in calls:
                call()
