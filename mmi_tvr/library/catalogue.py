"""The catalogue of a library: which files there are, what is in them, and how far each has come (SQLite, WAL).

A *content* is one video by its bytes; its id is the video number in the ids of the index and is never given out
twice. A *file* is a path that leads to a content; copies are several files of one content. The state of a content
is the truth about it: `pending` (to be embedded), `indexed` (its vectors are durably in the index), `quarantined`
(it cannot be used, with the reason). A content to which no file leads any more is on its way out.

Paths are stored as the file system's own bytes, since a file name need not be text.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MmiTvrError, UsageError
from ..types import MOMENT_BITS, Embeddings, IdArray
from .scan import Root

# Append only: a library of any age is brought up to date by the steps that it has not seen.
MIGRATIONS = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE roots (path BLOB PRIMARY KEY, exclude TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE contents (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        sha256 TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'indexed', 'quarantined')),
        reason TEXT,
        duration REAL
    );
    CREATE INDEX contents_by_state ON contents (state);
    CREATE TABLE files (
        path BLOB PRIMARY KEY,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        content INTEGER REFERENCES contents (id),
        reason TEXT,
        CHECK ((content IS NULL) = (reason IS NOT NULL))
    ) WITHOUT ROWID;
    CREATE INDEX files_by_content ON files (content);
    CREATE TABLE moments (
        content INTEGER NOT NULL REFERENCES contents (id) ON DELETE CASCADE,
        k INTEGER NOT NULL,
        start REAL NOT NULL,
        "end" REAL NOT NULL,
        time REAL NOT NULL,
        PRIMARY KEY (content, k)
    ) WITHOUT ROWID;
    """,
)


@dataclass(frozen=True, slots=True)
class File:
    """What is known of a path. `content` is None where the file could not be read, and `reason` says why."""

    stamp: tuple[int, int]  # size in bytes, mtime in ns, when it was last read
    content: int | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Content:
    """One video by its bytes, with the paths that lead to it."""

    number: int
    sha256: str
    paths: tuple[Path, ...]


