"""One table of things that can be made again, in an SQLite file, wherever that lies."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .sqlite import is_writable, new_in_memory, open_read_only, open_to_write, sqlite_errors, transaction

if TYPE_CHECKING:
    from typing_extensions import Self


class CacheTable:
    """A table in a file of its own (WAL): any number of processes may read it while others write.

    The file's folder is made where it can be. Where the file cannot be written, new rows go to a temporary table, which
    lasts as long as this object.
    """

    def __init__(self, path: Path, table: str, columns: str) -> None:
        """Open or make the file.

        Args:
            path: of the file.
            table: its name, which says in messages what is stored.
            columns: as they stand behind it in SQL.

        Raises:
            MmiTvrError: the file is no database.
        """
        self.path, self._table = path, table
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
        with self._sqlite_errors():
            self._db, self._tables = _open(path, table, columns)

    def count(self) -> int:
        """Return the number of rows."""
        return sum(int(count) for (count,) in self._select("SELECT COUNT(*) FROM {}"))

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def _select(self, sql: str, arguments: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query, in which {} stands for the table."""
        with self._sqlite_errors():
            return [row for table in self._tables for row in self._db.execute(sql.format(table), arguments)]

    def _insert(self, rows: Iterable[tuple[str, ...]], columns: int) -> None:
        """Store rows of so many columns, all of them or none."""
        with self._sqlite_errors(), transaction(self._db):
            values = ", ".join("?" * columns)
            self._db.executemany(f"INSERT OR REPLACE INTO {self._table} VALUES ({values})", rows)

    def _sqlite_errors(self) -> AbstractContextManager[None]:
        """Raise what SQLite raises as a MmiTvrError that names the file."""
        return sqlite_errors(self.path, f"a store of {self._table}")


def _open(path: Path, table: str, columns: str) -> tuple[sqlite3.Connection, list[str]]:
    """Return an open database, and the names by which the file's table and a temporary one are read; the temporary one
    hides the file's from whoever writes to `table`."""
    if is_writable(path):
        connection, kind = open_to_write(path), "TABLE"
    elif path.is_file():
        connection, kind = open_read_only(path).connection, "TEMP TABLE"
    else:
        connection, kind = new_in_memory(), "TABLE"
    try:
        connection.execute(f"CREATE {kind} IF NOT EXISTS {table} {columns}")
        schemas = connection.execute("SELECT 'main' UNION ALL SELECT 'temp' FROM sqlite_temp_master").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection, [f"{schema}.{table}" for (schema,) in schemas]
