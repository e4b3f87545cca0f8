"""The two files in which a library keeps its people: what is known of them, sealed, and the keys of the seals.

Decision: keys lie in a file apart. Whoever is forgotten loses their keys, and then no copy of `people.sqlite` that lies
elsewhere (a backup, a block of the disk that was not written over) can be read without an equally old copy of the keys.

Both are one database to a connection, in SQLite's rollback mode, where a transaction over two files is one: a kill
leaves the state before or the state after. Deleted rows are written over with zeros (`secure_delete`), the journal goes
with the transaction, and nothing goes to a temporary file.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from ...errors import LibraryReadOnly, MmiTvrError, UsageError
from ...people import KEYS_FILE, PEOPLE_FILE
from ...utils import sqlite
from ...utils.addresses import file_uri
from ...utils.wording import library_option

_PRIVATE = 0o600

# Append only, as `library.migrations`; user_version of the file counts the steps that it has seen.
MIGRATIONS = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE person (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name BLOB,
        consent BLOB,
        hidden INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE face (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        person INTEGER NOT NULL REFERENCES person (id) ON DELETE CASCADE,
        from_photo INTEGER NOT NULL,
        sealed BLOB NOT NULL
    );
    CREATE INDEX face_by_person ON face (person);
    CREATE TABLE sighting (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        content TEXT NOT NULL,
        person INTEGER NOT NULL REFERENCES person (id) ON DELETE CASCADE,
        confidence REAL NOT NULL,
        by_hand INTEGER NOT NULL,
        sealed BLOB NOT NULL
    );
    CREATE INDEX sighting_by_content ON sighting (content);
    CREATE INDEX sighting_by_person ON sighting (person);
    CREATE TABLE looked (content TEXT PRIMARY KEY) WITHOUT ROWID;
    """,
)
LATEST = len(MIGRATIONS)
SEALED_TABLES = ("person", "face", "sighting")  # each row of them has a key
_KEY_TABLES = [
    f"CREATE TABLE IF NOT EXISTS keys.{table}_key (id INTEGER PRIMARY KEY, key BLOB NOT NULL)"
    for table in SEALED_TABLES
]


def has_people(folder: Path) -> bool:
    """Return whether the library in a folder keeps people, or ever did."""
    return (folder / PEOPLE_FILE).is_file()


def open_to_write(folder: Path) -> sqlite3.Connection:
    """Open the people of a library, brought up to date; made where there are none.

    Raises:
        LibraryReadOnly: nothing can be written where the library lies.
        MmiTvrError: a file is no such database, or the keys are missing.
        UsageError: a newer program made it.
    """
    path = folder / PEOPLE_FILE
    _require_keys(folder)
    try:
        for file in (path, folder / KEYS_FILE):
            os.close(os.open(file, os.O_RDWR | os.O_CREAT, _PRIVATE))
    except OSError as error:
        raise LibraryReadOnly(folder, error.strerror or str(error)) from error
    connection = _connect(folder, "rw")
    try:
        if _checked_version(connection, path) < LATEST:
            _migrate(connection, path)
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.Error):
            raise unusable(path, error) from error
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statement in _KEY_TABLES:
        connection.execute(statement)
    for step in MIGRATIONS[_checked_version(connection, path) :]:  # another process may have been faster
        for statement in step.split(";"):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {LATEST}")
    connection.execute("COMMIT")


def open_to_read(folder: Path) -> sqlite3.Connection | None:
    """Open the people of a library, which need not be writable; None where it has none. Raises as `open_to_write`."""
    path = folder / PEOPLE_FILE
    if not path.is_file():
        return None
    _require_keys(folder)
    writable = all(os.access(place, os.W_OK) for place in (folder, path, folder / KEYS_FILE))
    connection = _connect(folder, "rw" if writable else "ro")  # what a killed writer began can be undone by "rw" alone
    try:
        if _checked_version(connection, path) < LATEST:  # a kill before the first commit, or an older program
            connection.close()
            if not writable:
                return None
            return open_to_write(folder)
    except sqlite3.Error as error:
        connection.close()
        raise unusable(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def erase(folder: Path) -> None:
    """Write zeros over both files, whatever they are, and remove them."""
    for name in (KEYS_FILE, PEOPLE_FILE):
        for path in (folder / name, folder / f"{name}-journal"):
            if path.is_file():
                with path.open("r+b") as stream:
                    stream.write(bytes(path.stat().st_size))
                    stream.flush()
                    os.fsync(stream.fileno())
                path.unlink()


def unusable(path: Path, error: Exception) -> MmiTvrError:
    """Return what to raise where SQLite raised something."""
    return sqlite.unusable(path, "the people of a library", error)


def overwrite_free_pages(connection: sqlite3.Connection) -> None:
    """Write both files anew, without what was deleted: zeros do not reach what SQLite moved within a page before."""
    for schema in ("keys", "main"):
        connection.execute(f"VACUUM {schema}")


def _connect(folder: Path, mode: str) -> sqlite3.Connection:
    path, keys = folder / PEOPLE_FILE, folder / KEYS_FILE
    try:
        connection = sqlite3.connect(
            f"{file_uri(path)}?mode={mode}",
            timeout=sqlite.BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            uri=True,
        )
    except sqlite3.Error as error:
        raise unusable(path, error) from error
    try:
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("ATTACH ? AS keys", (f"{file_uri(keys)}?mode={mode}",))
        for schema in ("main", "keys"):
            connection.execute(f"PRAGMA {schema}.secure_delete = ON")
            if mode == "rw":
                connection.execute(f"PRAGMA {schema}.journal_mode = DELETE")
                connection.execute(f"PRAGMA {schema}.synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except sqlite3.Error as error:
        connection.close()
        raise unusable(path, error) from error
    return connection


def _checked_version(connection: sqlite3.Connection, path: Path) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > LATEST:
        raise UsageError(
            f"{path}: a newer mmi-tvr made it (version {version}, this program reads up to {LATEST}): upgrade mmi-tvr"
        )
    return version


def _require_keys(folder: Path) -> None:
    path, keys = folder / PEOPLE_FILE, folder / KEYS_FILE
    if path.is_file() and path.stat().st_size and not keys.is_file():
        raise MmiTvrError(
            f"{keys}: is missing, and nobody in {PEOPLE_FILE} can be read without it; put it back, or begin anew: "
            f"mmi-tvr people forget --all {library_option(folder)}"
        )
