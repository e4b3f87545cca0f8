"""Searches that wait for the model, in a queue of limited length; those that are alike are embedded together.

One thread searches, because the threads of a library take turns anyway. While it is at work, further searches gather,
and the next turn takes all those with the same options: the busier it is, the cheaper each of them. Nobody waits for
company (decision): a single search starts at once.

What searches is passed in: a service's queue has a library, that of a desktop a library which another process may hold.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ..utils.memory import reused_memory

_BUSY_SECONDS = 1.0  # for so long after a search, what it has freed is kept for the next one (`reused_memory`)

AnyQuery = TypeVar("AnyQuery")
AnyResult = TypeVar("AnyResult")


class Overloaded(Exception):
    """More is waiting than is worth waiting for; `seconds` says when to come again."""

    def __init__(self, seconds: int = 1) -> None:
        self.seconds = seconds
        super().__init__("too many requests are waiting; try again in a moment")


@dataclass(eq=False, slots=True)
class _WaitingSearch(Generic[AnyQuery, AnyResult]):
    query: AnyQuery
    options: Mapping[str, Any]
    result: Future[AnyResult] = field(default_factory=Future)
    arrival: float = field(default_factory=time.monotonic)


class SearchQueue(Generic[AnyQuery, AnyResult]):
    """Runs searches in a thread of its own."""

    def __init__(
        self,
        search: Callable[[Sequence[AnyQuery], Mapping[str, Any]], Sequence[AnyResult]],
        capacity: int = 64,
        batch_size: int = 32,
        observe: Callable[[Sequence[float]], object] = lambda seconds: None,
    ) -> None:
        """Start the thread.

        Args:
            search: returns the result of each of several queries with the same options.
            capacity: so many searches may wait.
            batch_size: so many are embedded together at most.
            observe: called behind each turn, with the seconds that each of its searches took since it came.
        """
        self._search_together = search
        self._capacity = capacity
        self._batch_size = batch_size
        self._observe = observe
        self._waiting: deque[_WaitingSearch[AnyQuery, AnyResult]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="search", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._waiting)

    def submit(self, query: AnyQuery, options: Mapping[str, Any]) -> asyncio.Future[AnyResult]:
        """Return what will hold the result; a search that is cancelled before its turn costs nothing.

        Args:
            query: what to look for.
            options: of the search; values that can be compared.

        Raises:
            Overloaded: the queue is full.
        """
        search = _WaitingSearch[AnyQuery, AnyResult](query, options)
        with self._changed:
            if self._closed or len(self._waiting) >= self._capacity:
                raise Overloaded
            self._waiting.append(search)
            self._changed.notify()
        return asyncio.wrap_future(search.result)

    def close(self) -> None:
        """Let the thread end behind its present turn; what still waits is cancelled."""
        with self._changed:
            self._closed = True
            while self._waiting:
                self._waiting.popleft().result.cancel()
            self._changed.notify()

    def _work(self) -> None:
        while batch := self._next_turn():
            with reused_memory():
                while batch:
                    self._take_turn(batch)
                    batch = self._next_turn(_BUSY_SECONDS)

    def _take_turn(self, batch: Sequence[_WaitingSearch[AnyQuery, AnyResult]]) -> None:
        """Make the searches of a turn that nobody has cancelled."""
        alive = [search for search in batch if search.result.set_running_or_notify_cancel()]
        if alive:
            self._search(alive)
            now = time.monotonic()
            self._observe([now - search.arrival for search in alive])

    def _next_turn(self, timeout: float | None = None) -> list[_WaitingSearch[AnyQuery, AnyResult]]:
        """Return the oldest search with those that have the same options; none once the queue is closed, or where none
        came within `timeout` seconds (None: wait for one)."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed, timeout)
            if self._closed or not self._waiting:
                return []
            options = self._waiting[0].options
            alike = [search for search in self._waiting if search.options == options][: self._batch_size]
            self._waiting = deque(search for search in self._waiting if search not in alike)
            return alike

    def _search(self, searches: Sequence[_WaitingSearch[AnyQuery, AnyResult]]) -> None:
        """Give each search its result or its error; where several fail together, each is tried by itself."""
        try:
            results = self._search_together([search.query for search in searches], searches[0].options)
        except Exception as error:
            if len(searches) > 1:
                for search in searches:
                    self._search([search])
                return
            searches[0].result.set_exception(error)
        else:
            for search, result in zip(searches, results, strict=True):
                search.result.set_result(result)
