"""Texts of moments in one SQLite file, by the content of files and by channel, and the search for words in them.

Rows are written passage by passage, with how far the file has been read: a recording whose reading was cut off goes on
there. The index holds folded words; where the rules of folding have changed, it is made anew from the texts.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import LibraryReadOnly
from ..types import Passage, Span
from ..utils.sqlite import is_writable, open_read_only, open_to_write, sqlite_errors
from . import folding
from .query import parse

if TYPE_CHECKING:
    from typing_extensions import Self

_PURPOSE = "a file of texts"  # what it is not usable as, where SQLite refuses it
# Words are folded already: the tokenizer of FTS5 parts them at spaces alone, and takes English endings off.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS readings (
    content TEXT NOT NULL, channel TEXT NOT NULL, fingerprint TEXT NOT NULL, reached REAL NOT NULL,
    complete INTEGER NOT NULL, PRIMARY KEY (content, channel)
);
CREATE TABLE IF NOT EXISTS texts (
    id INTEGER PRIMARY KEY, content TEXT NOT NULL, channel TEXT NOT NULL, start REAL NOT NULL, "end" REAL NOT NULL,
    time REAL NOT NULL, text TEXT NOT NULL, words TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS texts_of_content ON texts (content, channel);
CREATE TABLE IF NOT EXISTS folding (fingerprint TEXT NOT NULL);
CREATE VIRTUAL TABLE IF NOT EXISTS word_index USING fts5 (
    words, content='texts', content_rowid='id', tokenize="porter unicode61 remove_diacritics 0 categories 'L* M* N* Co'"
);
CREATE TRIGGER IF NOT EXISTS text_added AFTER INSERT ON texts BEGIN
    INSERT INTO word_index (rowid, words) VALUES (new.id, new.words);
END;
CREATE TRIGGER IF NOT EXISTS text_removed AFTER DELETE ON texts BEGIN
    INSERT INTO word_index (word_index, rowid, words) VALUES ('delete', old.id, old.words);
END;
"""


@dataclass(frozen=True, slots=True)
class TextMoment:
    """A text of a file: of the content with this hash, by a channel, on a stretch of it."""

    content: str
    channel: str
    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class TextHit:
    """A text that has words of a query; a larger score (BM25, above 0) is better."""

    moment: TextMoment
    score: float


