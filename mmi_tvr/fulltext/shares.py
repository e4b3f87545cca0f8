"""How much of what a query says stands in texts, by its words; unlike BM25, comparable from one query to the next.

share = sum of the rarity of the query's words that a text has / sum of the rarity of all of them

with the rarity of BM25, ln(1 + (N - n + 0.5) / (n + 0.5)), of a word that n of N texts have. Words are those of
`query.parse`: folded, English endings apart, of Chinese pairs of neighbouring characters.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .database import TextDatabase
from .query import parse, phrase

_COUNTED = 4_096  # texts with a word; of one that is in more of them, nobody counts how many more
_REMEMBERED = 4_096  # words of which it is remembered which texts have them


class WordShares:
    """Shares of words in the texts of a file as it is now. Where the file changes, a new one is needed."""

    def __init__(self, texts: TextDatabase) -> None:
        self._texts = texts
        self._having: dict[str, frozenset[int]] = {}  # word -> ids of texts that have it, at most _COUNTED
        self._total: int | None = None

    def shares(self, text: str, ids: Sequence[int]) -> NDArray[np.float64]:
        """Return the share (n,) of what a query says that stands in each of n texts, 0..1."""
        query = parse(text)
        shares, rarities = np.zeros(len(ids)), 0.0
        for word in (*query.exact, *query.terms) if ids else ():
            having = self._texts_with(word)
            rarity = self._rarity(len(having))
            rarities += rarity
            if len(having) >= _COUNTED:
                having = self._which(word, ids)
            shares += rarity * np.array([number in having for number in ids])
        return shares / rarities if rarities else shares

    def _rarity(self, count: int) -> float:
        if self._total is None:
            self._total = int(self._texts.select("SELECT COUNT(*) FROM moments")[0][0])
        return math.log1p(max(0.0, self._total - count + 0.5) / (count + 0.5))

    def _texts_with(self, word: str) -> frozenset[int]:
        if word not in self._having:
            if len(self._having) >= _REMEMBERED:
                self._having.clear()
            sql = "SELECT rowid FROM word_index WHERE word_index MATCH ? LIMIT ?"
            self._having[word] = frozenset(number for (number,) in self._texts.select(sql, (phrase(word), _COUNTED)))
        return self._having[word]

    def _which(self, word: str, ids: Sequence[int]) -> frozenset[int]:
        sql = "SELECT rowid FROM word_index WHERE word_index MATCH ? AND rowid IN (SELECT value FROM json_each(?))"
        return frozenset(number for (number,) in self._texts.select(sql, (phrase(word), json.dumps([*ids]))))
