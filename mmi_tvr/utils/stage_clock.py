"""Seconds by stage of one query, or of several together."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class StageClock:
    """Seconds by stage, of one query or of several together; `spent` came before the clock started."""

    def __init__(self, stages: Mapping[str, float] | None = None, spent: float = 0.0) -> None:
        self._started = time.perf_counter()
        self._stages = dict(stages or {})
        self._spent = spent

    def __add__(self, other: StageClock) -> StageClock:
        """Return a clock, started now, that begins with what both have."""
        return StageClock(self._stages | other._stages, self._spent + other._spent)

    def share(self, count: int) -> StageClock:
        """Return a clock with the part of one of `count` queries."""
        spent = self._spent + time.perf_counter() - self._started
        return StageClock({name: seconds / count for name, seconds in self._stages.items()}, spent / count)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._stages[name] = time.perf_counter() - started

    def add(self, stage: str, parts: Mapping[str, float]) -> None:
        """Note the seconds of a stage's parts."""
        self._stages |= {f"{stage}.{part}": seconds for part, seconds in parts.items()}

    def seconds(self) -> dict[str, float]:
        return {**self._stages, "total": self._spent + time.perf_counter() - self._started}
