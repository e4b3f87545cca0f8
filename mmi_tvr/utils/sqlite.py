"""SQLite files that others write to meanwhile, or that lie where nothing can be written.

A file in write-ahead mode needs two files next to it, PATH-wal and PATH-shm, even to be read. On a read-only disk, in a
snapshot, or in a folder of somebody else, neither can be made. `open_read_only` writes nothing:

- where both are there, SQLite reads through them, and commits of others show;
- where no log holds anything, the file is opened as it is (`immutable`);
- where a log without its PATH-shm lies next to the file, as in a copied folder, what it holds is not lost: both are
  copied, and the copy is read into memory.

Connections may be passed between threads, which then take turns by a lock of their own.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import MmiTvrError
from .addresses import file_uri
from .files import change_stamp

BUSY_SECONDS = 30.0  # a connection waits so long for a lock that another one holds
_COPY_ATTEMPTS = 3  # while somebody writes to what is copied

FileStamp = tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True, slots=True)
class ReadOnlyDatabase:
    """An open database that is never written to.

    `stamp` is that of the files when they were read, where the connection does not notice by itself that they change;
    None where it does.
    """

    connection: sqlite3.Connection
    stamp: FileStamp | None = None


class ObservedDatabase:
    """A database that is read again and again, and says when others have written to it."""

    def __init__(self, path: Path) -> None:
        """Open the file. FileNotFoundError where there is none, sqlite3.Error where it is no database."""
        self._path = path
        self._identity = self._file()
        database = self._opened()
        self.connection, self._stamp = database.connection, database.stamp
        self._version: int | None = None

    def _opened(self) -> ReadOnlyDatabase:
        """Open the file so that every commit of others is known; where it cannot be written, or a full disk has no room
        for the log that SQLite reads with, as it is, with the files' stamp."""
        if is_writable(self._path):
            with suppress(sqlite3.OperationalError):
                return ReadOnlyDatabase(open_to_write(self._path))
        return open_read_only(self._path)

    def close(self) -> None:
        """Let go of the file."""
        self.connection.close()

    def is_replaced(self) -> bool:
        """Return whether this connection does not show any more what the file holds. OSError where it is gone."""
        return self._file() != self._identity or (self._stamp is not None and file_stamp(self._path) != self._stamp)

    def has_changed(self) -> bool:
        """Return whether others have committed since this was asked for the last time; the first time, true."""
        before = self._version
        self._version = int(self.connection.execute("PRAGMA data_version").fetchone()[0])
        return self._version != before

    def _file(self) -> tuple[int, int]:
        status = self._path.stat()
        return status.st_dev, status.st_ino


def is_writable(path: Path) -> bool:
    """Return whether a database in the file `path`, which need not be there, can be written, with its logs."""
    return path.parent.is_dir() and os.access(path.parent, os.W_OK) and (os.access(path, os.W_OK) or not path.exists())


def open_to_write(path: Path) -> sqlite3.Connection:
    """Open or make a database in write-ahead mode, in which any number of processes read while one writes."""
    connection = _connect(path)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # a kill loses nothing; a power cut the last commits
    except BaseException:
        connection.close()
        raise
    return connection


def open_read_only(path: Path) -> ReadOnlyDatabase:
    """Open a database without writing anything, neither to it nor next to it. Raises sqlite3.Error."""
    for _ in range(_COPY_ATTEMPTS):
        before = file_stamp(path)
        if not _has_log(path):
            return ReadOnlyDatabase(_readable(path, "immutable=1"), before)
        if _with_suffix(path, "-shm").exists():
            return ReadOnlyDatabase(_readable(path, "mode=ro"))
        memory = _copied_into_memory(path)
        if file_stamp(path) == before:
            return ReadOnlyDatabase(memory, before)
        memory.close()
    raise sqlite3.OperationalError("it changes while it is read")


def in_memory(database: sqlite3.Connection) -> sqlite3.Connection:
    """Return a copy of a database in memory, which can be written."""
    memory = new_in_memory()
    try:
        database.backup(memory)
    except BaseException:
        memory.close()
        raise
    return memory


def new_in_memory() -> sqlite3.Connection:
    """Return an empty database in memory."""
    return _connect(":memory:")


def file_stamp(path: Path) -> FileStamp:
    """Return what changes whenever somebody writes to the database."""
    return tuple(change_stamp(file) for file in (path, _with_suffix(path, "-wal")))


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Commit everything inside together, or nothing; others may read meanwhile, and none may write."""
    database.execute("BEGIN IMMEDIATE")
    with database:
        yield


@contextmanager
def sqlite_errors(path: Path, purpose: str) -> Iterator[None]:
    """Raise what SQLite raises inside as `unusable` says it."""
    try:
        yield
    except sqlite3.Error as error:
        raise unusable(path, purpose, error) from error


def unusable(path: Path, purpose: str, error: Exception) -> MmiTvrError:
    """Return what to raise where SQLite raised something of a file that is to be `purpose` ("a file of texts")."""
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        return MmiTvrError(f"{path}: another process has been writing to it for {BUSY_SECONDS:.0f} s; try again")
    return MmiTvrError(f"{path}: not usable as {purpose} ({error})")


def _connect(path: Path | str, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=uri)


def _readable(path: Path, option: str) -> sqlite3.Connection:
    """Return an open connection that has read from the file."""
    connection = _connect(f"{file_uri(path)}?{option}", uri=True)
    try:
        connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _copied_into_memory(path: Path) -> sqlite3.Connection:
    with tempfile.TemporaryDirectory(prefix="mmi-tvr-") as folder:
        copy = Path(folder) / "copy.sqlite"
        for source, target in ((path, copy), (_with_suffix(path, "-wal"), _with_suffix(copy, "-wal"))):
            shutil.copyfile(source, target)
        with closing(_connect(copy)) as database:
            return in_memory(database)


def _has_log(path: Path) -> bool:
    stamp = change_stamp(_with_suffix(path, "-wal"))
    return stamp is not None and stamp[-1] > 0


def _with_suffix(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
