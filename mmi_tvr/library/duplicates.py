"""Near-duplicates of a library: the same picture or film again, saved in another size or format, or cropped a little.

Vectors propose, fingerprints decide: of each item, those whose vectors are nearest are looked at, and a pair counts
whose pictures are alike to the eye (`scoring.fingerprints`). What was found stands in `duplicates.sqlite`, by content:
an item is looked at once. Nothing is ever deleted, neither here nor in the folders.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from ..media.guarded import DecoderPool, limits
from ..protocols import Index
from ..scoring.fingerprints import LEAST, PICTURES, fingerprint, picture_likeness
from ..types import Filter, MediaFacts, Video, VideoEntry, row_ids, video_of
from ..utils.progress import Progress
from ..utils.sqlite import (
    is_writable,
    new_in_memory,
    open_read_only,
    open_to_write,
    sqlite_errors,
    transaction,
    unusable,
)
from .catalogue import Catalogue

DUPLICATES_FILE = "duplicates.sqlite"
_PURPOSE = "what is known of near-duplicates"
_NEAREST = 20  # items that are proposed for each
_TOGETHER = 64  # items that are looked at between two commits
_SIDE = 128  # pixels of the pictures that fingerprints are made of
_LONGER = 1.1  # times as long, or a second longer, may one film be than the other
_TABLES = """
    CREATE TABLE IF NOT EXISTS fingerprints (sha256 TEXT PRIMARY KEY, pictures BLOB) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS looked (sha256 TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS pairs (
        sha256 TEXT, other TEXT, likeness REAL, PRIMARY KEY (sha256, other)
    ) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class DuplicateItem:
    """An item of a group: its number, its paths, its size in bytes and what is known of it."""

    id: int
    paths: tuple[Path, ...]
    size: int
    facts: MediaFacts

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "id": self.id,
            "paths": [str(path) for path in self.paths],
            "kind": self.facts.kind,
            "bytes": self.size,
            "width": self.facts.width,
            "height": self.facts.height,
            "seconds": self.facts.seconds,
        }


@dataclass(frozen=True, slots=True)
class DuplicateReport:
    """The groups of near-duplicates, each with its largest file first, and how many items were looked at; of `unread`
    ones no file could be read."""

    groups: tuple[tuple[DuplicateItem, ...], ...]
    items: int
    unread: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract: `mmi-tvr duplicates --json`)."""
        groups = [[item.as_dict() for item in group] for group in self.groups]
        return {"groups": groups, "items": self.items, "unread": self.unread}


class DuplicateStore:
    """What is known of near-duplicates, by content. Where nothing can be written, it is forgotten again."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._db = connection

    @classmethod
    def open(cls, folder: Path) -> DuplicateStore:
        """Open that of the library in a folder, made where there is none; a damaged one is made anew."""
        path = folder / DUPLICATES_FILE
        if not is_writable(path):
            connection = new_in_memory()
            connection.executescript(_TABLES)
            return cls(path, connection)
        try:
            return cls(path, _opened(path))
        except sqlite3.OperationalError as error:  # the disk is full, or somebody holds it
            raise unusable(path, _PURPOSE, error) from error
        except sqlite3.DatabaseError:
            for name in ("", "-wal", "-shm"):
                path.with_name(path.name + name).unlink(missing_ok=True)
            with sqlite_errors(path, _PURPOSE):
                return cls(path, _opened(path))

    def close(self) -> None:
        self._db.close()

    def not_looked_at(self, hashes: Iterable[str]) -> set[str]:
        """Return those of these contents that nobody looked at."""
        return set(hashes) - {sha256 for (sha256,) in self._db.execute("SELECT sha256 FROM looked")}

    def fingerprints(self, sha256: str) -> NDArray[np.uint8] | None:
        """Return the fingerprints (P, 192) of a content; None where they were not made."""
        row = self._db.execute("SELECT pictures FROM fingerprints WHERE sha256 = ?", (sha256,)).fetchone()
        return None if row is None else np.frombuffer(row[0], np.uint8).reshape(-1, 192)

    def put_fingerprints(self, sha256: str, pictures: NDArray[np.uint8]) -> None:
        with sqlite_errors(self._path, _PURPOSE), transaction(self._db):
            self._db.execute("INSERT OR REPLACE INTO fingerprints VALUES (?, ?)", (sha256, pictures.tobytes()))

    def commit(self, looked: Iterable[str], pairs: Iterable[tuple[str, str, float]]) -> None:
        """Store which contents were looked at, and the pairs that are alike."""
        with sqlite_errors(self._path, _PURPOSE), transaction(self._db):
            self._db.executemany("INSERT OR REPLACE INTO pairs VALUES (?, ?, ?)", [*pairs])
            self._db.executemany("INSERT OR IGNORE INTO looked VALUES (?)", [(one,) for one in looked])

    def keep_only(self, hashes: Collection[str]) -> None:
        """Forget all contents but these."""
        with sqlite_errors(self._path, _PURPOSE), transaction(self._db):
            self._db.execute("CREATE TEMP TABLE IF NOT EXISTS present (sha256 TEXT PRIMARY KEY)")
            self._db.execute("DELETE FROM present")
            self._db.executemany("INSERT INTO present VALUES (?)", [(sha256,) for sha256 in hashes])
            others = "NOT IN (SELECT sha256 FROM present)"
            self._db.execute(f"DELETE FROM fingerprints WHERE sha256 {others}")
            self._db.execute(f"DELETE FROM looked WHERE sha256 {others}")
            self._db.execute(f"DELETE FROM pairs WHERE sha256 {others} OR other {others}")

    def pairs(self) -> list[tuple[str, str]]:
        return self._db.execute("SELECT sha256, other FROM pairs").fetchall()