class Catalogue:
    """An open catalogue. Reads see the last commit; `change()` is one transaction."""

    def __init__(self, path: Path, create: bool = False) -> None:
        self.path = path
        if not create and not path.is_file():
            raise UsageError(f"{path.parent}: no library is here; make one: mmi-tvr index DIR --library {path.parent}")
        try:
            self._db = sqlite3.connect(path, timeout=30.0, isolation_level=None)
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")  # a kill loses nothing; a power cut the last commits
            self._db.execute("PRAGMA foreign_keys = ON")
            self._migrate()
        except BaseException as error:
            self.close()
            if isinstance(error, sqlite3.Error):
                raise self._unusable(error) from error
            raise

    def _unusable(self, error: sqlite3.Error) -> MmiTvrError:
        return MmiTvrError(f"{self.path}: not usable as the catalogue of a library ({error})")

    def close(self) -> None:
        self._db.close()

    def _migrate(self) -> None:
        if self._version() == len(MIGRATIONS):
            return
        with self.change():
            version = self._version()  # again: another process may have been faster
            if version > len(MIGRATIONS):
                raise UsageError(f"{self.path}: made by a newer mmi-tvr; upgrade this one: pip install -U mmi-tvr")
            for step in MIGRATIONS[version:]:
                for statement in step.split(";"):
                    self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def _version(self) -> int:
        return int(self._one("PRAGMA user_version"))

    def _one(self, sql: str, *values: object) -> Any:
        row = self._db.execute(sql, values).fetchone()
        return None if row is None else row[0]

    @contextmanager
    def change(self) -> Iterator[None]:
        """Everything inside is committed together, or not at all."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            if self._db.in_transaction:  # SQLite has left it already where the disk was full
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                raise MmiTvrError(f"{self.path}: cannot be written ({error})") from error
            raise

    def copy(self, path: Path) -> None:
        """Write this state to another file, which is whole or not there."""
        draft = path.with_name(path.name + ".tmp")
        draft.unlink(missing_ok=True)
        other = sqlite3.connect(draft)
        try:
            self._db.backup(other)
        finally:
            other.close()
        for log in ("-wal", "-shm"):  # of an earlier file of that name
            path.with_name(path.name + log).unlink(missing_ok=True)
        os.replace(draft, path)

    def take_over(self, other: Catalogue) -> None:
        """Have the state of another catalogue, in one transaction."""
        try:
            other._db.backup(self._db)
        except sqlite3.Error as error:
            raise MmiTvrError(f"{self.path}: cannot be written ({error})") from error

    def version(self) -> int:
        """A number that changes when another process commits."""
        return int(self._one("PRAGMA data_version"))

    # Settings and roots

    def metas(self) -> dict[str, Any]:
        """All that is kept under a name, as of one moment."""
        return {key: json.loads(text) for key, text in self._db.execute("SELECT key, value FROM meta")}

    def meta(self, key: str, default: Any = None) -> Any:
        return self.metas().get(key, default)

    def set_meta(self, **values: Any) -> None:
        rows = [(key, json.dumps(value)) for key, value in values.items()]
        self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)

    def roots(self) -> list[Root]:
        rows = self._db.execute("SELECT path, exclude FROM roots ORDER BY path")
        return [Root(_path(path), tuple(json.loads(exclude))) for path, exclude in rows]

    def add_root(self, root: Root) -> None:
        self._db.execute("INSERT OR REPLACE INTO roots VALUES (?, ?)", (_blob(root.path), json.dumps(root.exclude)))

    def drop_root(self, path: Path) -> None:
        self._db.execute("DELETE FROM roots WHERE path = ?", (_blob(path),))

    # Files

    def files(self) -> dict[Path, File]:
        rows = self._db.execute("SELECT path, size, mtime_ns, content, reason FROM files")
        return {_path(path): File((size, mtime), content, reason) for path, size, mtime, content, reason in rows}

    def put_file(self, path: Path, stamp: tuple[int, int], content: int | None, reason: str | None = None) -> None:
        self._db.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", (_blob(path), *stamp, content, reason))

    def drop_files(self, paths: Iterable[Path]) -> None:
        self._db.executemany("DELETE FROM files WHERE path = ?", [(_blob(path),) for path in paths])

    # Contents

    def content(self, sha256: str) -> int:
        """The number of a content, which is made (pending) where these bytes are new."""
        self._db.execute("INSERT OR IGNORE INTO contents (sha256) VALUES (?)", (sha256,))
        return int(self._one("SELECT id FROM contents WHERE sha256 = ?", sha256))

    def states(self) -> dict[int, str]:
        return dict(self._db.execute("SELECT id, state FROM contents").fetchall())

    def hashes(self) -> set[str]:
        return {sha256 for (sha256,) in self._db.execute("SELECT sha256 FROM contents")}

    def pending(self) -> list[Content]:
        """Contents that wait to be embedded and to which a file leads, by number."""
        rows = self._db.execute(
            "SELECT id, sha256, path FROM contents JOIN files ON content = id WHERE state = 'pending' ORDER BY id, path"
        )
        found: dict[int, Content] = {}
        for number, sha256, path in rows:
            earlier = found[number].paths if number in found else ()
            found[number] = Content(number, sha256, (*earlier, _path(path)))
        return list(found.values())

    def orphans(self) -> list[int]:
        """Contents to which no file leads."""
        sql = "SELECT id FROM contents WHERE NOT EXISTS (SELECT 1 FROM files WHERE content = contents.id)"
        return [number for (number,) in self._db.execute(sql)]

    def drop_contents(self, numbers: Iterable[int]) -> None:
        self._db.executemany("DELETE FROM contents WHERE id = ?", [(number,) for number in numbers])

    def set_indexed(self, number: int, embeddings: Embeddings) -> None:
        segments = embeddings.segments
        self._db.execute("DELETE FROM moments WHERE content = ?", (number,))
        rows = [(number, k, *map(float, segment)) for k, segment in enumerate(segments)]
        self._db.executemany("INSERT INTO moments VALUES (?, ?, ?, ?, ?)", rows)
        sql = "UPDATE contents SET state = 'indexed', reason = NULL, duration = ? WHERE id = ?"
        self._db.execute(sql, (float(segments[-1, 1]), number))

    def set_quarantined(self, number: int, reason: str) -> None:
        self._db.execute("UPDATE contents SET state = 'quarantined', reason = ? WHERE id = ?", (reason, number))

    def set_pending(self, numbers: Iterable[int] | None = None, state: str = "indexed") -> None:
        """Have these contents embedded again; None: all that are in this state."""
        if numbers is None:
            numbers = [number for (number,) in self._db.execute("SELECT id FROM contents WHERE state = ?", (state,))]
        rows = [(number,) for number in numbers]
        self._db.executemany("UPDATE contents SET state = 'pending', reason = NULL WHERE id = ?", rows)

    # What search and status need

    def expected_ids(self) -> IdArray:
        """The ids that the index should hold, ascending: of every indexed content and its moments."""
        sql = (
            "SELECT id, 0 FROM contents WHERE state = 'indexed' UNION ALL "
            "SELECT content, k + 1 FROM moments JOIN contents ON id = content WHERE state = 'indexed'"
        )
        rows = np.array(self._db.execute(sql).fetchall(), dtype=np.int64).reshape(-1, 2)
        return np.sort((rows[:, 0] << MOMENT_BITS) + rows[:, 1])

    def entries(self, numbers: Iterable[int]) -> dict[int, tuple[tuple[Path, ...], NDArray[np.float64]]]:
        """Number -> (paths, segments (K, 3)) of those contents that are indexed and have a file."""
        chosen = json.dumps([int(number) for number in numbers])
        among = (
            "content IN (SELECT id FROM contents WHERE state = 'indexed' AND id IN (SELECT value FROM json_each(?)))"
        )
        paths_sql = f"SELECT content, path FROM files WHERE {among} ORDER BY path"
        moments_sql = f'SELECT content, start, "end", time FROM moments WHERE {among} ORDER BY content, k'
        paths: dict[int, list[Path]] = {}
        segments: dict[int, list[tuple[float, ...]]] = {}
        self._db.execute("BEGIN")  # both questions about one state
        for number, path in self._db.execute(paths_sql, (chosen,)):
            paths.setdefault(number, []).append(_path(path))
        for number, *segment in self._db.execute(moments_sql, (chosen,)):
            segments.setdefault(number, []).append(tuple(segment))
        self._db.execute("COMMIT")
        return {number: (tuple(paths[number]), np.array(segments[number])) for number in paths if number in segments}

    def contents(self, numbers: Iterable[int]) -> dict[int, str]:
        """Number -> SHA-256 of these contents."""
        sql = "SELECT id, sha256 FROM contents WHERE id IN (SELECT value FROM json_each(?))"
        return dict(self._db.execute(sql, (json.dumps([int(number) for number in numbers]),)).fetchall())

    def indexed(self) -> list[int]:
        """Numbers of the contents that can be searched, ascending."""
        sql = "SELECT id FROM contents WHERE state = 'indexed' AND id IN (SELECT content FROM files) ORDER BY id"
        return [number for (number,) in self._db.execute(sql)]

    def quarantined(self) -> list[tuple[Path, str]]:
        """Every file that cannot be used, with the reason, by path."""
        rows = self._db.execute(
            "SELECT path, COALESCE(files.reason, contents.reason) FROM files LEFT JOIN contents ON id = content "
            "WHERE content IS NULL OR state = 'quarantined' ORDER BY path"
        )
        return [(_path(path), reason) for path, reason in rows]

    def counts(self) -> Mapping[str, int]:
        """Contents by state (those with a file), and files, moments and seconds of video."""
        sql = "SELECT state, COUNT(*) FROM contents WHERE id IN (SELECT content FROM files) GROUP BY state"
        states = dict(self._db.execute(sql).fetchall())
        return {
            **{state: states.get(state, 0) for state in ("pending", "indexed", "quarantined")},
            "files": self._one("SELECT COUNT(*) FROM files"),
            "moments": self._one("SELECT COUNT(*) FROM moments"),
            "unread": self._one("SELECT COUNT(*) FROM files WHERE content IS NULL"),
        }

    def duration(self) -> float:
        """Seconds of video that can be searched."""
        return float(self._one("SELECT COALESCE(SUM(duration), 0) FROM contents WHERE state = 'indexed'"))


def _blob(path: Path) -> bytes:
    return os.fsencode(path)


def _path(blob: bytes) -> Path:
    return Path(os.fsdecode(blob))
