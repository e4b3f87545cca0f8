"""A library's catalogue as a file: opened, brought up to date, copied, written in transactions (SQLite, WAL)."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import LibraryMissing, MmiTvrError, UsageError
from ..utils.files import file_identity
from ..utils.sqlite import ReadOnlyDatabase, file_stamp, in_memory, is_writable, open_read_only, open_to_write
from ..utils.wording import library_option
from .migrations import LATEST, migrate, schema_version

if TYPE_CHECKING:
    from typing_extensions import Self

CATALOGUE = "catalogue.sqlite"  # its name in a library's folder


class CatalogueFile:
    """An open catalogue as a file. Reads see the last commit; `transaction()` commits several writes together."""

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
            self._identity = file_identity(path)
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
    def open_to_read(cls, path: Path) -> Self:
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
        return file_identity(self.path) != self._identity

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
    def transaction(self, is_searched: bool = True) -> Iterator[None]:
        """Commit everything inside together, or nothing; what is committed has another `revision`.

        is_searched: whether anything inside is what a search reads; False leaves the revision as it is, which is for
            what no search reads but to count what is pending.

        Raises MmiTvrError where the file cannot be written.
        """
        self._db.execute("BEGIN IMMEDIATE")
        changes = self._db.total_changes
        try:
            yield
            if is_searched and self._db.total_changes > changes:
                self._renew_revision()
            self._db.execute("COMMIT")
        except BaseException as error:
            if self._db.in_transaction:  # SQLite has left it already where the disk was full
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                raise MmiTvrError(f"{self.path}: cannot be written ({error})") from error
            raise

    def note_other_vectors(self) -> None:
        """Commit another `revision`: vectors that the catalogue says nothing of have gone. Errors as `transaction`."""
        with self.transaction(is_searched=False):
            self._renew_revision()

    def _renew_revision(self) -> None:
        self._db.execute("UPDATE revision SET value = ?", (secrets.token_hex(8),))

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

    def replace_with(self, source: CatalogueFile) -> None:
        """Take over the whole state of another catalogue, in one transaction."""
        try:
            source._db.backup(self._db)
        except sqlite3.Error as error:
            raise MmiTvrError(f"{self.path}: cannot be written ({error})") from error

    def data_version(self) -> int:
        """Return a number that changes when another connection commits."""
        return int(self._single_value("PRAGMA data_version"))

    def revision(self) -> str:
        """Return what changes when anything is committed that a search reads (`transaction`)."""
        return str(self._single_value("SELECT value FROM revision"))

    # Settings

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
