"""CPU seconds that a watcher used in the last hour and day, on disk: neither a restart nor a kill renews a budget."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ..utils.files import write_atomically

BUDGET_FILE = "watch.budget"
HOUR, DAY = 3600.0, 86400.0
_BIN = 300.0  # seconds that are counted together
_SAVE_SECONDS = 60.0  # what a kill forgets at most


class BudgetLedger:
    """What was used, in steps of five minutes. A file that cannot be read counts as empty."""

    def __init__(self, folder: Path, now: Callable[[], float] = time.time) -> None:
        self.total = 0.0  # that this object was told of
        self._path = folder / BUDGET_FILE
        self._now = now
        self._used: dict[int, float] = {}  # number of a step -> CPU seconds
        self._saved_at = now()
        with suppress(OSError, ValueError, TypeError, AttributeError):
            self._used = {
                int(step): max(0.0, float(used)) for step, used in json.loads(self._path.read_bytes()).items()
            }

    def add(self, seconds: float) -> None:
        """Count CPU seconds, and write them down now and then."""
        if seconds <= 0:
            return
        self.total += seconds
        step = int(self._now() // _BIN)
        self._used[step] = self._used.get(step, 0.0) + seconds
        if not 0 <= self._now() - self._saved_at < _SAVE_SECONDS:
            self.save()

    def used(self, span: float) -> float:
        """Return the CPU seconds of the last so many seconds. What lies in the future, because the clock was wrong,
        does not count."""
        now = self._now()
        return sum(used for step, used in self._used.items() if now - span < (step + 1) * _BIN and step * _BIN <= now)

    def save(self) -> None:
        """Write down what counts for a day; a full disk is no reason to stop (decision)."""
        now = self._now()
        self._saved_at = now
        self._used = {step: used for step, used in self._used.items() if now - DAY < (step + 1) * _BIN <= now + _BIN}
        with suppress(OSError):
            write_atomically(
                self._path, json.dumps({step: round(used, 2) for step, used in self._used.items()}).encode()
            )
