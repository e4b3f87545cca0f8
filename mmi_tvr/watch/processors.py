"""How busy the processors are with the work of others."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

PROC = Path("/proc")
_WINDOW = 10.0  # seconds over which the share is smoothed
_LEAST = 0.5  # seconds between two looks
_BUSY_COLUMNS = (0, 1, 2, 5, 6, 7)  # of /proc/stat: user, niced, system, irq, softirq, steal; others are idle


class Processors:
    """Reads /proc. Niced work of others counts (decision): work of the lowest priority would starve behind it.

    Where there is no /proc, the load average takes its place.
    """

    def __init__(
        self,
        our_seconds: Callable[[], float] = lambda: 0.0,
        proc: Path = PROC,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args: returns the CPU seconds that our work has used so far; where /proc lies; a clock that goes forward."""
        self._our_seconds = our_seconds
        self._proc = proc
        self._clock = clock
        self._before: tuple[float, float, float] | None = None  # when; ticks of others, and all
        self._share: float | None = None

    def share(self) -> float | None:
        """Return the share of all processors that others use, smoothed over seconds; None before the second look."""
        ticks = self._ticks()
        now = self._clock()
        if ticks is None:
            return _load()
        if self._before is None:
            self._before = (now, *ticks)
            return None
        then, busy, total = self._before
        if now - then >= _LEAST and ticks[1] > total:
            latest = min(1.0, max(0.0, (ticks[0] - busy) / (ticks[1] - total)))
            weight = min(1.0, (now - then) / _WINDOW)
            self._share = latest if self._share is None else (1 - weight) * self._share + weight * latest
            self._before = (now, *ticks)
        return self._share

    def pressure(self) -> float | None:
        """Return the share of the last 10 s in which some work waited for a processor; None where nobody measures it,
        and where there is one processor, for which our own work waits, too."""
        if (os.cpu_count() or 1) < 2:
            return None
        try:
            first = (self._proc / "pressure" / "cpu").read_text(encoding="ascii").split()
            return float(first[1].removeprefix("avg10=")) / 100
        except (OSError, ValueError, IndexError):
            return None

    def _ticks(self) -> tuple[float, float] | None:
        """Return the ticks that others were busy for, and all of them, since this machine started."""
        try:
            with (self._proc / "stat").open(encoding="ascii") as stream:
                columns = [int(text) for text in stream.readline().split()[1:9]]  # guests are counted in user
            ours = self._our_seconds() * os.sysconf("SC_CLK_TCK")
            return sum(columns[column] for column in _BUSY_COLUMNS) - ours, sum(columns)
        except (OSError, ValueError, IndexError):
            return None


def _load() -> float | None:
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except (OSError, AttributeError):  # a system without
        return None
