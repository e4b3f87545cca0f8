"""What has been tried of one unfinished shard, on disk before it is tried."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..utils import strict_json
from ..utils.files import naming

TRIES = 2  # then an item is quarantined
CRASHED = "its worker died while working on it"
Outcome = dict[str, Any]  # JSON; with "reason" where the item is quarantined


class Journal:
    """The journal of a shard. A torn last line, as a kill leaves it, counts as not written.

    `tries` of items that were begun and neither finished nor withdrawn; `reasons` why their last try failed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.outcomes: dict[int, Outcome] = {}
        self.tries: dict[int, int] = {}
        self.reasons: dict[int, str] = {}
        text = path.read_bytes() if path.exists() else b""
        self._torn = bool(text) and not text.endswith(b"\n")
        for line in text.split(b"\n"):
            try:
                event = strict_json.loads(line)
            except ValueError:
                continue
            self._apply(event)

    def begin(self, numbers: Iterable[int]) -> None:
        """Note that these items are about to be tried."""
        self._write({"begin": list(numbers)})

    def finish(self, outcomes: Mapping[int, Outcome]) -> None:
        """Note the results of items."""
        self._write({"done": {str(number): outcome for number, outcome in outcomes.items()}})

    def fail(self, reasons: Mapping[int, str]) -> None:
        """Note why the last try of items failed."""
        self._write({"failed": {str(number): reason for number, reason in reasons.items()}})

    def withdraw(self, numbers: Iterable[int]) -> None:
        """Take back the last try of items: it was not their fault that it ended."""
        self._write({"withdrawn": list(numbers)})

    def _apply(self, event: Mapping[str, Any]) -> None:
        for number in event.get("begin", ()):
            self.tries[number] = self.tries.get(number, 0) + 1
            self.reasons[number] = CRASHED
        for number, outcome in event.get("done", {}).items():
            self.outcomes.setdefault(int(number), outcome)
        for number, reason in event.get("failed", {}).items():
            self.reasons[int(number)] = reason
        for number in event.get("withdrawn", ()):
            self.tries[number] = max(0, self.tries.get(number, 0) - 1)

    def _write(self, event: Mapping[str, Any]) -> None:
        line = (b"\n" if self._torn else b"") + json_line(event)
        with naming(self.path), self.path.open("ab") as stream:
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())
        self._torn = False
        self._apply(event)


def json_line(value: Mapping[str, Any]) -> bytes:
    """Return one line of JSON (`utils.strict_json`)."""
    return strict_json.dumps(value).encode() + b"\n"
