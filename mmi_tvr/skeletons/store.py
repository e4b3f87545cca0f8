"""The store of video skeletons: answers by the video's content and by all that changes an answer, in SQLite."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from pathlib import Path

from ..utils.cache_table import CacheTable

SKELETONS_FILE = "skeletons.sqlite"
_COLUMNS = "(content TEXT NOT NULL, key TEXT NOT NULL, answer TEXT NOT NULL, PRIMARY KEY (content, key)) WITHOUT ROWID"


class SkeletonStore(CacheTable):
    """Answers by content and by a key of all that changes them. A question that was edited has another key; the answers
    of all others stay. Raises MmiTvrError where the file is no such store."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "answers", _COLUMNS)

    def get(self, contents: Collection[str], keys: Collection[str]) -> dict[tuple[str, str], str]:
        """Return the stored answers among these contents and keys: (content, key) -> answer."""
        rows = self._select(
            "SELECT content, key, answer FROM {} WHERE content IN (SELECT value FROM json_each(?)) "
            "AND key IN (SELECT value FROM json_each(?))",
            (json.dumps([*contents]), json.dumps([*keys])),
        )
        return {(content, key): answer for content, key, answer in rows}

    def put(self, rows: Iterable[tuple[str, str, str]]) -> None:
        """Store these (content, key, answer), all of them or none."""
        self._insert(rows, 3)

    def keep(self, contents: Collection[str]) -> None:
        """Delete the answers of all other contents."""
        with self._sqlite_errors():
            sql = "DELETE FROM answers WHERE content NOT IN (SELECT value FROM json_each(?))"
            self._db.execute(sql, (json.dumps([*contents]),))
