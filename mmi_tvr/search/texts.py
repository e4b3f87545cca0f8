"""Search in the moments of one channel that have texts: by meaning, by words, and both together.

    score of a moment = cosine of its vector and the query's + WORDS * share of the query's words that its text has
    score of an item  = that of its best moment

Candidates are the moments nearest by vector, and the best by words. What stands in quotation marks must be in
the text as it is. Relevance is the share of unrelated sentences that find nothing as good here (`scoring.relevance`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ..fulltext.index import TextIndex, TextMoment
from ..fulltext.query import parse
from ..fulltext.shares import WordShares
from ..protocols import Index
from ..scoring.relevance import GumbelLaw, fitted_law
from ..types import Filter, FloatArray, IdArray

WORDS = 0.05  # what the share of words counts beside the cosine
_CANDIDATES = 50  # moments by vector, and as many by words
_MOST_CANDIDATES = 12_800
_DEEPER = 4  # times as many where they are of too few items


@dataclass(frozen=True, slots=True)
class ScoredMoment:
    """A moment, how well it matches a query, and the share of the query's words that its text has (0..1)."""

    moment: TextMoment
    score: float
    share: float


@dataclass(frozen=True, slots=True)
class ScoredItem:
    """A content, by its hash, whose moments match a query, the best first."""

    content: str
    moments: tuple[ScoredMoment, ...]

    @property
    def score(self) -> float:
        return self.moments[0].score

    @property
    def share(self) -> float:
        """The largest share of the query's words that one of its texts has."""
        return max(moment.share for moment in self.moments)


class TextSearcher:
    """Searches the moments of one channel."""

    def __init__(self, channel: str, texts: TextIndex, vectors: Index | None, shares: WordShares) -> None:
        """Search what lies in a file of texts.

        Args:
            channel: its name.
            texts: the moments of all channels.
            vectors: of this channel's moments, under their ids; None: they are searched by their words alone.
            shares: of words in `texts`.
        """
        self.channel = channel
        self._texts = texts
        self._vectors = vectors
        self._shares = shares
        self._blocks = texts.blocks(channel)

    def contents(self) -> frozenset[str]:
        """Return the hashes of the contents that have moments here."""
        return frozenset(self._blocks.values())

    def search(
        self, text: str, vector: FloatArray | None, items: int, contents: Collection[str] | None = None
    ) -> list[ScoredItem]:
        """Return the items that match a query, the best first.

        Args:
            text: as a person types it.
            vector: of the query (D,); None: only its words count.
            items: so many at least are looked for.
            contents: hashes of those to search among; None: all.
        """
        limit, scored = _CANDIDATES, self._items(text, vector, _CANDIDATES, contents)
        while len(scored) < items and limit < _MOST_CANDIDATES and sum(len(one.moments) for one in scored) >= limit:
            limit *= _DEEPER
            scored = self._items(text, vector, limit, contents)
        return scored

    def best_score(self, text: str, vector: FloatArray | None) -> float:
        """Return the score of the best moment of all; 0 where there is none."""
        return next((item.score for item in self._items(text, vector, _CANDIDATES, None)), 0.0)

    def _items(
        self, text: str, vector: FloatArray | None, limit: int, contents: Collection[str] | None
    ) -> list[ScoredItem]:
        moments, cosines = self._candidates(text, vector, limit, contents)
        shares = dict(zip(moments, self._shares.shares(text, [*moments]).tolist(), strict=True))
        scores = {number: cosines[number] + WORDS * share for number, share in shares.items()}
        by_content: dict[str, list[ScoredMoment]] = {}
        for number in sorted(moments, key=lambda number: (-scores[number], number)):
            scored = ScoredMoment(moments[number], scores[number], shares[number])
            by_content.setdefault(scored.moment.content, []).append(scored)
        return [ScoredItem(content, tuple(of_content)) for content, of_content in by_content.items()]

    def _candidates(
        self, text: str, vector: FloatArray | None, limit: int, contents: Collection[str] | None
    ) -> tuple[dict[int, TextMoment], dict[int, float]]:
        """Return moments that may match, and their cosines with the query, by id."""
        blocks = np.array(self._blocks_of(contents), np.int64)
        if parse(text).exact:
            by_words = self._texts.search(text, limit, [self.channel], contents)
            moments = {hit.moment.id: hit.moment for hit in by_words}
        else:
            moments = self._texts.moments(self._shares.best(text, limit, blocks))
        cosines = dict.fromkeys(moments, 0.0)
        if vector is None or self._vectors is None:
            return moments, cosines
        if not parse(text).exact:
            nearest = self._nearest(vector, limit, None if contents is None else blocks)
            moments |= self._texts.moments(nearest.keys() - moments.keys())
            cosines |= {number: nearest[number] for number in nearest.keys() & moments.keys()}
        return moments, cosines | self._cosines([number for number in moments if not cosines.get(number)], vector)

    def _blocks_of(self, contents: Collection[str] | None) -> list[int]:
        """Return the blocks of ids of these contents (None: of all)."""
        if contents is None:
            return [*self._blocks]
        return [block for block, content in self._blocks.items() if content in contents]

    def _nearest(self, vector: FloatArray, limit: int, blocks: IdArray | None) -> dict[int, float]:
        """Return the cosines of the nearest moments of these blocks (None: all) by id."""
        assert self._vectors is not None
        where = Filter(videos=None if blocks is None else frozenset(blocks.tolist()))
        scores, ids = self._vectors.search(vector[None], limit, where)
        return {number: score for number, score in zip(ids[0].tolist(), scores[0].tolist(), strict=True) if number >= 0}

    def _cosines(self, ids: Iterable[int], vector: FloatArray) -> dict[int, float]:
        """Return the cosines of those of these moments that have a vector here."""
        assert self._vectors is not None
        cosines = {}
        for number in ids:
            try:
                cosines[number] = float(self._vectors.get(np.array([number]))[0] @ vector)
            except KeyError:  # what another fingerprint of the channel has read is not embedded here
                continue
        return cosines


def calibrate(searcher: TextSearcher, background: Mapping[str, FloatArray | None]) -> GumbelLaw:
    """Return what scores are worth among the moments of a channel: the law of the best of unrelated sentences.

    background: sentences with their vectors (D,), or None where words alone are searched.
    """
    best = [searcher.best_score(text, vector) for text, vector in background.items()]
    return fitted_law(np.array(best))
