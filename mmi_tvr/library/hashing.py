"""Files that a scan has found -> contents in the catalogue, by the hash of their bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..utils.batching import in_batches
from ..utils.progress import Progress
from .catalogue import Catalogue, File
from .file_tags import Tag, hash_file, may_come_back, tag_of
from .pairing import note_unpaired
from .scan import Scan

_TOGETHER, _SECONDS = 64, 1.0  # files that are committed together, or fewer once so much time has passed


@dataclass(frozen=True, slots=True)
class FilesRead:
    """What became of the files of a scan."""

    tags: dict[Path, Tag]  # what each is
    unreachable: dict[Path, str]  # why some cannot be read of which something is known
    unsettled: list[Path]  # written so short ago that they are left to a later run


def read_files(
    catalogue: Catalogue, progress: Progress, scanned: Scan, files: Mapping[Path, File], settle: float = 0.0
) -> FilesRead:
    """Hash every file whose stamp is new, or that could not be read before, and put it into the catalogue.

    What is known of a file that cannot be read now (its disk is away, its permissions are closed) is kept, and so is
    what is known of one that was written less than `settle` seconds ago.

    Args:
        catalogue: the caller holds the writer's lock.
        progress: counts files.
        scanned: the files that there are.
        files: what the catalogue knows of them.
        settle: seconds.
    """
    tags: dict[Path, Tag] = {}
    for path, stamp in scanned.files.items():
        before = files.get(path)
        if before is not None and before.stamp == stamp and before.content is not None:
            tags[path] = "unchanged"
    unsettled = [path for path in scanned.unsettled(settle) if path not in tags]
    tags.update((path, "unchanged") for path in unsettled if path in files)
    skipped = {*tags, *unsettled}
    fresh = [path for path in scanned.files if path not in skipped]
    if fresh:
        progress.begin("reading", len(fresh))
    if fresh or catalogue.meta("unread"):
        with catalogue.transaction(is_searched=False):
            catalogue.set_meta(unread=len(fresh))  # for a search beside it, or after an interruption
            note_unpaired(catalogue, fresh)
    read = FilesRead(tags, {}, unsettled)
    writer = _Writer(catalogue, scanned, files, read)
    unread = len(fresh)
    for batch in in_batches(_hashed(fresh, scanned, progress), _TOGETHER, _SECONDS):
        unread -= len(batch)
        writer.commit(batch, unread)
    return read


_Hashed = tuple[Path, str | None, str | None]  # a file, and its SHA-256 or why it has none


def _hashed(paths: Sequence[Path], scanned: Scan, progress: Progress) -> Iterator[_Hashed]:
    for path in paths:
        sha256, reason = hash_file(path, scanned)
        progress.advance()
        yield path, sha256, reason


class _Writer:
    """Puts files into the catalogue, and notes what became of them."""

    def __init__(self, catalogue: Catalogue, scanned: Scan, files: Mapping[Path, File], read: FilesRead) -> None:
        self._catalogue = catalogue
        self._scanned = scanned
        self._files = files
        self._read = read
        self._states = catalogue.content_states()

    def commit(self, batch: Sequence[_Hashed], unread: int) -> None:
        """Put a batch into the catalogue, after which so many files have yet to be read."""
        taken = [hashed for hashed in batch if not self._keep(hashed)]
        numbers: dict[Path, int | None] = {}
        with self._catalogue.transaction(is_searched=not all(map(self._is_new, taken))):
            for path, sha256, reason in taken:
                number = numbers[path] = None if sha256 is None else self._catalogue.content_number(sha256)
                self._catalogue.put_file(path, self._scanned.files[path], number, reason)
                if number is not None and path in self._files and self._states.get(number) == "quarantined":
                    self._catalogue.set_pending([number])  # written again with the same bytes: worth another look
            self._catalogue.set_meta(unread=unread)
        for path, number in numbers.items():
            self._read.tags[path] = tag_of(self._files.get(path), number, number in self._states)
            if number is not None:
                self._states.setdefault(number, "pending")

    def _keep(self, hashed: _Hashed) -> bool:
        """Keep what is known of a file that cannot be read now; return whether it is such a one."""
        path, _, reason = hashed
        before = self._files.get(path)
        if before is None or before.content is None or reason is None or not may_come_back(path, reason):
            return False
        self._read.tags[path] = "unchanged"
        self._read.unreachable[path] = f"{reason}; what is known of it is kept"
        return True

    def _is_new(self, hashed: _Hashed) -> bool:
        """Return whether no search sees a file yet: of its path and of its bytes nothing is known, or they wait."""
        path, sha256, _ = hashed
        return path not in self._files and sha256 is not None and self._catalogue.state_of(sha256) in (None, "pending")
