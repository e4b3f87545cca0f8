"""Which contents of a library have translated vectors: made from those of its former model, not by the present one.

They stand in the catalogue, under the number of their content, until it is embedded (`Catalogue.set_indexed`).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np

from ..types import IdArray
from ..utils.files import naming
from .attributes import VideoAttributes
from .catalogue import Catalogue, Content

SHOWN_FILE = "shown.i64"
_MAX_SHOWN_BYTES = 1 << 20  # enough to know what is looked for


def count_translated(catalogue: Catalogue) -> int:
    """Count the contents that can be searched by translated vectors."""
    sql = "SELECT COUNT(*) FROM searchable WHERE id IN (SELECT content FROM translated)"
    return int(catalogue.connection.execute(sql).fetchone()[0])


def mark_translated(catalogue: Catalogue, numbers: Collection[int]) -> None:
    """Say that translated vectors of these contents are durably in the index, by the key images that they had.

    What the former model read off them (`attributes`) is forgotten: the present one has yet to look.
    """
    rows = [(number,) for number in numbers]
    catalogue.connection.executemany("INSERT OR REPLACE INTO translated VALUES (?)", rows)
    catalogue.connection.executemany("UPDATE contents SET state = 'indexed', reason = NULL WHERE id = ?", rows)
    attributes = VideoAttributes(catalogue)
    for number in numbers:
        attributes.put(number, {})


def translated_contents(catalogue: Catalogue, shown: Sequence[int]) -> list[Content]:
    """Return the contents with translated vectors: those that searches have `shown` most often first."""
    contents = catalogue.contents_with("id IN (SELECT content FROM translated) AND state = 'indexed'")
    times = Counter(shown)
    return sorted(contents, key=lambda content: (-times[content.number], content.number))


class ShownLog:
    """Which contents searches have shown while some had translated vectors: 8 bytes each, appended.

    Nothing of the queries is kept, and all of it goes with the last translated vector.
    """

    def __init__(self, folder: Path) -> None:
        """folder: the library."""
        self.path = folder / SHOWN_FILE

    def add(self, catalogue: Catalogue, paths: Iterable[Path]) -> None:
        """Note the contents of these files. OSError where that cannot be written."""
        numbers = _numbers_of(catalogue, paths)
        if not numbers or (self.path.is_file() and self.path.stat().st_size >= _MAX_SHOWN_BYTES):
            return
        with naming(self.path), self.path.open("ab", buffering=0) as file:
            file.write(np.array(numbers, "<i8").tobytes())

    def numbers(self) -> IdArray:
        """Return the numbers of all that was shown, again and again."""
        if not self.path.is_file():
            return np.empty(0, np.int64)
        content = self.path.read_bytes()
        return np.frombuffer(content[: len(content) // 8 * 8], "<i8").astype(np.int64)

    def discard(self) -> None:
        """Forget all of it."""
        self.path.unlink(missing_ok=True)


def _numbers_of(catalogue: Catalogue, paths: Iterable[Path]) -> list[int]:
    """Return the numbers of the contents of those of these files that have one."""
    sql = "SELECT content FROM files WHERE path = ? AND content IS NOT NULL"
    return [number for path in paths for (number,) in catalogue.connection.execute(sql, (os.fsencode(path),))]
