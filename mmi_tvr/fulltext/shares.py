"""How much of what a query says stands in texts, by its words; unlike BM25, comparable from one query to the next.

share = sum of the rarity of the query's words that a text has / sum of the rarity of all of them

with the rarity of BM25, ln(1 + (N - n + 0.5) / (n + 0.5)), of a word that n of N texts have. Words are those of
`query.parse`: folded, English endings apart, of Chinese pairs of neighbouring characters.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..types import MOMENT_BITS, IdArray
from .database import TextDatabase
from .query import parse, phrase

_COUNTED = 4_096  # texts with a word; of one that is in more of them, nobody counts how many more
_REMEMBERED = 4_096  # words of which it is remembered which texts have them


class WordShares:
    """Shares of words in the texts of a file as it is now. Where the file changes, a new one is needed."""

    def __init__(self, texts: TextDatabase) -> None:
        self._texts = texts
        self._having: dict[str, IdArray] = {}  # word -> ids of texts that have it, ascending, at most _COUNTED
        self._total: int | None = None

    def shares(self, text: str, ids: Sequence[int]) -> NDArray[np.float64]:
        """Return the share (n,) of what a query says that stands in each of n texts, 0..1."""
        numbers = np.array(ids, np.int64)
        shares, rarities = np.zeros(len(numbers)), 0.0
        for word, having, rarity in self._words(text) if len(numbers) else ():
            rarities += rarity
            if len(having) >= _COUNTED:
                having = self._which(word, ids)
            shares += rarity * np.isin(numbers, having)
        return shares / rarities if rarities else shares

    def best(self, text: str, limit: int, blocks: IdArray) -> list[int]:
        """Return the ids of at most `limit` texts, of these blocks, that have the largest share of what a query says.

        Words that very many texts have are passed over, unless none of these texts has another one.
        """
        words = [(having, rarity) for _, having, rarity in self._words(text) if len(having)]
        rare = [one for one in words if len(one[0]) < _COUNTED]
        return _largest_sums(rare, limit, blocks) or _largest_sums(words, limit, blocks)

    def _words(self, text: str) -> Iterator[tuple[str, IdArray, float]]:
        """Yield the words of a query with the ids of texts that have them, and their rarity."""
        query = parse(text)
        for word in (*query.exact, *query.terms):
            having = self._texts_with(word)
            yield word, having, self._rarity(len(having))

    def _rarity(self, count: int) -> float:
        if self._total is None:
            self._total = int(self._texts.select("SELECT COUNT(*) FROM moments")[0][0])
        return math.log1p(max(0.0, self._total - count + 0.5) / (count + 0.5))

    def _texts_with(self, word: str) -> IdArray:
        if word not in self._having:
            if len(self._having) >= _REMEMBERED:
                self._having.clear()
            sql = "SELECT rowid FROM word_index WHERE word_index MATCH ? LIMIT ?"
            self._having[word] = _ids(self._texts.select(sql, (phrase(word), _COUNTED)))
        return self._having[word]

    def _which(self, word: str, ids: Sequence[int]) -> IdArray:
        sql = "SELECT rowid FROM word_index WHERE word_index MATCH ? AND rowid IN (SELECT value FROM json_each(?))"
        return _ids(self._texts.select(sql, (phrase(word), json.dumps([*ids]))))


def _ids(rows: Sequence[tuple[int]]) -> IdArray:
    return np.array(rows, np.int64).reshape(-1)


def _largest_sums(words: Sequence[tuple[IdArray, float]], limit: int, blocks: IdArray) -> list[int]:
    """Return the ids of these blocks with the largest sums of what the words are worth that have them."""
    if not words:
        return []
    ids, places = np.unique(np.concatenate([having for having, _ in words]), return_inverse=True)
    sums = np.bincount(places, np.repeat([worth for _, worth in words], [len(having) for having, _ in words]))
    allowed = np.isin(ids >> MOMENT_BITS, blocks)
    ids, sums = ids[allowed], sums[allowed]
    best: list[int] = ids[np.lexsort((ids, -sums))[:limit]].tolist()
    return best
