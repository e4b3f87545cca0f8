"""One pause for all work that nobody waits for: a watcher's, and the indexing run of a service.

It is a file in the library's folder, so any process can set and lift it, and it outlives a restart. A command that a
person gives (`mmi-tvr index`) does not look at it: they wait for the result.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import LibraryReadOnly
from ..utils.files import write_atomically

PAUSE_FILE = "watch.pause"


@dataclass(frozen=True, slots=True)
class Pause:
    """Since when work is paused, and until when (seconds of `time.time`; None: until somebody lifts it)."""

    since: float
    until: float | None = None


def pause(folder: Path, seconds: float | None = None) -> Pause:
    """Pause the work of the library in a folder, for so many seconds (None: until it is resumed).

    Raises LibraryReadOnly where nothing can be written.
    """
    now = time.time()
    entry = Pause(now, None if seconds is None else now + seconds)
    try:
        write_atomically(folder / PAUSE_FILE, json.dumps({"since": entry.since, "until": entry.until}).encode())
    except OSError as error:
        raise LibraryReadOnly(folder, error.strerror or str(error)) from error
    return entry


def resume(folder: Path) -> bool:
    """Lift the pause of a library; return whether there was one. Raises LibraryReadOnly where it cannot be lifted."""
    was_paused = current_pause(folder) is not None
    try:
        (folder / PAUSE_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise LibraryReadOnly(folder, error.strerror or str(error)) from error
    return was_paused


def current_pause(folder: Path, now: float | None = None) -> Pause | None:
    """Return the pause that holds for a library; None where there is none (any more).

    A file that cannot be read is a pause without an end (decision): somebody meant one.
    """
    try:
        text = (folder / PAUSE_FILE).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return Pause(0.0)
    entry = Pause(0.0)
    with suppress(ValueError, KeyError, TypeError):
        values = json.loads(text)
        until = values["until"]
        entry = Pause(float(values["since"]), None if until is None else float(until))
    now = time.time() if now is None else now
    return None if entry.until is not None and entry.until <= now else entry
