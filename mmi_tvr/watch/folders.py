"""Events of watched folders, by watchdog: inotify on Linux, what there is elsewhere.

Events only wake a watcher, so what they miss (a network share, links into other folders, more folders than the system
watches) costs no more than the time to the next rescan.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from ..library.pausing import PAUSE_FILE
from ..media.listing import STOPS, is_hidden
from ..media.names import is_media
from ..utils.files import file_identity
from ..utils.installation import require
from .changes import Changes

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers.api import BaseObserver, ObservedWatch

MOUNTS = Path("/proc/self/mountinfo")
_LIMITS = frozenset((errno.ENOSPC, errno.EMFILE))  # no more folders, or no more programs, can be watched
_LIMIT_ADVICE = "raise fs.inotify.max_user_watches for events"
Identity = tuple[int, int]  # device and inode of a folder
How = Literal["events", "rescans", "away"]


@dataclass(slots=True)
class _WatchedFolder:
    identity: Identity | None = None  # None: away
    watch: ObservedWatch | None = None  # None: rescans have to do


class ScannedFolders:
    """Folders of which no events are wanted, because they are looked at once."""

    only_rescans = True

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders

    def check(self) -> None: ...

    def states(self) -> dict[Path, How]:
        """Return which folders are there."""
        return {folder: "rescans" if folder.is_dir() else "away" for folder in self._folders}

    def present(self) -> list[Path]:
        """Return the folders that are there."""
        return [folder for folder in self._folders if folder.is_dir()]


class WatchedFolders:
    """Folders and what happens in them; one that goes away and comes back is watched again.

    `say` hears what a person should know: that a limit of the system is reached.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        library: Path,
        changes: Changes,
        wake: Callable[[], object],
        say: Callable[[str], object],
    ) -> None:
        """Begin to watch.

        Args:
            folders: real paths; each may be away.
            library: its folder, in which a pause wakes the watcher, and nothing else counts.
            changes: what notes them.
            wake: called, from another thread, when something may have to be done.
            say: takes a line.

        Raises:
            MissingExtra: watchdog is not installed.
        """
        require("watchdog", "watch")
        from watchdog.observers import Observer

        self._library, self._changes, self._wake, self._say = library, changes, wake, say
        self._folders = {folder: _WatchedFolder() for folder in folders}
        self._observer: BaseObserver | None = None
        self._library_watch: ObservedWatch | None = None
        self._limited = False
        self._mounts = b""
        with suppress(OSError):  # EMFILE: no instance of inotify is left
            self._observer = Observer()
            self._observer.start()
        if self._observer is None:
            self._say_limited()

    def close(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(1.0)

    @property
    def only_rescans(self) -> bool:
        """Return whether some folder is there of which no events come."""
        return self._limited or any(entry.identity and entry.watch is None for entry in self._folders.values())

    def states(self) -> dict[Path, How]:
        """Return how the watcher learns of changes in each folder."""
        limited: How = "rescans" if self._limited else "events"
        return {
            folder: "away" if entry.identity is None else "rescans" if entry.watch is None else limited
            for folder, entry in self._folders.items()
        }

    def present(self) -> list[Path]:
        """Return the folders that are there."""
        return [folder for folder, entry in self._folders.items() if entry.identity is not None]

    def check(self) -> None:
        """Look whether folders came, went, or are others than they were, and what is mounted.

        A folder that came is due; of one that went nothing is, so a disk that is unplugged costs nothing.
        """
        changed = False
        for folder, entry in self._folders.items():
            identity = file_identity(folder)
            if identity != entry.identity:
                changed = True
                self._unwatch(entry)
                entry.identity = identity
                if identity is None:
                    self._changes.forget(folder)
                else:
                    entry.watch = self._watch(folder)
                    self._changes.note_all([folder])
        mounts = _read(MOUNTS)
        if mounts != self._mounts:
            if self._mounts:
                self._changes.note_all(self.present())  # something may be mounted below one
            self._mounts = mounts
        if changed or self._library_watch is None:
            self._watch_library()

    def _watch(self, folder: Path) -> ObservedWatch | None:
        if self._observer is None:
            return None
        try:
            return self._observer.schedule(
                cast("FileSystemEventHandler", _Handler(partial(self._on_event, folder))),
                str(folder),
                recursive=True,
                event_filter=_noted_events(),
            )
        except OSError as error:
            if error.errno in _LIMITS:
                self._say_limited()
            return None

    def _unwatch(self, entry: _WatchedFolder) -> None:
        watch, entry.watch = entry.watch, None
        if watch is not None and self._observer is not None:
            with suppress(KeyError, OSError):  # it ended by itself when the folder was deleted
                self._observer.unschedule(watch)

    def _watch_library(self) -> None:
        """Watch the library's folder, for pauses: the last watch of all, so that it says whether a limit is reached.

        watchdog passes over folders below others that it cannot watch.
        """
        if self._observer is None or not self._library.is_dir():
            return
        if self._library_watch is not None:
            with suppress(KeyError, OSError):
                self._observer.unschedule(self._library_watch)
            self._library_watch = None
        try:
            self._library_watch = self._observer.schedule(
                cast("FileSystemEventHandler", _Handler(self._on_library_event)),
                str(self._library),
                event_filter=_noted_events(),
            )
        except OSError as error:
            if error.errno in _LIMITS:
                self._say_limited()

    def _say_limited(self) -> None:
        if not self._limited:
            self._limited = True
            self._say(f"the system watches no more folders for us: rescans take their place ({_LIMIT_ADVICE})")

    def _on_event(self, folder: Path, event: FileSystemEvent) -> None:
        paths = [os.fsdecode(path) for path in (event.src_path, event.dest_path) if path]
        for path in paths:
            if self._is_of_concern(folder, path, event.is_directory):
                self._changes.note(folder, path, time.monotonic())
                self._wake()

    def _is_of_concern(self, folder: Path, path: str, is_directory: bool) -> bool:
        """Return whether a scan would look at a path: not hidden, not the library itself, a folder or a media file."""
        file = Path(path)
        if file.is_relative_to(self._library) or not file.is_relative_to(folder):
            return False
        *above, name = file.relative_to(folder).parts or ("",)
        if any(map(is_hidden, above)):
            return False
        if name in STOPS:  # all beside it is left out from now on, or no more
            return True
        return not is_hidden(name) and (is_directory or is_media(name))

    def _on_library_event(self, event: FileSystemEvent) -> None:
        if any(os.fsdecode(path).endswith(PAUSE_FILE) for path in (event.src_path, event.dest_path) if path):
            self._wake()


class _Handler:
    """What watchdog calls with each event (its `FileSystemEventHandler`, of which it needs no more)."""

    def __init__(self, note: Callable[[FileSystemEvent], None]) -> None:
        self._note = note

    def dispatch(self, event: FileSystemEvent) -> None:
        """Pass an event on."""
        self._note(event)


def _noted_events() -> list[type[FileSystemEvent]]:
    """Return the kinds of events that say that something changed; opening and reading are none."""
    from watchdog import events

    return [
        events.FileCreatedEvent,
        events.FileModifiedEvent,
        events.FileClosedEvent,
        events.FileMovedEvent,
        events.FileDeletedEvent,
        events.DirCreatedEvent,
        events.DirMovedEvent,
        events.DirDeletedEvent,
    ]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