def _opened(path: Path) -> sqlite3.Connection:
    connection = open_to_write(path)
    try:
        connection.executescript(_TABLES)
    except BaseException:
        connection.close()
        raise
    return connection


def duplicate_groups(pairs: Iterable[tuple[str, str]], numbers: Mapping[str, int]) -> list[list[int]]:
    """Return the groups of contents that pairs join, of those that have a number here, by number."""
    neighbours: defaultdict[int, set[int]] = defaultdict(set)
    for one, other in pairs:
        if one in numbers and other in numbers:
            neighbours[numbers[one]].add(numbers[other])
            neighbours[numbers[other]].add(numbers[one])
    groups, seen = [], set[int]()
    for start in sorted(neighbours):
        if start in seen:
            continue
        group, waiting = set[int](), [start]
        while waiting:
            number = waiting.pop()
            if number not in group:
                group.add(number)
                waiting += neighbours[number] - group
        groups.append(sorted(group))
        seen |= group
    return groups


class KnownDuplicates:
    """The groups of a library that were found so far, for searches: read again where its file has changed."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / DUPLICATES_FILE
        self._stamp: tuple[int, int] | None = None
        self._pairs: list[tuple[str, str]] = []
        self._groups: tuple[int, dict[int, int]] | None = None  # of a version of the catalogue

    def groups(self, catalogue: Catalogue) -> dict[int, int]:
        """Return number -> number of the first one of its group, of all items that have near-duplicates."""
        try:
            status = self._path.stat()
        except OSError:
            return {}
        stamp = (status.st_mtime_ns, status.st_size)
        if stamp != self._stamp:
            try:
                with closing(open_read_only(self._path).connection) as database:
                    self._pairs = database.execute("SELECT sha256, other FROM pairs").fetchall()
            except sqlite3.Error:  # it is being made, or damaged: a search goes without
                self._pairs = []
            self._stamp, self._groups = stamp, None
        if not self._pairs:
            return {}
        version = catalogue.data_version()
        if self._groups is None or self._groups[0] != version:
            groups = duplicate_groups(self._pairs, _numbers(catalogue))
            self._groups = version, {number: group[0] for group in groups for number in group}
        return self._groups[1]


def look_for_duplicates(folder: Path, catalogue: Catalogue, index: Index, progress: Progress) -> DuplicateReport:
    """Look at the items of a library that nobody looked at yet, and return all groups of near-duplicates.

    Args:
        folder: of the library.
        catalogue: of the library.
        index: its vectors.
        progress: hears of the items.
    """
    numbers = _numbers(catalogue)
    by_number = {number: sha256 for sha256, number in numbers.items()}
    unread: set[str] = set()
    with closing(DuplicateStore.open(folder)) as store, DecoderPool(limits()) as decoders:
        store.keep_only(catalogue.content_hashes())
        waiting = sorted(numbers[sha256] for sha256 in store.not_looked_at(numbers))
        progress.begin("looking for near-duplicates", len(waiting))
        for first in range(0, len(waiting), _TOGETHER):
            some = waiting[first : first + _TOGETHER]
            proposed = _proposed(index, some)
            entries = catalogue.entries({number for pair in proposed for number in pair})
            reader = _FingerprintReader(store, decoders, by_number, entries)
            pairs = []
            for one, other in proposed:
                if one in entries and other in entries and _can_be_alike(entries[one].facts, entries[other].facts):
                    likeness = reader.likeness(one, other)
                    if likeness is not None and likeness >= LEAST:
                        pairs.append((by_number[one], by_number[other], likeness))
            unread |= reader.unread
            looked = [by_number[number] for number in some if by_number[number] not in reader.unread]
            store.commit(looked, pairs)
            progress.advance(len(some))
        groups = duplicate_groups(store.pairs(), numbers)
    entries = catalogue.entries(number for group in groups for number in group)
    items = [[_item(number, entries[number]) for number in group if number in entries] for group in groups]
    ordered = [tuple(sorted(group, key=lambda item: (-item.size, item.id))) for group in items if len(group) > 1]
    return DuplicateReport(tuple(ordered), len(numbers), len(unread))


def forget_other_duplicates(folder: Path, catalogue: Catalogue) -> None:
    """Forget what is known of contents that a library has no more."""
    if (folder / DUPLICATES_FILE).is_file():
        with closing(DuplicateStore.open(folder)) as store:
            store.keep_only(catalogue.content_hashes())


class _FingerprintReader:
    """Fingerprints of items, out of the store, or made of their files. `unread`: contents without a usable file."""

    def __init__(
        self,
        store: DuplicateStore,
        decoders: DecoderPool,
        hashes: Mapping[int, str],
        entries: Mapping[int, VideoEntry],
    ) -> None:
        self._store = store
        self._decoders = decoders
        self._hashes = hashes
        self._entries = entries
        self.unread: set[str] = set()

    def likeness(self, one: int, other: int) -> float | None:
        """Return how alike two items are to the eye; None where one of them cannot be looked at."""
        fingerprints = [self._of(number) for number in (one, other)]
        left, right = fingerprints
        return None if left is None or right is None else picture_likeness(left, right)

    def _of(self, number: int) -> NDArray[np.uint8] | None:
        sha256, entry = self._hashes[number], self._entries[number]
        stored = self._store.fingerprints(sha256)
        if stored is not None or sha256 in self.unread:
            return stored
        path = next((path for path in entry.paths if path.exists()), None)
        try:
            if path is None:
                raise MediaError(entry.paths[0], "is away")
            made_of_file = _fingerprints(path, entry.facts, self._decoders)
        except MediaError:
            self.unread.add(sha256)
            return None
        self._store.put_fingerprints(sha256, made_of_file)
        return made_of_file


def _fingerprints(path: Path, facts: MediaFacts, decoders: DecoderPool) -> NDArray[np.uint8]:
    """Return the fingerprints of a still (1, 192), or of a film at equal shares of its length (PICTURES, 192)."""
    video = Video(path, picture=facts.kind == "image")
    if facts.is_still:
        _, frames = decoders.sample(video, 1.0, 1, _SIDE)
        return fingerprint(frames.pixels[0])[None]
    seconds = max(facts.seconds, 0.1)
    _, frames = decoders.sample(video, PICTURES / seconds, PICTURES, _SIDE)
    middles = (np.arange(PICTURES) + 0.5) * seconds / PICTURES
    shown = np.maximum(np.searchsorted(frames.times, middles + 1e-3, side="right") - 1, 0)
    return np.stack([fingerprint(frames.pixels[row]) for row in shown])


def _can_be_alike(one: MediaFacts, other: MediaFacts) -> bool:
    """Return whether two items can be the same: both stills, or films of nearly one length."""
    if one.is_still or other.is_still:
        return one.is_still and other.is_still
    shorter, longer = sorted((one.seconds, other.seconds))
    return longer <= max(_LONGER * shorter, shorter + 1.0)


def _proposed(index: Index, numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Return pairs of each of these items with those whose vectors are nearest, the smaller number first."""
    vectors = index.get(np.concatenate([row_ids(number, 0) for number in numbers]))
    _, ids = index.search(vectors, _NEAREST + 1, Filter(level="video"))
    pairs = {
        (min(number, other), max(number, other))
        for number, row in zip(numbers, ids, strict=True)
        for other in video_of(row[row >= 0]).tolist()
        if other != number
    }
    return sorted(pairs)


def _numbers(catalogue: Catalogue) -> dict[str, int]:
    """Return SHA-256 -> number of the contents that can be searched by what is seen in them."""
    return {sha256: number for number, sha256 in catalogue.hashes_of(catalogue.searchable()).items()}


def _item(number: int, entry: VideoEntry) -> DuplicateItem:
    size = next((path.stat().st_size for path in entry.paths if path.exists()), 0)
    return DuplicateItem(number, entry.paths, size, entry.facts)
