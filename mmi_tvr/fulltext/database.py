"""The SQLite file of texts: its tables, transactions, and settings of whoever keeps it.

The index holds folded words; where the rules of folding have changed, it is made anew from the texts.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import LibraryReadOnly, UsageError
from ..utils.files import file_identity
from ..utils.sqlite import (
    ReadOnlyDatabase,
    file_stamp,
    is_writable,
    open_read_only,
    open_to_write,
    sqlite_errors,
    transaction,
)
from . import folding

if TYPE_CHECKING:
    from typing_extensions import Self

_PURPOSE = "a file of texts"  # what it is not usable as, where SQLite refuses it
_VERSION = 1  # of the tables
# Words are folded already: the tokenizer of FTS5 parts them at spaces alone, and takes English endings off.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS readings (
    content TEXT NOT NULL, channel TEXT NOT NULL, fingerprint TEXT NOT NULL, reached REAL NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'begun' CHECK (state IN ('begun', 'complete', 'set aside')), reason TEXT,
    PRIMARY KEY (content, channel)
);
CREATE TABLE IF NOT EXISTS blocks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, content TEXT NOT NULL, channel TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS blocks_of_content ON blocks (content, channel);
CREATE TABLE IF NOT EXISTS moments (
    id INTEGER PRIMARY KEY, content TEXT NOT NULL, channel TEXT NOT NULL, start REAL NOT NULL, "end" REAL NOT NULL,
    time REAL NOT NULL, text TEXT, words TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS moments_of_content ON moments (content, channel);
CREATE TABLE IF NOT EXISTS folding (fingerprint TEXT NOT NULL);
CREATE VIRTUAL TABLE IF NOT EXISTS word_index USING fts5 (
    words, content='moments', content_rowid='id',
    tokenize="porter unicode61 remove_diacritics 0 categories 'L* M* N* Co'"
);
CREATE TRIGGER IF NOT EXISTS moment_added AFTER INSERT ON moments BEGIN
    INSERT INTO word_index (rowid, words) VALUES (new.id, new.words);
END;
CREATE TRIGGER IF NOT EXISTS moment_removed AFTER DELETE ON moments BEGIN
    INSERT INTO word_index (word_index, rowid, words) VALUES ('delete', old.id, old.words);
END;
"""


class TextDatabase:
    """An open file of texts. Threads may share it; several processes may read while one writes."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it; where it cannot be written, it can be searched.

        Raises:
            MissingExtra: OpenCC is not installed.
            UsageError: a newer program made it.
            MmiTvrError: the file is none of ours, or damaged.
        """
        self.path = path
        self._turn = threading.Lock()
        self._folding = folding.fingerprint()
        self._writable = is_writable(path)
        with sqlite_errors(path, _PURPOSE):
            identity = file_identity(path)
            database = ReadOnlyDatabase(open_to_write(path)) if self._writable else open_read_only(path)
            self._db, self._stamp = database.connection, database.stamp
            self._identity = identity or file_identity(path)  # it may have been made here
            try:
                if self._version() > _VERSION:
                    raise UsageError(f"{path}: a newer mmi-tvr made this file of texts: upgrade mmi-tvr")
                if self._writable:
                    self._prepare()
            except BaseException:
                self._db.close()
                raise

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def version(self) -> int:
        """Return a number that changes when another connection commits."""
        return int(self.select("PRAGMA data_version")[0][0])

    def is_replaced(self) -> bool:
        """Return whether another file lies at the path, or none, or one that changes without `version` telling."""
        if self._stamp is not None and file_stamp(self.path) != self._stamp:
            return True
        return file_identity(self.path) != self._identity

    def setting(self, key: str, default: Any = None) -> Any:
        """Return what whoever keeps the file has stored under a key."""
        rows = self.select("SELECT value FROM settings WHERE key = ?", (key,))
        return json.loads(rows[0][0]) if rows else default

    def set_setting(self, key: str, value: Any) -> None:
        """Store a value, as JSON, under a key."""
        with self.writing() as database:
            database.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (key, json.dumps(value)))

    def select(self, sql: str, arguments: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query in SQL."""
        with self._turn, sqlite_errors(self.path, _PURPOSE):
            return self._db.execute(sql, arguments).fetchall()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all that is written in it, or nothing."""
        if not self._writable:
            raise LibraryReadOnly(self.path.parent, "the folder or the file may not be written")
        with self._turn, sqlite_errors(self.path, _PURPOSE), transaction(self._db):
            yield self._db

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def _prepare(self) -> None:
        """Make the tables where they are missing, and the index anew where words are folded otherwise now."""
        if self._version() == 0:
            self._db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
        row = self._db.execute("SELECT fingerprint FROM folding").fetchone()
        if row == (self._folding,):
            return
        with transaction(self._db):
            rows = self._db.execute("SELECT id, text FROM moments").fetchall()
            folded = [(folded_words(text), number) for number, text in rows]
            self._db.executemany("UPDATE moments SET words = ? WHERE id = ?", folded)
            self._db.execute("INSERT INTO word_index (word_index) VALUES ('rebuild')")
            self._db.execute("DELETE FROM folding")
            self._db.execute("INSERT INTO folding VALUES (?)", (self._folding,))


def folded_words(text: str | None) -> str:
    """Return the words of a text as the index holds them, with single spaces."""
    return " ".join(folding.tokens(text or ""))
