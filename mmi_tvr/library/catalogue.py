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
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import LibraryMissing, MmiTvrError, UsageError
from ..search import VideoEntry
from ..types import MOMENT_BITS, Embeddings, IdArray
from ..utils.sqlite import ReadOnlyDatabase, file_stamp, in_memory, is_writable, open_read_only, open_to_write
from ..utils.wording import library_option
from .migrations import LATEST, migrate, schema_version
from .scan import Root

CATALOGUE = "catalogue.sqlite"  # its name in a library's folder


@dataclass(frozen=True, slots=True)
class File:
    """A catalogued path. `content` is None where the file could not be read, and `reason` says why."""

    stamp: tuple[int, int]  # size in bytes, mtime in ns, when it was last read
    content: int | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Content:
    """One video by its bytes, with the paths that lead to it."""

    number: int
    sha256: str
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class CatalogueCounts:
    """How much a catalogue lists. A content counts here only while a file leads to it.

    - `indexed_contents`, `pending_contents`, `quarantined_contents`: different videos, by state; copies count once.
    - `files`: paths, copies and unreadable ones included; `unreadable_files`: those that have no content.
    - `unread_files`: files that the last scan came upon and whose bytes were not read yet.
    - `moments`: key images with a vector of their own, of all contents.
    """

    indexed_contents: int
    pending_contents: int
    quarantined_contents: int
    files: int
    unreadable_files: int
    unread_files: int
    moments: int