class TextIndex:
    """An open file of texts. Threads may share it; several processes may read while one writes."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it; where it cannot be written, it can be searched.

        Raises:
            MissingExtra: OpenCC is not installed.
            MmiTvrError: the file is none of ours, or damaged.
        """
        self.path = path
        self._turn = threading.Lock()
        self._folding = folding.fingerprint()
        self._writable = is_writable(path)
        with sqlite_errors(path, _PURPOSE):
            self._db = open_to_write(path) if self._writable else open_read_only(path).connection
            try:
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

    def begin(self, content: str, channel: str, fingerprint: str) -> float | None:
        """Return from which second on a file is still to be read by a channel; None where it has been read whole.

        What another fingerprint has read of it is forgotten, and it starts at 0.

        Args:
            content: hash of the file's bytes.
            channel: its name.
            fingerprint: of the channel.
        """
        with self._writing():
            row = self._db.execute(
                "SELECT reached, complete FROM readings WHERE content = ? AND channel = ? AND fingerprint = ?",
                (content, channel, fingerprint),
            ).fetchone()
            if row is not None:
                return None if row[1] else float(row[0])
            self._forget(content, channel)
            self._db.execute("INSERT INTO readings VALUES (?, ?, ?, 0, 0)", (content, channel, fingerprint))
            return 0.0

    def append(self, content: str, channel: str, passage: Passage) -> None:
        """Store the texts of a passage, and that the file has been read to its end: both, or neither."""
        rows = [
            (content, channel, *moment.span, moment.text, " ".join(folding.tokens(moment.text)))
            for moment in passage.moments
            if moment.text is not None
        ]
        with self._writing():
            self._db.executemany(
                'INSERT INTO texts (content, channel, start, "end", time, text, words) VALUES (?, ?, ?, ?, ?, ?, ?)',
                rows,
            )
            self._db.execute(
                "UPDATE readings SET reached = ? WHERE content = ? AND channel = ?", (passage.end, content, channel)
            )

    def finish(self, content: str, channel: str) -> None:
        """Store that a file has been read whole."""
        with self._writing():
            self._db.execute("UPDATE readings SET complete = 1 WHERE content = ? AND channel = ?", (content, channel))

    def forget(self, content: str, channel: str | None = None) -> None:
        """Remove what is stored of a file, by one channel or (None) by all."""
        with self._writing():
            self._forget(content, channel)

    def texts(self, content: str, channel: str | None = None) -> list[TextMoment]:
        """Return the texts of a file in order of time, by one channel or (None) by all."""
        rows = self._select(
            f"SELECT {_MOMENT} FROM texts WHERE content = ? AND channel = ifnull(?, channel) ORDER BY start, id",
            (content, channel),
        )
        return [_moment(row) for row in rows]

    def search(self, text: str, limit: int = 10, channels: Collection[str] | None = None) -> list[TextHit]:
        """Return the texts that have most of the words of a query, the best first.

        Args:
            text: as a person types it; what stands in quotation marks must be there as it is.
            limit: at most so many hits.
            channels: their names; None: all of them.
        """
        query = parse(text)
        if query.expression is None or limit < 1 or (channels is not None and not channels):
            return []
        conditions, arguments = ["word_index MATCH ?"], [query.expression]
        for words in query.exact:  # a phrase of FTS5 would take "walk" for "walks"
            conditions.append("instr(' ' || texts.words || ' ', ?)")
            arguments.append(f" {words} ")
        if channels is not None:
            conditions.append(f"channel IN ({', '.join('?' * len(channels))})")
            arguments.extend(channels)
        rows = self._select(
            f"SELECT {_MOMENT}, bm25(word_index) AS rank FROM word_index JOIN texts ON texts.id = word_index.rowid "
            f"WHERE {' AND '.join(conditions)} ORDER BY rank, texts.id LIMIT ?",
            (*arguments, limit),
        )
        return [TextHit(_moment(row), -float(row[-1])) for row in rows]

    def _prepare(self) -> None:
        """Make the tables where they are missing, and the index anew where words are folded otherwise now."""
        self._db.executescript(_SCHEMA)
        row = self._db.execute("SELECT fingerprint FROM folding").fetchone()
        if row == (self._folding,):
            return
        self._db.execute("BEGIN IMMEDIATE")
        rows = self._db.execute("SELECT id, text FROM texts").fetchall()
        folded = [(" ".join(folding.tokens(text)), number) for number, text in rows]
        self._db.executemany("UPDATE texts SET words = ? WHERE id = ?", folded)
        self._db.execute("INSERT INTO word_index (word_index) VALUES ('rebuild')")
        self._db.execute("DELETE FROM folding")
        self._db.execute("INSERT INTO folding VALUES (?)", (self._folding,))
        self._db.execute("COMMIT")

    def _forget(self, content: str, channel: str | None) -> None:
        for table in ("texts", "readings"):
            self._db.execute(
                f"DELETE FROM {table} WHERE content = ? AND channel = ifnull(?, channel)", (content, channel)
            )

    def _select(self, sql: str, arguments: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with self._turn, sqlite_errors(self.path, _PURPOSE):
            return self._db.execute(sql, arguments).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A transaction: all that is written in it, or nothing."""
        if not self._writable:
            raise LibraryReadOnly(self.path.parent, "the folder or the file may not be written")
        with self._turn, sqlite_errors(self.path, _PURPOSE):
            self._db.execute("BEGIN IMMEDIATE")
            with self._db:
                yield


_MOMENT = 'content, channel, start, "end", time, text'


def _moment(row: tuple[Any, ...]) -> TextMoment:
    content, channel, start, end, time, text = row[:6]
    return TextMoment(content, channel, Span(start, end, time), text)
