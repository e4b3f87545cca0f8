"""One watcher a library, and what it says of itself to other processes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import LibraryBusy, LibraryReadOnly
from ..library import Library
from ..library.pausing import current_pause
from .budget import DAY, HOUR, BudgetLedger

LOCK_FILE = "watch.lock"  # held while a watcher runs; a kill gives it back
STATUS_FILE = "watch.status"


@contextmanager
def only_watcher(folder: Path) -> Iterator[None]:
    """Hold the lock of a library's watcher.

    Raises:
        LibraryBusy: another process watches.
        LibraryReadOnly: nothing can be written where the library lies.
    """
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=0.5, poll_interval=0.05)  # who asks whether a watcher runs holds it for a moment
    except Timeout:
        pid = read_status(folder).get("pid")
        who = f"process {pid}" if pid else "another process"
        raise LibraryBusy(
            f"{folder}: {who} is watching for it already; mmi-tvr watch status shows what it does"
        ) from None
    except OSError as error:
        raise LibraryReadOnly(folder, error.strerror or str(error)) from error
    try:
        yield
    finally:
        with suppress(OSError):
            (folder / STATUS_FILE).unlink(missing_ok=True)
            (folder / f"{STATUS_FILE}.tmp").unlink(missing_ok=True)
            if not Library(folder).exists:  # the first run failed: nothing of a watcher stays
                (folder / LOCK_FILE).unlink(missing_ok=True)
        lock.release()


def is_watched(folder: Path) -> bool:
    """Return whether a watcher runs for a library. In a folder that cannot be written nobody can."""
    if not (folder / LOCK_FILE).exists():
        return False
    try:
        with FileLock(folder / LOCK_FILE, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def write_status(folder: Path, document: Mapping[str, Any]) -> None:
    """Write what a watcher does. Neither a full disk nor a power cut matters (decision): it is written every few
    seconds, and means something only while the watcher runs."""
    draft = folder / f"{STATUS_FILE}.tmp"
    with suppress(OSError):
        draft.write_text(json.dumps({"pid": os.getpid(), **document}), encoding="ascii")
        os.replace(draft, folder / STATUS_FILE)


def read_status(folder: Path) -> dict[str, Any]:
    """Return what a watcher wrote; empty where it wrote nothing that can be read."""
    with suppress(OSError, ValueError):
        document = json.loads((folder / STATUS_FILE).read_bytes())
        if isinstance(document, dict):
            return document
    return {}


def status_document(folder: Path) -> dict[str, Any]:
    """Return what the watcher of a library does, as plain values for JSON (`mmi-tvr watch status --json`).

    `state` is working, waiting (with the `reason`), watching (nothing is to be done) or stopped (no watcher runs).
    `paused` says since when and until when the library is paused, whether or not a watcher runs.
    """
    running = is_watched(folder)
    document = read_status(folder) if running else {}
    pause = current_pause(folder)
    ledger = BudgetLedger(folder)
    return {
        "library": str(folder),
        "running": running,
        "pid": document.get("pid"),
        "state": document.get("state", "starting") if running else "stopped",
        "reason": document.get("reason"),
        "since": document.get("since"),
        "paused": None if pause is None else {"since": stamp(pause.since), "until": stamp(pause.until)},
        "folders": document.get("folders", []),
        "progress": document.get("progress"),
        "last_run": document.get("last_run"),
        "idle_by": document.get("idle_by"),
        "cpu_seconds": {"hour": round(ledger.used(HOUR), 1), "day": round(ledger.used(DAY), 1)},
        "budget": document.get("budget"),
    }


def stamp(seconds: float | None) -> str | None:
    """Return a time of `time.time` as JSON has it, with its offset; None for None."""
    return None if seconds is None else datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")
