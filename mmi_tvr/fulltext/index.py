"""Texts of moments in one SQLite file, by the content of files and by channel, and the search for words in them.

Moments are written passage by passage, with how far the file has been read: a recording whose reading was cut off goes
on there. A moment has an id that no other one is ever given: a block, which belongs to one file and one channel, and a
place in it (as `types.row_ids` has them). Vectors of moments lie elsewhere, under the same ids.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..types import MAX_MOMENTS, MOMENT_BITS, FloatArray, IdArray, Passage, Span
from .database import TextDatabase, folded_words
from .query import parse

# Ids (n,), and the vectors (n, D) of the moments that have them.
KeepVectors = Callable[[IdArray, FloatArray], object]


@dataclass(frozen=True, slots=True)
class TextMoment:
    """A moment of a file: of the content with this hash, by a channel, on a stretch of it, with a text where the
    channel reads one."""

    content: str
    channel: str
    span: Span
    text: str | None
    id: int


@dataclass(frozen=True, slots=True)
class TextHit:
    """A text that has words of a query; a larger score (BM25, above 0) is better."""

    moment: TextMoment
    score: float


@dataclass(frozen=True, slots=True)
class ReadingState:
    """How far a channel has come with a file: read whole, or set aside with the reason, or neither yet."""

    is_complete: bool
    reason: str | None


class TextIndex(TextDatabase):
    """An open file of texts. Threads may share it; several processes may read while one writes."""

    # Reading files

    def begin(self, content: str, channel: str, fingerprint: str) -> float | None:
        """Return from which second on a file is still to be read by a channel; None where it has been read whole.

        What another fingerprint has read of it is forgotten, and it starts at 0.

        Args:
            content: hash of the file's bytes.
            channel: its name.
            fingerprint: of the channel.
        """
        with self.writing() as database:
            row = database.execute(
                "SELECT reached, state FROM readings WHERE content = ? AND channel = ? AND fingerprint = ?",
                (content, channel, fingerprint),
            ).fetchone()
            if row is not None:
                return None if row[1] == "complete" else float(row[0])
            self._forget(content, channel)
            database.execute(
                "INSERT INTO readings (content, channel, fingerprint) VALUES (?, ?, ?)", (content, channel, fingerprint)
            )
            return 0.0

    def append(self, content: str, channel: str, passage: Passage, keep_vectors: KeepVectors | None = None) -> None:
        """Store the moments of a passage, and that the file has been read to its end: both, or neither.

        keep_vectors: makes the vectors durable before that. After a kill in between, the same ids come again.
        """
        with self.writing() as database:
            ids = self._next_ids(content, channel, len(passage.moments))
            if keep_vectors is not None and passage.moments:
                keep_vectors(ids, np.stack([moment.vector for moment in passage.moments]))
            rows = [
                (number, content, channel, *moment.span, moment.text, folded_words(moment.text))
                for number, moment in zip(ids.tolist(), passage.moments, strict=True)
            ]
            database.executemany("INSERT INTO moments VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            database.execute(
                "UPDATE readings SET reached = ? WHERE content = ? AND channel = ?", (passage.end, content, channel)
            )

    def finish(self, content: str, channel: str) -> None:
        """Store that a file has been read whole."""
        self._set_state(content, channel, "complete", None)

    def set_aside(self, content: str, channel: str, reason: str) -> None:
        """Store that a file cannot be read (on), and why."""
        self._set_state(content, channel, "set aside", reason)

    def readings(self, channel: str, fingerprint: str) -> dict[str, ReadingState]:
        """Return content -> how far a channel of this fingerprint has come with it, of all files that it has begun."""
        rows = self.select(
            "SELECT content, state, reason FROM readings WHERE channel = ? AND fingerprint = ?", (channel, fingerprint)
        )
        return {content: ReadingState(state == "complete", reason) for content, state, reason in rows}

    # Forgetting

    def forget(self, content: str, channel: str | None = None) -> None:
        """Remove what is stored of a file, by one channel or (None) by all."""
        with self.writing():
            self._forget(content, channel)

    def keep_contents(self, contents: Collection[str]) -> None:
        """Remove what is stored of all other files."""
        stored = [content for (content,) in self.select("SELECT DISTINCT content FROM readings")]
        vanished = set(stored).difference(contents)
        if vanished:
            with self.writing():
                for content in vanished:
                    self._forget(content, None)

    # Moments

    def texts(self, content: str, channel: str | None = None) -> list[TextMoment]:
        """Return the moments of a file in order of time, by one channel or (None) by all."""
        rows = self.select(
            f"SELECT {_MOMENT} FROM moments WHERE content = ? AND channel = ifnull(?, channel) ORDER BY start, id",
            (content, channel),
        )
        return [_moment(row) for row in rows]

    def moments(self, ids: Iterable[int]) -> dict[int, TextMoment]:
        """Return id -> moment of those of these that there are."""
        rows = self.select(f"SELECT {_MOMENT} FROM moments WHERE id IN (SELECT value FROM json_each(?))", (_list(ids),))
        return {moment.id: moment for moment in map(_moment, rows)}

    def ids(self, channel: str, fingerprint: str) -> IdArray:
        """Return the ids of all moments by a channel of this fingerprint, ascending."""
        rows = self.select(
            "SELECT id FROM moments JOIN readings USING (content, channel) WHERE channel = ? AND fingerprint = ? "
            "ORDER BY id",
            (channel, fingerprint),
        )
        return np.array(rows, np.int64).reshape(-1)

    def count(self, channel: str) -> int:
        """Return how many moments a channel has stored."""
        return int(self.select("SELECT COUNT(*) FROM moments WHERE channel = ?", (channel,))[0][0])

    def blocks(self, channel: str) -> dict[int, str]:
        """Return block -> the content that it belongs to, of one channel."""
        return dict(self.select("SELECT id, content FROM blocks WHERE channel = ?", (channel,)))

    # Search

    def search(
        self,
        text: str,
        limit: int = 10,
        channels: Collection[str] | None = None,
        contents: Collection[str] | None = None,
    ) -> list[TextHit]:
        """Return the texts that have most of the words of a query, the best first.

        Args:
            text: as a person types it; what stands in quotation marks must be there as it is.
            limit: at most so many hits.
            channels: their names; None: all of them.
            contents: of files that may be among the hits; None: all.
        """
        query = parse(text)
        if query.expression is None or limit < 1:
            return []
        conditions, arguments = ["word_index MATCH ?"], [query.expression]
        for words in query.exact:  # a phrase of FTS5 would take "walk" for "walks"
            conditions.append("instr(' ' || moments.words || ' ', ?)")
            arguments.append(f" {words} ")
        for column, values in (("channel", channels), ("content", contents)):
            if values is not None:
                conditions.append(f"{column} IN (SELECT value FROM json_each(?))")
                arguments.append(_list(values))
        rows = self.select(
            f"SELECT {_MOMENT}, bm25(word_index) AS rank FROM word_index JOIN moments ON moments.id = word_index.rowid "
            f"WHERE {' AND '.join(conditions)} ORDER BY rank, moments.id LIMIT ?",
            (*arguments, limit),
        )
        return [TextHit(_moment(row), -float(row[-1])) for row in rows]

    # Parts

    def _set_state(self, content: str, channel: str, state: str, reason: str | None) -> None:
        with self.writing() as database:
            database.execute(
                "UPDATE readings SET state = ?, reason = ? WHERE content = ? AND channel = ?",
                (state, reason, content, channel),
            )

    def _next_ids(self, content: str, channel: str, count: int) -> IdArray:
        """Return ids for the next moments of a file: behind the last one in its block, then in new blocks."""
        sql = "SELECT MAX(id) FROM blocks WHERE content = ? AND channel = ?"
        (block,) = self._db.execute(sql, (content, channel)).fetchone()
        used = MAX_MOMENTS + 1
        if block is not None:
            first, last = block << MOMENT_BITS, (block << MOMENT_BITS) + MAX_MOMENTS
            (largest,) = self._db.execute(
                "SELECT MAX(id) FROM moments WHERE id BETWEEN ? AND ?", (first, last)
            ).fetchone()
            used = 0 if largest is None else largest - first + 1
        ids: list[int] = []
        while len(ids) < count:
            if used > MAX_MOMENTS:
                cursor = self._db.execute("INSERT INTO blocks (content, channel) VALUES (?, ?)", (content, channel))
                block, used = cursor.lastrowid, 0
            ids.append((block << MOMENT_BITS) + used)
            used += 1
        return np.array(ids, np.int64)

    def _forget(self, content: str, channel: str | None) -> None:
        for table in ("moments", "blocks", "readings"):
            self._db.execute(
                f"DELETE FROM {table} WHERE content = ? AND channel = ifnull(?, channel)", (content, channel)
            )


_MOMENT = 'id, content, channel, start, "end", time, text'


def _moment(row: tuple[Any, ...]) -> TextMoment:
    number, content, channel, start, end, time, text = row[:7]
    return TextMoment(content, channel, Span(start, end, time), text, number)


def _list(values: Iterable[str] | Iterable[int]) -> str:
    return json.dumps([*values])
