"""Near-duplicates of a library: the same picture or film again, saved in another size or format, or cropped a little.

Vectors propose, fingerprints decide: of each item, those whose vectors are nearest are looked at, and a pair counts
whose pictures are alike to the eye (`scoring.fingerprints`). What was found stands in `duplicates.sqlite`, by content:
an item is looked at once. Nothing is ever deleted, neither here nor in the folders.

Fingerprints are made when an item is decoded for its features, and lie beside these: `index` compares what it has
embedded, and decodes nothing for it. Items without (their features are from before there were any) are decoded by
`duplicates` alone.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from ..features.cache import FeatureCache
from ..media.guarded import DecoderPool, limits
from ..protocols import Index
from ..scoring.fingerprints import FOLDED, LEAST, MOST_PICTURES, may_be_copies, video_fingerprints, video_likeness
from ..types import Filter, MediaFacts, Video, VideoEntry, row_ids, video_of
from ..utils.progress import Progress
from ..utils.sqlite import (
    ObservedDatabase,
    is_writable,
    new_in_memory,
    open_to_write,
    sqlite_errors,
    transaction,
    unusable,
)
from .catalogue import Catalogue

DUPLICATES_FILE = "duplicates.sqlite"
_PURPOSE = "what is known of near-duplicates"
_NEAREST = 20  # items that are proposed for each
_REMEMBERED = 4096  # items whose fingerprints are in memory, 12 KB each
_TOGETHER = 64  # items that are looked at between two commits
_SIDE = 128  # pixels of the pictures that fingerprints are made of
_FPS = 2.0  # pictures of a film that are compared
_VERSION = 2  # of the fingerprints, and of what counts as alike: what was made by another one is forgotten
_TABLES = f"""
    PRAGMA user_version = {_VERSION};
    CREATE TABLE IF NOT EXISTS fingerprints (sha256 TEXT PRIMARY KEY, pictures BLOB) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS fresh (sha256 TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS looked (sha256 TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS pairs (
        sha256 TEXT, other TEXT, likeness REAL, PRIMARY KEY (sha256, other)
    ) WITHOUT ROWID;
"""
_NO_GROUPS: Mapping[int, int] = {}
_NAMES = ("fingerprints", "fresh", "looked", "pairs")


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

    def fresh(self) -> set[str]:
        """Return the contents that runs of `index` have embedded and not compared."""
        return {sha256 for (sha256,) in self._db.execute("SELECT sha256 FROM fresh")}

    def add_fresh(self, hashes: Iterable[str]) -> None:
        with sqlite_errors(self._path, _PURPOSE), transaction(self._db):
            self._db.executemany("INSERT OR IGNORE INTO fresh VALUES (?)", [(one,) for one in hashes])

    def clear_fresh(self) -> None:
        with sqlite_errors(self._path, _PURPOSE), transaction(self._db):
            self._db.execute("DELETE FROM fresh")

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
            self._db.execute(f"DELETE FROM fresh WHERE sha256 {others}")
            self._db.execute(f"DELETE FROM looked WHERE sha256 {others}")
            self._db.execute(f"DELETE FROM pairs WHERE sha256 {others} OR other {others}")

    def pairs(self) -> list[tuple[str, str]]:
        return self._db.execute("SELECT sha256, other FROM pairs").fetchall()


def _opened(path: Path) -> sqlite3.Connection:
    connection = open_to_write(path)
    try:
        if connection.execute("PRAGMA user_version").fetchone() != (_VERSION,):
            connection.executescript("".join(f"DROP TABLE IF EXISTS {table};" for table in _NAMES))
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
    """The groups of a library that were found so far, for searches: read again where somebody has written."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / DUPLICATES_FILE
        self._file: ObservedDatabase | None = None
        self._pairs: list[tuple[str, str, float]] = []
        self._groups: tuple[str, dict[int, int]] | None = None  # of a revision of the catalogue

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def groups(self, catalogue: Catalogue, revision: str) -> Mapping[int, int]:
        """Return number -> number of the first one of its group, of all items that a search shows as one.

        Args:
            catalogue: of the library.
            revision: of the catalogue.

        Decision: films have to be more alike (`FOLDED`) than those that `duplicates` lists, which somebody looks at.
        """
        try:
            self._read()
        except (OSError, sqlite3.Error):  # there is none, it is being made, or damaged: a search goes without
            self.close()
            self._take([])
        if not self._pairs:
            return _NO_GROUPS
        if self._groups is None or self._groups[0] != revision:
            numbers = _numbers(catalogue)
            groups = duplicate_groups(self._folded(catalogue, numbers), numbers)
            self._groups = revision, {number: group[0] for group in groups for number in group}
        return self._groups[1]

    def _read(self) -> None:
        """Read the pairs, where somebody has written since they were read."""
        if self._file is not None and self._file.is_replaced():
            self.close()
        if self._file is None:
            self._file = ObservedDatabase(self._path)
        if self._file.has_changed():
            database = self._file.connection
            is_ours = database.execute("PRAGMA user_version").fetchone() == (_VERSION,)
            rows = "SELECT sha256, other, likeness FROM pairs ORDER BY 1, 2"
            self._take(database.execute(rows).fetchall() if is_ours else [])

    def _take(self, pairs: list[tuple[str, str, float]]) -> None:
        if pairs != self._pairs:
            self._pairs, self._groups = pairs, None

    def _folded(self, catalogue: Catalogue, numbers: Mapping[str, int]) -> Iterator[tuple[str, str]]:
        doubtful = {sha256 for sha256, _, likeness in self._pairs if likeness < FOLDED} & numbers.keys()
        entries = catalogue.entries(numbers[sha256] for sha256 in doubtful)
        stills = {
            sha256 for sha256 in doubtful if numbers[sha256] in entries and entries[numbers[sha256]].facts.is_still
        }
        return ((one, other) for one, other, likeness in self._pairs if likeness >= FOLDED or one in stills)


def look_for_duplicates(
    folder: Path, catalogue: Catalogue, index: Index, cache: FeatureCache, progress: Progress
) -> DuplicateReport:
    """Look at the items of a library that nobody looked at yet, and return all groups of near-duplicates.

    Args:
        folder: of the library.
        catalogue: of the library.
        index: its vectors.
        cache: its features.
        progress: hears of the items.
    """
    numbers = _numbers(catalogue)
    with closing(DuplicateStore.open(folder)) as store, DecoderPool(limits()) as decoders:
        store.keep_only(catalogue.content_hashes())
        reader = _FingerprintReader(store, cache, decoders)
        _look(store.not_looked_at(numbers), numbers, store, reader, catalogue, index, progress)
        groups = duplicate_groups(store.pairs(), numbers)
    entries = catalogue.entries(number for group in groups for number in group)
    items = [[_item(number, entries[number]) for number in group if number in entries] for group in groups]
    ordered = [tuple(sorted(group, key=lambda item: (-item.size, item.id))) for group in items if len(group) > 1]
    return DuplicateReport(tuple(ordered), len(numbers), len(reader.unread))


def note_new_items(folder: Path, hashes: Iterable[str]) -> None:
    """Note which contents a run of `index` embeds, before it says so: a kill loses none of them."""
    with closing(DuplicateStore.open(folder)) as store:
        store.add_fresh(hashes)


def compare_new_items(
    folder: Path, catalogue: Catalogue, index: Index, cache: FeatureCache, progress: Progress
) -> None:
    """Look at what runs of `index` have embedded, without decoding anything. Arguments as `look_for_duplicates`."""
    if not (folder / DUPLICATES_FILE).is_file():
        return
    with closing(DuplicateStore.open(folder)) as store:
        fresh = store.fresh()
        if fresh:
            numbers = _numbers(catalogue)
            reader = _FingerprintReader(store, cache, None)
            _look(fresh & numbers.keys(), numbers, store, reader, catalogue, index, progress)
            store.clear_fresh()


def _look(
    hashes: Collection[str],
    numbers: Mapping[str, int],
    store: DuplicateStore,
    reader: _FingerprintReader,
    catalogue: Catalogue,
    index: Index,
    progress: Progress,
) -> None:
    """Compare contents with those whose vectors are nearest, and store which of them are alike.

    Args:
        hashes: of the contents.
        numbers: of all contents, by their hashes.
        store: of what is known.
        reader: of fingerprints.
        catalogue, index, progress: as `look_for_duplicates` has them.
    """
    by_number = {number: sha256 for sha256, number in numbers.items()}
    waiting = sorted(numbers[sha256] for sha256 in hashes)
    progress.begin("looking for near-duplicates", len(waiting))
    for first in range(0, len(waiting), _TOGETHER):
        some = waiting[first : first + _TOGETHER]
        proposed = _proposed(index, some)
        entries = catalogue.entries({number for pair in proposed for number in pair})
        pairs = []
        for one, other in proposed:
            if one in entries and other in entries and _can_be_alike(entries[one].facts, entries[other].facts):
                likeness = reader.likeness((by_number[one], entries[one]), (by_number[other], entries[other]))
                if likeness is not None and likeness >= LEAST:
                    pairs.append((by_number[one], by_number[other], likeness))
        store.commit([by_number[number] for number in some if by_number[number] not in reader.unread], pairs)
        progress.advance(len(some))


def forget_other_duplicates(folder: Path, catalogue: Catalogue) -> None:
    """Forget what is known of contents that a library has no more."""
    if (folder / DUPLICATES_FILE).is_file():
        with closing(DuplicateStore.open(folder)) as store:
            store.keep_only(catalogue.content_hashes())


class _FingerprintReader:
    """Fingerprints of items: out of the store, from beside their features, or made of their files.

    `unread`: contents of which there are none.
    """

    def __init__(self, store: DuplicateStore, cache: FeatureCache, decoders: DecoderPool | None) -> None:
        """Read fingerprints; without decoders, those that there are."""
        self._store = store
        self._cache = cache
        self._decoders = decoders
        self._keys = {key.partition("-")[0]: key for key in cache}  # of any way of sampling
        self._fingerprints: OrderedDict[str, NDArray[np.uint8]] = OrderedDict()  # of the last contents
        self.unread: set[str] = set()

    def likeness(self, one: tuple[str, VideoEntry], other: tuple[str, VideoEntry]) -> float | None:
        """Return how alike two contents are to the eye; None where one of them has no fingerprints."""
        left, right = self._of(*one), self._of(*other)
        if left is None or right is None:
            return None
        return video_likeness(left, right, one[1].facts.seconds, other[1].facts.seconds)

    def _of(self, sha256: str, entry: VideoEntry) -> NDArray[np.uint8] | None:
        if sha256 in self._fingerprints:
            return self._fingerprints[sha256]
        fingerprints = self._store.fingerprints(sha256)
        if fingerprints is None and sha256 in self._keys:
            fingerprints = self._cache.fingerprints(self._keys[sha256])
        if fingerprints is None and sha256 not in self.unread:
            fingerprints = self._decoded(entry)
            if fingerprints is None:
                self.unread.add(sha256)
            else:
                self._store.put_fingerprints(sha256, fingerprints)
        if fingerprints is not None:
            self._fingerprints[sha256] = fingerprints
            if len(self._fingerprints) > _REMEMBERED:
                self._fingerprints.popitem(last=False)
        return fingerprints

    def _decoded(self, entry: VideoEntry) -> NDArray[np.uint8] | None:
        path = next((path for path in entry.paths if path.exists()), None)
        if self._decoders is None or path is None:
            return None
        try:
            return _fingerprints(path, entry.facts, self._decoders)
        except MediaError:
            return None


def _fingerprints(path: Path, facts: MediaFacts, decoders: DecoderPool) -> NDArray[np.uint8]:
    """Return the fingerprints of a still (1, 192), or of a film (P, 192)."""
    video = Video(path, picture=facts.kind == "image")
    _, frames = decoders.sample(video, _FPS, 1 if facts.is_still else MOST_PICTURES, _SIDE)
    return video_fingerprints(frames, facts.seconds)


def _can_be_alike(one: MediaFacts, other: MediaFacts) -> bool:
    """Return whether two items can be the same: both stills, or films of nearly one length."""
    if one.is_still or other.is_still:
        return one.is_still and other.is_still
    return may_be_copies(one.seconds, other.seconds)


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
