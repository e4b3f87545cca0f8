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
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..features.cache import FeatureCache
from ..media.guarded import DecoderPool, limits
from ..protocols import Index
from ..scoring.fingerprints import FOLDED
from ..types import MediaFacts, VideoEntry
from ..utils.progress import Progress
from ..utils.sqlite import ObservedDatabase
from .catalogue import Catalogue
from .comparing import FingerprintReader, compare
from .duplicate_store import DUPLICATES_FILE, VERSION, DuplicateStore

_NO_GROUPS: Mapping[int, int] = {}


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
            is_ours = database.execute("PRAGMA user_version").fetchone() == (VERSION,)
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
        reader = FingerprintReader(store, cache, catalogue, decoders)
        compare(store.not_looked_at(numbers), numbers, store, reader, catalogue, index, progress)
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
            reader = FingerprintReader(store, cache, catalogue, None)
            compare(fresh & numbers.keys(), numbers, store, reader, catalogue, index, progress)
            store.clear_fresh()


def forget_other_duplicates(folder: Path, catalogue: Catalogue) -> None:
    """Forget what is known of contents that a library has no more."""
    if (folder / DUPLICATES_FILE).is_file():
        with closing(DuplicateStore.open(folder)) as store:
            store.keep_only(catalogue.content_hashes())


def _numbers(catalogue: Catalogue) -> dict[str, int]:
    """Return SHA-256 -> number of the contents that can be searched by what is seen in them."""
    return {sha256: number for number, sha256 in catalogue.hashes_of(catalogue.searchable()).items()}


def _item(number: int, entry: VideoEntry) -> DuplicateItem:
    size = next((path.stat().st_size for path in entry.paths if path.exists()), 0)
    return DuplicateItem(number, entry.paths, size, entry.facts)
