"""The media files of a folder: by suffix, nothing hidden, nothing excluded, every real folder once."""

from __future__ import annotations

import fnmatch
import os
import stat
import time
from collections import Counter, deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..media.listing import STOPS, visible
from ..media.names import is_media
from ..utils.names import composed
from ..utils.wording import counted

_SOURCE_CODE = frozenset((".ts", ".mts"))  # TypeScript has these suffixes, too
UNREADABLE = (-1, -1)  # the stamp of a file whose stat fails
NOT_A_FILE = "not a regular file"


@dataclass(frozen=True, slots=True)
class Root:
    """An indexed folder (real path) and the glob patterns of what is left out below it.

    A pattern without a slash is held against every name on the way down, one with a slash against the path from
    the root (`*` crosses slashes). Both are compared in the composed form of Unicode.
    """

    path: Path
    exclude: tuple[str, ...] = ()

    def excludes(self, path: Path) -> bool:
        """Return whether a path below the root matches one of the patterns."""
        if not self.exclude:
            return False
        below = PurePosixPath(composed(path.relative_to(self.path).as_posix()))
        return any(
            fnmatch.fnmatch(str(below) if "/" in pattern else below.name, composed(pattern.strip("/")))
            for pattern in self.exclude
        )


@dataclass(slots=True)
class Scan:
    """What a walk saw: files with their stamps (size, mtime_ns), and what it could not look at, with the reason."""

    files: dict[Path, tuple[int, int]] = field(default_factory=dict)
    refused: dict[Path, str] = field(default_factory=dict)  # files, also in `files` with the stamp UNREADABLE
    unreadable: dict[Path, str] = field(default_factory=dict)  # folders
    mounts: set[Path] = field(default_factory=set)  # folders below the roots that lie on another disk than their parent
    others: Counter[Path] = field(default_factory=Counter)  # of each root: how many files are no media

    def add(self, path: Path) -> None:
        """Add one file with its stamp. Raises FileNotFoundError where there is none."""
        try:
            status = path.stat()
        except FileNotFoundError:
            if not path.is_symlink():
                raise
            self._refuse(path, "a link that points to nothing")
        except OSError as error:
            self._refuse(path, error.strerror or str(error))
        else:
            if stat.S_ISREG(status.st_mode):
                self.files[path] = (status.st_size, status.st_mtime_ns)
            else:
                self._refuse(path, NOT_A_FILE)

    def unsettled(self, seconds: float) -> list[Path]:
        """Return the files that were written less than so many seconds ago: they may be growing.

        A time of modification in the future says nothing about that (decision): such a file counts as settled, because
        it would never be taken in otherwise.
        """
        now = time.time_ns()
        return [path for path, (_, modified) in self.files.items() if 0 <= now - modified < seconds * 1e9]

    def _refuse(self, path: Path, reason: str) -> None:
        self.files[path] = UNREADABLE
        self.refused[path] = reason

    def contents_without_media(self, root: Path) -> str:
        """Return what a folder without media holds: 'holds 1 other file and no video, picture or recording'."""
        others = self.others[root]
        if not others:
            return "holds no video, picture or recording, nor any other file"
        return f"holds {counted(others, 'other file')} and no video, picture or recording"


def is_away(path: Path) -> bool:
    """Return whether the folder in which a missing file was is gone or empty, as that of an unplugged disk.

    Of a link, it is the folder that the link points into.
    """
    try:
        with os.scandir(os.path.dirname(os.path.realpath(path))) as listing:
            return next(listing, None) is None
    except OSError:
        return True


def real_path(path: Path) -> Path:
    """Return an absolute path whose folders are resolved; a file that is itself a link keeps its name.

    So one file has one name whichever way its folder was reached.
    """
    text = os.path.abspath(path)  # os.path throughout: pathlib raises for what cannot be looked at
    if os.path.isdir(text):
        return Path(os.path.realpath(text))
    return Path(os.path.realpath(os.path.dirname(text)), os.path.basename(text))


def owner(path: Path, roots: Collection[Path]) -> Path | None:
    """Return the root that a path belongs to: the deepest one at or above it."""
    return next((above for above in (path, *path.parents) if above in roots), None)


def owners(paths: Iterable[Path], roots: Collection[Path]) -> dict[Path, Path | None]:
    """Return `owner` of each path; it is looked for once a folder."""
    of_folder: dict[str, Path | None] = {}
    owned: dict[Path, Path | None] = {}
    for path in paths:
        folder = os.path.dirname(path)
        if folder not in of_folder:
            of_folder[folder] = owner(path.parent, roots)
        owned[path] = path if path in roots else of_folder[folder]
    return owned


def scan(roots: Sequence[Root], known: Collection[Path] = (), skip: Path | None = None) -> Scan:
    """Return every media file below these roots; a walk stops at folders of `known` (roots too) and at `skip`.

    Each real folder is walked once, so overlapping roots and loops of links are harmless. Links to folders come last
    and are followed only out of the known roots: what has a name of its own there is walked by that name. A folder that
    is marked as left out (`.nomedia`) is, with all below it, unless it is a root: that was named, and is meant.
    """
    result = Scan()
    visited: set[tuple[int, int]] = set()  # (device, inode) of folders
    all_roots = {*known, *(root.path for root in roots)}
    linked: deque[tuple[Path, Root, int | None]] = deque()  # with the device that the parent lies on
    waiting: deque[tuple[Path, Root, int | None]] = deque((root.path, root, None) for root in roots)
    while waiting or linked:
        folder, root, device_above = waiting.popleft() if waiting else linked.popleft()
        if folder.is_symlink() and owner(folder.resolve(), all_roots) is not None:
            continue
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            if device_above not in (None, status.st_dev):
                result.mounts.add(folder)
            with os.scandir(folder) as listing:
                entries = {entry.name: entry for entry in listing}
        except OSError as error:
            result.unreadable[folder] = error.strerror or str(error)
            continue
        for name in visible(entries.keys() - STOPS if folder == root.path else entries):
            entry = entries[name]
            path = Path(entry.path)
            if root.excludes(path):
                continue
            if _is_folder(entry):
                if entry.is_symlink():
                    linked.append((path, root, None))
                elif path not in all_roots and path != skip:
                    waiting.append((path, root, status.st_dev))
            elif is_media(name):
                _add_medium(result, path)
            else:
                _add_other(result, root.path, path)
    return result


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that runs in a circle, or into a folder that is closed to us
        return False


def _add_medium(result: Scan, path: Path) -> None:
    """Add a file with the suffix of a medium, unless it is source code or has vanished since it was listed."""
    try:
        if path.suffix.lower() not in _SOURCE_CODE or _is_transport_stream(path):
            result.add(path)
    except FileNotFoundError:
        return


def _add_other(result: Scan, root: Path, path: Path) -> None:
    """Count a file that is no medium, for its root; a link into a folder that is away counts as unreadable."""
    if path.is_symlink() and not os.path.exists(path) and is_away(path):
        result.unreadable[path] = "a link into a folder that is gone or empty; what is known of it is kept"
        return
    result.others[root] += 1


def _is_transport_stream(path: Path) -> bool:
    """Return whether a file starts like MPEG-TS: its sync byte stands first, or behind a 4-byte time code."""
    try:
        with path.open("rb") as stream:
            start = stream.read(5)
    except OSError:
        return True  # `Scan.add` will say why it cannot be read
    return start[:1] == b"G" or start[4:5] == b"G"
