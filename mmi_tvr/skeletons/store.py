"""The store of video skeletons: answers by the video's content and by all that changes an answer, in SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import MmiTvrError
from ..utils.sqlite import open_cache

SKELETONS_FILE = "skeletons.sqlite"
_COLUMNS = "(content TEXT NOT NULL, key TEXT NOT NULL, answer TEXT NOT NULL, PRIMARY KEY (content, key)) WITHOUT ROWID"


class SkeletonStore:
    """Answers by content and by a key of all that changes them, in one SQLite file (WAL): any number of processes may
    read it while others write. A question that was edited has another key; the answers of all others stay.

    Where the file cannot be written, new answers last as long as this object.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._sqlite_errors():
            self._db, self._tables = open_cache(path, "answers", _COLUMNS)

    def get(self, contents: Collection[str], keys: Collection[str]) -> dict[tuple[str, str], str]:
        """Return the stored answers among these contents and keys: (content, key) -> answer."""
        sql = (
            "SELECT content, key, answer FROM {} WHERE content IN (SELECT value FROM json_each(?)) "
            "AND key IN (SELECT value FROM json_each(?))"
        )
        arguments = (json.dumps([*contents]), json.dumps([*keys]))
        with self._sqlite_errors():
            rows = [row for table in self._tables for row in self._db.execute(sql.format(table), arguments)]
        return {(content, key): answer for content, key, answer in rows}

    def put(self, rows: Iterable[tuple[str, str, str]]) -> None:
        """Store these (content, key, answer), all of them or none."""
        with self._sqlite_errors(), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", rows)

    def keep(self, contents: Collection[str]) -> None:
        """Delete the answers of all other contents."""
        with self._sqlite_errors():
            sql = "DELETE FROM answers WHERE content NOT IN (SELECT value FROM json_each(?))"
            self._db.execute(sql, (json.dumps([*contents]),))

    def count(self) -> int:
        """Return the number of stored answers."""
        with self._sqlite_errors():
            return int(self._db.execute("SELECT COUNT(*) FROM answers").fetchone()[0])

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> SkeletonStore:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    @contextmanager
    def _sqlite_errors(self) -> Iterator[None]:
        """Raise what SQLite raises as a MmiTvrError that names the file."""
        try:
            yield
        except sqlite3.Error as error:
            raise MmiTvrError(f"{self.path}: not usable as a store of answers ({error})") from error
