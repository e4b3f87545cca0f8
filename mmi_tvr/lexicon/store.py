"""Parses that are kept: by the content of the sentence and the parser's fingerprint, in SQLite."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import MmiTvrError
from ..utils.hashing import digest
from ..utils.sqlite import open_cache
from .parsing import ParsedText, Parser, Token

PARSES_FILE = "parses.sqlite"
_COLUMNS = "(key TEXT PRIMARY KEY, tokens TEXT NOT NULL) WITHOUT ROWID"
_BATCH = 512  # sentences whose parses are written together: what a kill may cost


class ParseStore:
    """Parses in one SQLite file (WAL); any number of processes may read it while others write. Where the file cannot be
    written, new parses last as long as this object."""

    def __init__(self, path: Path, parser: Parser) -> None:
        """Open or make the store.

        Raises MmiTvrError where the file is no such store.
        """
        self.path, self._parser = path, parser
        with contextlib.suppress(OSError):  # where nothing can be written, parses last as long as this object
            path.parent.mkdir(parents=True, exist_ok=True)
        with self._sqlite_errors():
            self._db, self._tables = open_cache(path, "parses", _COLUMNS)

    def parsed(self, texts: Sequence[str], advance: Callable[[int], object] = lambda count: None) -> list[ParsedText]:
        """Return texts parsed, in order; those that are not there yet are parsed and kept. `advance` is called with the
        number of texts that are done."""
        fingerprint = self._parser.fingerprint()
        keys = {text: digest(text, fingerprint) for text in texts}
        held = self._read([*keys.values()])
        pending = [text for text, key in keys.items() if key not in held]
        advance(len(texts) - len(pending))
        for start in range(0, len(pending), _BATCH):
            batch = pending[start : start + _BATCH]
            new = {keys[text]: parse for text, parse in zip(batch, self._parser.parse(batch), strict=True)}
            self._write(new)
            held |= new
            advance(len(batch))
        return [held[keys[text]] for text in texts]

    def count(self) -> int:
        """Return the number of parses that are kept."""
        with self._sqlite_errors():
            return sum(int(self._db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]) for table in self._tables)

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> ParseStore:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def _read(self, keys: Sequence[str]) -> dict[str, ParsedText]:
        sql = "SELECT key, tokens FROM {} WHERE key IN (SELECT value FROM json_each(?))"
        with self._sqlite_errors():
            rows = [row for table in self._tables for row in self._db.execute(sql.format(table), (json.dumps(keys),))]
        return {key: tuple(Token(*token) for token in json.loads(tokens)) for key, tokens in rows}

    def _write(self, parses: Mapping[str, ParsedText]) -> None:
        rows = [(key, json.dumps(parse, ensure_ascii=False)) for key, parse in parses.items()]
        with self._sqlite_errors(), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT OR REPLACE INTO parses VALUES (?, ?)", rows)

    @contextmanager
    def _sqlite_errors(self) -> Iterator[None]:
        """Raise what SQLite raises as a MmiTvrError that names the file."""
        try:
            yield
        except sqlite3.Error as error:
            raise MmiTvrError(f"{self.path}: not usable as a store of parses ({error})") from error
