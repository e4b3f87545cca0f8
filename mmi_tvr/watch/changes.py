"""Which folders changed, and whether what changed in them is quiet by now.

A folder is due once one of its changed files was quiet for long enough, so a file that grows for hours wakes nobody,
and holds up no other. What is due is looked at as a whole: which files are new is `Library.index`'s business, so events
may be lost as long as one arrives.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from pathlib import Path


class Changes:
    """Changed folders. Events come from other threads; times are seconds of any clock that only goes forward."""

    def __init__(self, settle: float) -> None:
        """Args: the seconds that a file has to be quiet for."""
        self._settle = settle
        self._lock = threading.Lock()
        self._latest: dict[Path, dict[str, float]] = {}  # folder -> changed file -> its latest event
        self._due: set[Path] = set()

    def note(self, folder: Path, file: str, now: float) -> None:
        """Note that a file below a watched folder was written, moved or deleted now."""
        with self._lock:
            self._latest.setdefault(folder, {})[file] = now

    def note_all(self, folders: Collection[Path]) -> None:
        """Note that anything may have changed in these folders: they are due."""
        with self._lock:
            self._due.update(folders)

    def forget(self, folder: Path) -> None:
        """Forget what is known of a folder that is away."""
        with self._lock:
            self._latest.pop(folder, None)
            self._due.discard(folder)

    def is_due(self, now: float) -> bool:
        """Return whether a folder is to be looked at."""
        with self._lock:
            self._settle_files(now)
            return bool(self._due)

    def next_due(self, now: float) -> float | None:
        """Return in how many seconds a folder will be due as things are; None: none changed."""
        with self._lock:
            if self._due:
                return 0.0
            times = [time for files in self._latest.values() for time in files.values()]
            return max(0.0, min(times) + self._settle - now) if times else None

    def take(self, now: float) -> list[Path]:
        """Return the folders that are to be looked at, and count them as looked at; none where none is due.

        With those that are due come all others in which something changed: a file that was moved from one to another
        is then known by its content, and costs nothing.
        """
        with self._lock:
            self._settle_files(now)
            if not self._due:
                return []
            folders = sorted(self._due | self._latest.keys())
            self._due.clear()
            return folders

    def _settle_files(self, now: float) -> None:
        for folder, files in list(self._latest.items()):
            quiet = [file for file, time in files.items() if now - time >= self._settle]
            for file in quiet:
                del files[file]
            if quiet:
                self._due.add(folder)
            if not files:
                del self._latest[folder]
