"""What is known of near-duplicates, as `duplicates.sqlite` in a library's folder."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..utils.sqlite import is_writable, new_in_memory, open_to_write, sqlite_errors, transaction, unusable

DUPLICATES_FILE = "duplicates.sqlite"
_PURPOSE = "what is known of near-duplicates"
VERSION = 2  # of the fingerprints, and of what counts as alike: what was made by another one is forgotten
_TABLES = f"""
    PRAGMA user_version = {VERSION};
    CREATE TABLE IF NOT EXISTS fingerprints (sha256 TEXT PRIMARY KEY, pictures BLOB) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS fresh (sha256 TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS looked (sha256 TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS pairs (
        sha256 TEXT, other TEXT, likeness REAL, PRIMARY KEY (sha256, other)
    ) WITHOUT ROWID;
"""
_NAMES = ("fingerprints", "fresh", "looked", "pairs")


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

    def fingerprints(self, hashes: Collection[str]) -> dict[str, NDArray[np.uint8]]:
        """Return the fingerprints (P, 192) of those of these contents that were decoded for them."""
        sql = "SELECT sha256, pictures FROM fingerprints WHERE sha256 IN (SELECT value FROM json_each(?))"
        rows = self._db.execute(sql, (json.dumps([*hashes]),))
        return {sha256: np.frombuffer(pictures, np.uint8).reshape(-1, 192) for sha256, pictures in rows}

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
        if connection.execute("PRAGMA user_version").fetchone() != (VERSION,):
            connection.executescript("".join(f"DROP TABLE IF EXISTS {table};" for table in _NAMES))
        connection.executescript(_TABLES)
    except BaseException:
        connection.close()
        raise
    return connection