class Catalogue:
    """An open catalogue. Reads see the last commit; `transaction()` commits several writes together."""

    def __init__(self, path: Path, create: bool = False, read_only: bool = False) -> None:
        """Open the catalogue in the file `path`.

        One of an older version is brought up to date: in the file, or where nothing may be written, in memory.

        Args:
            path: the file.
            create: make it where there is none.
            read_only: write nothing, neither to it nor next to it; for folders in which that is not possible.

        Raises:
            UsageError: there is none, or a newer program made it.
            MmiTvrError: it is no catalogue, or cannot be read.
        """
        self.path = path
        if not create:
            self.require_file(path)
        try:
            self._identity = _identity(path)
            database = open_read_only(path) if read_only else ReadOnlyDatabase(open_to_write(path))
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from error
        self._db, self._stamp = database.connection, database.stamp
        try:
            self._db.execute("PRAGMA foreign_keys = ON")
            self._migrate(read_only)
        except BaseException as error:
            self.close()
            if isinstance(error, sqlite3.Error):
                raise self._unusable(error) from error
            raise

    @classmethod
    def open_to_read(cls, path: Path) -> Catalogue:
        """Open a catalogue that is only read, wherever it lies. Raises as the constructor does.

        Where it could be written, and a full disk has no room for the log that SQLite reads with, it is read without.
        """
        cls.require_file(path)
        if is_writable(path):
            try:
                return cls(path)
            except MmiTvrError as error:
                if not isinstance(error.__cause__, sqlite3.OperationalError):
                    raise
        return cls(path, read_only=True)

    @staticmethod
    def require_file(path: Path) -> None:
        """Raise LibraryMissing where there is no catalogue, MmiTvrError where its folder cannot be read."""
        try:
            is_file = path.is_file()
        except OSError as error:
            raise MmiTvrError(f"{path.parent}: cannot be read ({error.strerror})") from error
        if not is_file:
            folder = path.parent
            raise LibraryMissing(f"{folder}: no library is here; make one: mmi-tvr index DIR {library_option(folder)}")

    def _unusable(self, error: Exception) -> MmiTvrError:
        return MmiTvrError(f"{self.path}: not usable as the catalogue of a library ({error})")

    def close(self) -> None:
        self._db.close()

    @property
    def connection(self) -> sqlite3.Connection:
        """The open database, for tables with a module of their own (`descriptions`)."""
        return self._db

    def is_outdated(self) -> bool:
        """Return whether the file has been replaced, or has changed in a way that this connection does not notice."""
        if self._stamp is not None and file_stamp(self.path) != self._stamp:
            return True
        return _identity(self.path) != self._identity

    def _migrate(self, read_only: bool) -> None:
        version = schema_version(self._db)
        if version == LATEST:
            return
        if version > LATEST:
            raise UsageError(
                f"{self.path}: a newer mmi-tvr made this library (its catalogue has version {version}, this program "
                f"reads up to {LATEST}): upgrade mmi-tvr"
            )
        if read_only:
            file, self._db = self._db, in_memory(self._db)
            file.close()
            self._stamp = self._stamp or file_stamp(self.path)
        with self.transaction():
            if schema_version(self._db) < LATEST:  # another process may have been faster
                migrate(self._db)

    def _single_value(self, sql: str, *values: object) -> Any:
        """Return the first column of the first row, or None where there is no row."""
        row = self._db.execute(sql, values).fetchone()
        return None if row is None else row[0]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything inside together, or nothing. Raises MmiTvrError where the file cannot be written."""
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

    def copy_to(self, path: Path) -> None:
        """Write this state to another file, which is whole or not there. MmiTvrError where it cannot be written."""
        draft = path.with_name(path.name + ".tmp")
        draft.unlink(missing_ok=True)
        try:
            with closing(sqlite3.connect(draft)) as target:
                self._db.backup(target)
        except sqlite3.Error as error:
            draft.unlink(missing_ok=True)
            raise MmiTvrError(f"{path}: cannot be written ({error})") from error
        for log in ("-wal", "-shm"):  # of an earlier file of that name
            path.with_name(path.name + log).unlink(missing_ok=True)
        os.replace(draft, path)

    def replace_with(self, source: Catalogue) -> None:
        """Take over the whole state of another catalogue, in one transaction."""
        try:
            source._db.backup(self._db)
        except sqlite3.Error as error:
            raise MmiTvrError(f"{self.path}: cannot be written ({error})") from error

    def data_version(self) -> int:
        """Return a number that changes when another connection commits."""
        return int(self._single_value("PRAGMA data_version"))

    # Settings and roots

    def all_meta(self) -> dict[str, Any]:
        """Return every stored setting by its key, as of one moment."""
        return {key: json.loads(text) for key, text in self._db.execute("SELECT key, value FROM meta")}

    def meta(self, key: str, default: Any = None) -> Any:
        """Return one stored setting."""
        return self.all_meta().get(key, default)

    def set_meta(self, **values: Any) -> None:
        """Store settings, as JSON."""
        rows = [(key, json.dumps(value)) for key, value in values.items()]
        self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)

    def roots(self) -> list[Root]:
        """Return the indexed folders, by path."""
        rows = self._db.execute("SELECT path, exclude FROM roots ORDER BY path")
        return [Root(_to_path(path), tuple(json.loads(exclude))) for path, exclude in rows]

    def add_root(self, root: Root) -> None:
        """Remember an indexed folder, or replace its patterns."""
        self._db.execute("INSERT OR REPLACE INTO roots VALUES (?, ?)", (_to_bytes(root.path), json.dumps(root.exclude)))

    def drop_root(self, path: Path) -> None:
        """Forget an indexed folder; its files stay."""
        self._db.execute("DELETE FROM roots WHERE path = ?", (_to_bytes(path),))

    # Files

    def files(self) -> dict[Path, File]:
        """Return every catalogued file by its path."""
        rows = self._db.execute("SELECT path, size, mtime_ns, content, reason FROM files")
        return {_to_path(path): File((size, mtime), content, reason) for path, size, mtime, content, reason in rows}

    def put_file(self, path: Path, stamp: tuple[int, int], content: int | None, reason: str | None = None) -> None:
        """Add or replace a file.

        Args:
            path: the file.
            stamp: its size in bytes and its mtime in ns.
            content: the number of its content; None where it could not be read.
            reason: why it could not be read; None where it could.
        """
        row = (_to_bytes(path), *stamp, content, reason)
        self._db.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", row)

    def drop_files(self, paths: Iterable[Path]) -> None:
        """Forget files; their contents stay."""
        self._db.executemany("DELETE FROM files WHERE path = ?", [(_to_bytes(path),) for path in paths])

    # Contents

    def content_number(self, sha256: str) -> int:
        """Return the number of a content, which is added as pending where these bytes are new."""
        self._db.execute("INSERT OR IGNORE INTO contents (sha256) VALUES (?)", (sha256,))
        return int(self._single_value("SELECT id FROM contents WHERE sha256 = ?", sha256))

    def content_states(self) -> dict[int, str]:
        """Return the state of every content by its number."""
        return dict(self._db.execute("SELECT id, state FROM contents").fetchall())

    def content_hashes(self) -> set[str]:
        """Return the SHA-256 of every content."""
        return {sha256 for (sha256,) in self._db.execute("SELECT sha256 FROM contents")}

    def pending_contents(self) -> list[Content]:
        """Return the contents that wait to be embedded and to which a file leads, by number."""
        return self.contents_with("state = 'pending'")

    def contents_with(self, condition: str) -> list[Content]:
        """Return the contents of which a condition in SQL is true and to which a file leads, by number."""
        rows = self._db.execute(
            f"SELECT id, sha256, path FROM contents JOIN files ON content = id WHERE {condition} ORDER BY id, path"
        )
        contents: dict[int, Content] = {}
        for number, sha256, path in rows:
            earlier_paths = contents[number].paths if number in contents else ()
            contents[number] = Content(number, sha256, (*earlier_paths, _to_path(path)))
        return list(contents.values())

    def orphans(self) -> list[int]:
        """Return the numbers of the contents to which no file leads."""
        sql = "SELECT id FROM contents WHERE NOT EXISTS (SELECT 1 FROM files WHERE content = contents.id)"
        return [number for (number,) in self._db.execute(sql)]

    def drop_contents(self, numbers: Iterable[int]) -> None:
        """Forget contents and their moments."""
        self._db.executemany("DELETE FROM contents WHERE id = ?", [(number,) for number in numbers])

    def set_indexed(self, number: int, embeddings: Embeddings) -> None:
        """Say that a content's vectors are durably in the index, and which moments they stand for."""
        segments = embeddings.segments
        self._db.execute("DELETE FROM moments WHERE content = ?", (number,))
        rows = [(number, k, *map(float, segment)) for k, segment in enumerate(segments)]
        self._db.executemany("INSERT INTO moments VALUES (?, ?, ?, ?, ?)", rows)
        sql = "UPDATE contents SET state = 'indexed', reason = NULL, duration = ? WHERE id = ?"
        self._db.execute(sql, (float(segments[-1, 1]), number))
        self._db.execute("DELETE FROM translated WHERE content = ?", (number,))

    def set_quarantined(self, number: int, reason: str) -> None:
        """Say that a content cannot be used, and why."""
        self._db.execute("UPDATE contents SET state = 'quarantined', reason = ? WHERE id = ?", (reason, number))

    def set_pending(self, numbers: Iterable[int] | None = None, state: str = "indexed") -> None:
        """Have these contents embedded again; None: all that are in this state."""
        if numbers is None:
            numbers = [number for (number,) in self._db.execute("SELECT id FROM contents WHERE state = ?", (state,))]
        rows = [(number,) for number in numbers]
        self._db.executemany("UPDATE contents SET state = 'pending', reason = NULL WHERE id = ?", rows)

    # What search and status need

    def expected_ids(self) -> IdArray:
        """Return the ids that the index should hold, ascending: of every indexed content and its moments."""
        sql = (
            "SELECT id, 0 FROM contents WHERE state = 'indexed' UNION ALL "
            "SELECT content, k + 1 FROM moments JOIN contents ON id = content WHERE state = 'indexed'"
        )
        rows = np.array(self._db.execute(sql).fetchall(), dtype=np.int64).reshape(-1, 2)
        return np.sort((rows[:, 0] << MOMENT_BITS) + rows[:, 1])

    def entries(self, numbers: Iterable[int]) -> dict[int, VideoEntry]:
        """Return number -> (paths, segments (K, 3)) of those contents that are indexed and have a file."""
        number_list = json.dumps([int(number) for number in numbers])
        among = (
            "content IN (SELECT id FROM contents WHERE state = 'indexed' AND id IN (SELECT value FROM json_each(?)))"
        )
        paths_sql = f"SELECT content, path FROM files WHERE {among} ORDER BY path"
        moments_sql = f'SELECT content, start, "end", time FROM moments WHERE {among} ORDER BY content, k'
        paths: dict[int, list[Path]] = {}
        segments: dict[int, list[tuple[float, ...]]] = {}
        self._db.execute("BEGIN")  # both questions about one state
        for number, path in self._db.execute(paths_sql, (number_list,)):
            paths.setdefault(number, []).append(_to_path(path))
        for number, *segment in self._db.execute(moments_sql, (number_list,)):
            segments.setdefault(number, []).append(tuple(segment))
        self._db.execute("COMMIT")
        return {
            number: VideoEntry(tuple(paths[number]), np.array(segments[number]))
            for number in paths
            if number in segments
        }

    def hashes_of(self, numbers: Iterable[int]) -> dict[int, str]:
        """Return number -> SHA-256 of those contents that there are."""
        sql = "SELECT id, sha256 FROM contents WHERE id IN (SELECT value FROM json_each(?))"
        return dict(self._db.execute(sql, (json.dumps([int(number) for number in numbers]),)).fetchall())

    def searchable(self) -> list[int]:
        """Return the numbers of the contents that can be searched, ascending."""
        sql = "SELECT id FROM contents WHERE state = 'indexed' AND id IN (SELECT content FROM files) ORDER BY id"
        return [number for (number,) in self._db.execute(sql)]

    def quarantined_files(self) -> list[tuple[Path, str]]:
        """Return every file that cannot be used, with the reason, by path."""
        rows = self._db.execute(
            "SELECT path, COALESCE(files.reason, contents.reason) FROM files LEFT JOIN contents ON id = content "
            "WHERE content IS NULL OR state = 'quarantined' ORDER BY path"
        )
        return [(_to_path(path), reason) for path, reason in rows]

    def counts(self) -> CatalogueCounts:
        """Count contents, files and moments."""
        sql = "SELECT state, COUNT(*) FROM contents WHERE id IN (SELECT content FROM files) GROUP BY state"
        contents: dict[str, int] = dict(self._db.execute(sql).fetchall())
        return CatalogueCounts(
            indexed_contents=contents.get("indexed", 0),
            pending_contents=contents.get("pending", 0),
            quarantined_contents=contents.get("quarantined", 0),
            files=self._single_value("SELECT COUNT(*) FROM files"),
            unreadable_files=self._single_value("SELECT COUNT(*) FROM files WHERE content IS NULL"),
            unread_files=self.meta("unread", 0),
            moments=self._single_value("SELECT COUNT(*) FROM moments"),
        )

    def duration(self) -> float:
        """Return the seconds of video that can be searched."""
        return float(self._single_value("SELECT COALESCE(SUM(duration), 0) FROM contents WHERE state = 'indexed'"))


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another one of the same name; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _to_bytes(path: Path) -> bytes:
    return os.fsencode(path)


def _to_path(stored: bytes) -> Path:
    return Path(os.fsdecode(stored))
