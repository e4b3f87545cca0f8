"""What videos answered, kept by content and by all that changes an answer."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import MmiTvrError

FILE = "skeletons.sqlite"


class Store:
    """Answers by content and by all that changes them, in one SQLite file (WAL): any number of processes may read it
    while others write. A question that was edited has another key; the answers of all others stay.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._usable():
            self._db = sqlite3.connect(path, timeout=30.0, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS answers (content TEXT NOT NULL, key TEXT NOT NULL, answer TEXT NOT NULL, "
                "PRIMARY KEY (content, key)) WITHOUT ROWID"
            )

    def get(self, contents: Collection[str], keys: Collection[str]) -> dict[tuple[str, str], str]:
        """The answers that there are: (content, key) -> answer."""
        sql = (
            "SELECT content, key, answer FROM answers WHERE content IN (SELECT value FROM json_each(?)) "
            "AND key IN (SELECT value FROM json_each(?))"
        )
        with self._usable():
            rows = self._db.execute(sql, (json.dumps([*contents]), json.dumps([*keys]))).fetchall()
        return {(content, key): answer for content, key, answer in rows}

    def put(self, rows: Iterable[tuple[str, str, str]]) -> None:
        """Keep these (content, key, answer), all of them or none."""
        with self._usable(), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", rows)

    def keep(self, contents: Collection[str]) -> None:
        """Forget the answers of all other contents."""
        with self._usable():
            sql = "DELETE FROM answers WHERE content NOT IN (SELECT value FROM json_each(?))"
            self._db.execute(sql, (json.dumps([*contents]),))

    def count(self) -> int:
        with self._usable():
            return int(self._db.execute("SELECT COUNT(*) FROM answers").fetchone()[0])

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise MmiTvrError(f"{self.path}: not usable as a store of answers ({error})") from error
