"""What the videos of a library answered, as descriptions that a search looks at: by meaning, and by words.

They stand in the catalogue, under the number of their content, and go with it. `describe` writes them; for another
model than the one that embedded them they are not there. Where SQLite has no full-text search (FTS5), words are not
searched.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..types import DescriptionMatch, FloatArray
from ..utils.description_words import indexed_words, query_words
from .catalogue import Catalogue

_WORDS_TABLE = "description_words"  # made by the first writer, because not every SQLite can
_MAX_BYTES = 1 << 28  # of vectors that are held in memory; of more, candidates come by words and by pictures


@dataclass(frozen=True, slots=True)
class Description:
    """What a content answered, and its vector (D,), by the model with the fingerprint `maker`."""

    text: str
    maker: str
    vector: FloatArray


class Descriptions:
    """The descriptions in an open catalogue; `maker` is the fingerprint of the model that searches."""

    def __init__(self, catalogue: Catalogue, maker: str) -> None:
        self._catalogue = catalogue
        self._db = catalogue.connection
        self._maker = maker
        self._held: tuple[NDArray[np.int64], NDArray[np.float32]] | None = None

    def count(self) -> int:
        """Return how many contents have a description by this maker."""
        sql = "SELECT COUNT(*) FROM descriptions WHERE maker = ?"
        return int(self._db.execute(sql, (self._maker,)).fetchone()[0])

    def stored(self, numbers: Collection[int]) -> dict[int, str]:
        """Return the texts of those of these contents that have one by this maker."""
        sql = "SELECT content, text FROM descriptions WHERE maker = ? AND content IN (SELECT value FROM json_each(?))"
        return dict(self._db.execute(sql, (self._maker, _as_json(numbers))).fetchall())

    def put(self, descriptions: Mapping[int, Description], emptied: Collection[int] = ()) -> None:
        """Store descriptions by content, and forget those of the `emptied` ones, in one transaction."""
        with self._catalogue.transaction():
            rows = [
                (number, one.text, one.maker, np.asarray(one.vector, np.float32).tobytes())
                for number, one in descriptions.items()
            ]
            self._db.executemany("INSERT OR REPLACE INTO descriptions VALUES (?, ?, ?, ?)", rows)
            self._db.executemany("DELETE FROM descriptions WHERE content = ?", [(number,) for number in emptied])
            self._put_words({number: one.text for number, one in descriptions.items()})

    def _put_words(self, texts: Mapping[int, str]) -> None:
        try:
            self._db.execute(f"CREATE VIRTUAL TABLE IF NOT EXISTS {_WORDS_TABLE} USING fts5(words)")
        except sqlite3.OperationalError:  # no such module: fts5
            return
        self._db.execute(f"DELETE FROM {_WORDS_TABLE} WHERE rowid NOT IN (SELECT content FROM descriptions)")
        rows = [(number, " ".join(indexed_words(text))) for number, text in texts.items()]
        self._db.executemany(f"INSERT OR REPLACE INTO {_WORDS_TABLE} (rowid, words) VALUES (?, ?)", rows)

    # What a search needs (`search.DescriptionSource`)

    def nearest(self, text: str, vector: FloatArray, limit: int) -> frozenset[int]:
        """Return the numbers of at most 2 * limit videos: whose descriptions match by words, and by meaning."""
        by_words = sorted(self._word_scores(text).items(), key=lambda item: (-item[1], item[0]))[:limit]
        numbers, vectors = self._vectors()
        if not len(numbers):
            return frozenset(number for number, _ in by_words)
        cosines = vectors @ _unit(vector)
        best = np.argpartition(-cosines, min(limit, len(cosines) - 1))[:limit]
        return frozenset(numbers[best].tolist()) | {number for number, _ in by_words}

    def matches(self, text: str, vector: FloatArray, numbers: Iterable[int]) -> dict[int, DescriptionMatch]:
        """Return how the descriptions of those of these videos that have one match a query and its vector (D,)."""
        sql = (
            "SELECT content, text, vector FROM descriptions "
            "WHERE maker = ? AND content IN (SELECT value FROM json_each(?))"
        )
        rows = self._db.execute(sql, (self._maker, _as_json(numbers))).fetchall()
        scores, searched_words, unit = self._word_scores(text), query_words(text), _unit(vector)
        matches = {}
        for number, description, stored in rows:
            in_description = set(indexed_words(description))
            words = tuple(word for word in searched_words if word in in_description)
            cosine = float(np.frombuffer(stored, np.float32) @ unit)
            matches[number] = DescriptionMatch(description, words, cosine, scores.get(number, 0.0))
        return matches

    def _word_scores(self, text: str) -> dict[int, float]:
        """Return number -> BM25, larger is better, of the videos whose descriptions have words of a query."""
        words = query_words(text)
        if not words:
            return {}
        sql = (
            f"SELECT rowid, -bm25({_WORDS_TABLE}) FROM {_WORDS_TABLE} WHERE words MATCH ? "
            "AND rowid IN (SELECT content FROM descriptions WHERE maker = ?)"
        )
        expression = " OR ".join(f'"{word}"' for word in words)
        try:
            return dict(self._db.execute(sql, (expression, self._maker)).fetchall())
        except sqlite3.OperationalError:  # no such table, or no such module
            return {}

    def _vectors(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return numbers (N,) and unit vectors (N, D) of all descriptions by this maker; none where it is too many."""
        if self._held is None:
            sql = "SELECT COALESCE(SUM(LENGTH(vector)), 0) FROM descriptions WHERE maker = ?"
            rows = []
            if self._db.execute(sql, (self._maker,)).fetchone()[0] <= _MAX_BYTES:
                sql = "SELECT content, vector FROM descriptions WHERE maker = ? ORDER BY content"
                rows = self._db.execute(sql, (self._maker,)).fetchall()
            numbers = np.array([number for number, _ in rows], np.int64)
            vectors = np.frombuffer(b"".join(vector for _, vector in rows), np.float32).reshape(
                len(rows), -1 if rows else 0
            )
            self._held = numbers, vectors
        return self._held


def _unit(vector: FloatArray) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = np.asarray(vector, np.float32) / np.float32(max(float(np.linalg.norm(vector)), 1e-12))
    return unit


def _as_json(numbers: Iterable[int]) -> str:
    return json.dumps([int(number) for number in numbers])
