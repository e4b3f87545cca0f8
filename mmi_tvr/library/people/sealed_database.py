"""The open database of a library's people: transactions over both files, and what is sealed in them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import MmiTvrError
from ...people import KEYS_FILE, PEOPLE_FILE
from ...utils.wording import library_option
from . import database
from .seals import Purpose, Unsealable, new_key, seal, unseal

if TYPE_CHECKING:
    from typing_extensions import Self

_COLUMNS = {"name": "name", "consent": "consent", "face": "sealed", "sighting": "sealed"}  # purpose -> column


class SealedDatabase:
    """Sealed rows and their keys. Reads see the last commit; `transaction` commits several writes together."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self.connection = connection

    @classmethod
    def open_to_write(cls, folder: Path) -> Self:
        """Open the people of the library in a folder; made where there are none. Raises as `database.open_to_write`."""
        opened = cls(folder, database.open_to_write(folder))
        try:
            opened.finish_forgetting()
        except BaseException:
            opened.close()
            raise
        return opened

    @classmethod
    def open_to_read(cls, folder: Path) -> Self | None:
        """Open the people of the library in a folder, which need not be writable; None where it has none."""
        connection = database.open_to_read(folder)
        return None if connection is None else cls(folder, connection)

    def close(self) -> None:
        """Let go of the files."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def version(self) -> tuple[int, int]:
        """Return what changes when another connection commits."""
        return self.rows("PRAGMA main.data_version")[0][0], self.rows("PRAGMA keys.data_version")[0][0]

    def setting(self, key: str) -> Any:
        """Return a stored setting; None where it was never set."""
        rows = self.rows("SELECT value FROM meta WHERE key = ?", key)
        return json.loads(rows[0][0]) if rows else None

    def set_setting(self, key: str, value: Any) -> None:
        """Store a setting, as JSON."""
        with self.transaction():
            self.connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))

    def rows(self, sql: str, *values: object) -> list[Any]:
        """Return the rows of a question in SQL."""
        with self._errors():
            return self.connection.execute(sql, values).fetchall()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """See one state of both files in all questions inside."""
        if self.connection.in_transaction:
            yield
            return
        with self._errors():
            self.connection.execute("BEGIN")
        try:
            yield
        finally:
            self.connection.execute("COMMIT")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything inside together, or nothing; one inside another is part of it."""
        if self.connection.in_transaction:
            yield
            return
        with self._errors():
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    # Rows with a key

    def insert(self, table: str, purpose: Purpose, plain: bytes | None, /, **columns: object) -> int:
        """Add a row to a sealed table, with a new key; return its number.

        Args:
            table: one of `database.SEALED_TABLES`.
            purpose: what `plain` is.
            plain: goes sealed to the column for that purpose; None: nothing yet.
            **columns: the others.
        """
        key = new_key()
        if plain is not None:
            columns[_COLUMNS[purpose]] = seal(key, plain, purpose)
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        values = f"({names}) VALUES ({marks})" if columns else "DEFAULT VALUES"
        number = self.connection.execute(f"INSERT INTO {table} {values}", [*columns.values()]).lastrowid
        assert number is not None
        self.connection.execute(f"INSERT INTO keys.{table}_key VALUES (?, ?)", (number, key))
        return number

    def opened(self, key: bytes, sealed: bytes, purpose: Purpose) -> bytes:
        """Return what is sealed. MmiTvrError where the two files do not belong together."""
        try:
            return unseal(key, sealed, purpose)
        except Unsealable as error:
            raise MmiTvrError(
                f"{self.folder / PEOPLE_FILE}: does not fit {KEYS_FILE} (a copy of another day, or damaged); put back "
                f"both as they belong together, or begin anew: "
                f"mmi-tvr people forget --all {library_option(self.folder)}"
            ) from error

    def secrets_of(self, persons: Collection[int], sightings: Collection[int] = ()) -> list[bytes]:
        """Return the keys of persons and of single sightings, and what is sealed with them, as it is stored."""
        rows = []
        for table, owner, numbers in (
            ("person", "id", persons),
            ("face", "person", persons),
            ("sighting", "person", persons),
            ("sighting", "id", sightings),
        ):
            columns = "key, name, consent" if table == "person" else "key, sealed"
            joined = f"{table} JOIN keys.{table}_key USING (id)"
            sql = f"SELECT {columns} FROM {joined} WHERE {owner} IN (SELECT value FROM json_each(?))"
            rows += self.rows(sql, json.dumps([*numbers]))
        return [bytes(value) for row in rows for value in row if value is not None]

    def drop_unused_keys(self) -> None:
        """Delete the keys of rows that are no more: part of every transaction that deletes."""
        for table in database.SEALED_TABLES:
            self.connection.execute(f"DELETE FROM keys.{table}_key WHERE id NOT IN (SELECT id FROM main.{table})")

    # What a deletion leaves on pages

    def mark_forgetting(self) -> None:
        """Note, in the transaction that deletes, that `finish_forgetting` is due."""
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES ('forgetting', 'true')")

    def finish_forgetting(self) -> None:
        """Write the files anew where something was deleted since, so that no page holds anything of it.

        Rows without a key go, too: they are of a copy of the file that somebody put back.
        """
        keyless = [
            f"FROM {table} WHERE id NOT IN (SELECT id FROM keys.{table}_key)" for table in database.SEALED_TABLES
        ]
        if any(self.rows(f"SELECT 1 {rows} LIMIT 1") for rows in keyless):
            with self.transaction():
                for rows in keyless:
                    self.connection.execute(f"DELETE {rows}")
                self.drop_unused_keys()
                self.mark_forgetting()
        if self.setting("forgetting"):
            with self._errors():
                database.overwrite_free_pages(self.connection)
            with self.transaction():
                self.connection.execute("DELETE FROM meta WHERE key = 'forgetting'")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise database.unusable(self.folder / PEOPLE_FILE, error) from error
