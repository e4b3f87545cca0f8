"""What a library holds, item by item, for doors that list it and show its files.

Reads a catalogue of its own, so that nobody who looks at a picture waits for a search. For any number of threads.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..types import MediaFacts
from .catalogue import Catalogue, CatalogueCounts
from .catalogue_file import CATALOGUE
from .facts import known_facts

MAX_ITEMS = 500  # of one page of a list
_CONTENT = (
    "SELECT id, sha256, state, reason FROM contents "
    "WHERE EXISTS (SELECT 1 FROM main_files WHERE main_files.content = contents.id)"
)


class ItemMissing(UsageError):
    """A library has no item of this number (any more)."""


@dataclass(frozen=True, slots=True)
class ItemFile:
    """A file of an item, with its size in bytes and its mtime in ns as they were when it was last read."""

    path: Path
    stamp: tuple[int, int]

    def is_unchanged(self, status: os.stat_result) -> bool:
        """Return whether a file is still the one that was read."""
        return (status.st_size, status.st_mtime_ns) == self.stamp


@dataclass(frozen=True, slots=True)
class LibraryItem:
    """One content of a library; `moments` are (start, end, time) in seconds, `state` and `reason` the catalogue's.

    `files` are its copies, and `companions` belong to it (the clip of a live photo, the RAW photo of a picture).
    """

    id: int
    sha256: str
    state: str
    reason: str | None
    facts: MediaFacts
    files: tuple[ItemFile, ...]
    companions: tuple[Path, ...] = ()
    moments: tuple[tuple[float, float, float], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract: `GET /api/items`)."""
        date = self.facts.local_date()
        document: dict[str, Any] = {
            "id": self.id,
            "sha256": self.sha256,
            "state": self.state,
            "kind": self.facts.kind,
            "seconds": self.facts.seconds,
            "width": self.facts.width,
            "height": self.facts.height,
            "date": date and date.isoformat(),
            "date_source": self.facts.date_source,
            "paths": [str(file.path) for file in self.files],
            "companions": [str(path) for path in self.companions],
        }
        return {**document, "reason": self.reason} if self.reason else document

    def with_moments(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract: `GET /api/items/ID`), with the moments."""
        moments = [{"start": start, "end": end, "time": time} for start, end, time in self.moments]
        return {**self.as_dict(), "moments": moments}


class LibraryItems:
    """Reads the items of the library in a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._catalogue: Catalogue | None = None

    def close(self) -> None:
        with self._lock:
            if self._catalogue is not None:
                self._catalogue.close()
                self._catalogue = None

    def item(self, number: int) -> LibraryItem:
        """Return one item with its moments.

        Raises:
            ItemMissing: there is none of this number.
            LibraryMissing: no library is here.
        """
        with self._reading() as catalogue:
            items = _items(catalogue, f"{_CONTENT} AND id = ?", (number,), with_moments=True)
        if not items:
            raise ItemMissing(f"no item has the number {number}")
        return items[0]

    def item_of_content(self, sha256: str) -> LibraryItem:
        """Return the item of a content. Raises as `item`."""
        with self._reading() as catalogue:
            items = _items(catalogue, f"{_CONTENT} AND sha256 = ?", (sha256,))
        if not items:
            raise ItemMissing("this video is not in the library any more")
        return items[0]

    def among(self, numbers: Collection[int]) -> list[LibraryItem]:
        """Return the items of these numbers, by number and with their moments; those that are not there are left out.

        Raises LibraryMissing: no library is here.
        """
        with self._reading() as catalogue:
            condition = "AND id IN (SELECT value FROM json_each(?)) ORDER BY id"
            return _items(catalogue, f"{_CONTENT} {condition}", (json.dumps(list(numbers)),), with_moments=True)

    def counts(self) -> CatalogueCounts:
        """Count what is in the library. Raises LibraryMissing: no library is here."""
        with self._reading() as catalogue:
            return catalogue.counts()

    def page(self, after: int, limit: int, state: str | None = None) -> list[LibraryItem]:
        """Return the next items by number, without their moments.

        Args:
            after: the last number of the page before; 0 for the first page.
            limit: at most so many, and at most MAX_ITEMS.
            state: only those that are `indexed`, `pending` or `quarantined`; None: all.

        Raises:
            LibraryMissing: no library is here.
        """
        condition = "AND id > ? AND (? IS NULL OR state = ?) ORDER BY id LIMIT ?"
        with self._reading() as catalogue:
            values = (after, state, state, max(1, min(limit, MAX_ITEMS)))
            return _items(catalogue, f"{_CONTENT} {condition}", values)

    def description(self, number: int) -> str | None:
        """Return what an item answered when it was described for the present model; None: nobody described it.

        Raises LibraryMissing where no library is here.
        """
        with self._reading() as catalogue:
            sql = "SELECT text FROM descriptions WHERE content = ? AND maker = ?"
            row = catalogue.connection.execute(sql, (number, catalogue.meta("fingerprint"))).fetchone()
        return None if row is None else str(row[0])

    @contextmanager
    def _reading(self) -> Iterator[Catalogue]:
        """Yield the open catalogue, opened anew where its file was replaced."""
        with self._lock:
            if self._catalogue is not None and self._catalogue.is_outdated():
                self._catalogue.close()
                self._catalogue = None
            if self._catalogue is None:
                self._catalogue = Catalogue.open_to_read(self._path / CATALOGUE)
            yield self._catalogue


def _items(catalogue: Catalogue, sql: str, values: tuple[Any, ...], with_moments: bool = False) -> list[LibraryItem]:
    """Return the items that a query of contents selects, of one state of the catalogue."""
    database = catalogue.connection
    database.execute("BEGIN")
    try:
        contents = database.execute(sql, values).fetchall()
        listed = [content[0] for content in contents]
        numbers = json.dumps(listed)
        among = "content IN (SELECT value FROM json_each(?))"
        files: dict[int, list[ItemFile]] = {}
        for number, path, size, mtime in database.execute(
            f"SELECT content, path, size, mtime_ns FROM files WHERE main IS NULL AND {among} ORDER BY path", (numbers,)
        ):
            files.setdefault(number, []).append(ItemFile(Path(os.fsdecode(path)), (size, mtime)))
        companions, facts = catalogue.companions(listed), known_facts(database, listed)
        moments: dict[int, list[tuple[float, float, float]]] = {}
        if with_moments:
            for number, *span in database.execute(
                f'SELECT content, start, "end", time FROM moments WHERE {among} ORDER BY k', (numbers,)
            ):
                start, end, time = map(float, span)
                moments.setdefault(number, []).append((start, end, time))
    finally:
        database.execute("COMMIT")
    return [
        LibraryItem(
            id=number,
            sha256=sha256,
            state=state,
            reason=reason,
            facts=facts[number],
            files=tuple(files.get(number, ())),
            companions=companions.get(number, ()),
            moments=tuple(moments.get(number, ())),
        )
        for number, sha256, state, reason in contents
    ]
