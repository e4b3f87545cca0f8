"""One writer at a time: an operating system's lock, which a killed process cannot leave behind."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import LibraryBusy, LibraryReadOnly
from ..utils.files import naming

LOCK = "writer.lock"
HOLDER = "writer.json"  # who holds the lock; left over after a kill, so it means something only while the lock is held


@contextmanager
def writing(folder: Path, wait: float, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the writer's lock of a library.

    While another process holds it, `say` hears who, and after `wait` seconds LibraryBusy is raised. Raises
    LibraryReadOnly where nothing can be written.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if wait > 0:
            say(f"waiting up to {wait:.0f} s for {holder(folder)}, which is writing to {folder}")
        try:
            lock.acquire(timeout=max(0.0, wait), poll_interval=0.1)
        except Timeout:
            raise LibraryBusy(f"{folder}: {holder(folder)} is writing to it; try again when it is done") from None
    except OSError as error:
        raise LibraryReadOnly(folder, error.strerror or str(error)) from error
    try:
        record = {
            "pid": os.getpid(),
            "host": platform.node(),
            "command": Path(sys.argv[0]).name or "python",
            "since": datetime.now().astimezone().isoformat(timespec="seconds"),
        }
        with naming(folder / HOLDER):
            (folder / HOLDER).write_text(json.dumps(record), encoding="utf-8")
        yield
    finally:
        (folder / HOLDER).unlink(missing_ok=True)
        lock.release()


def holder(folder: Path) -> str:
    """Return who holds the lock, as a phrase: 'process 4711 on host (mmi-tvr, since ...)'."""
    try:
        record = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
        return f"process {record['pid']} on {record['host']} ({record['command']}, since {record['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"  # it has only just taken the lock


def writer(folder: Path) -> str | None:
    """Return who is writing at present, as `holder`; None where nobody is, or where it cannot be found out: in a folder
    that cannot be written, the lock cannot be tried."""
    if not (folder / HOLDER).exists():  # the usual case: nobody, and nothing is touched to find out
        return None
    try:
        with FileLock(folder / LOCK, timeout=0):
            return None
    except Timeout:
        return holder(folder)
    except OSError:
        return None
