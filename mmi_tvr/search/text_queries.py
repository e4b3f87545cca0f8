"""What one text channel finds of a query: texts that say what is looked for, and not what is excluded.

    contribution of an item = that of what is looked for * (1 - the largest of what is excluded)

with contributions of `scoring.fusion`; a text that has most of the words of what is excluded says it for certain.
Decision: a text in which a sentence stands word for word is as relevant as can be, however much else it says: no
unrelated sentence stands in it.

Decision: an item counts as a whole, as it does by what is seen: what is said anywhere in a recording counts against
all of it. Each channel knows its own texts alone: a beach without people, of which people speak, is one.
docs/channels.md has the measurement.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..fulltext.folding import tokens
from ..fulltext.index import TextMoment
from ..queries import PreparedQuery
from ..scoring.fusion import contributions, without_excluded
from ..scoring.relevance import GumbelLaw
from ..types import FloatArray, Query
from .texts import ScoredItem, TextSearcher

SAYING = 0.6  # share of the words of what is excluded from which on a text says it
QUOTED = 4  # words (Chinese: characters) that are quoted, and no accident, where they stand in a text as in the query
_DEEPER = 4  # times as many items for a query that excludes something: the best of them may say it

Vectors = Mapping[str, FloatArray | None]  # of sentences, (D,); None where their words alone are searched


@dataclass(frozen=True, slots=True)
class TextQuery:
    """A query as text channels read it: what is looked for, each thing that is excluded, and the sentence as it was
    typed where it excludes something itself, else "".

    Decision: a text with every word of that sentence, its "without" among them, excludes the same: it is found by the
    sentence as it stands.
    """

    target: str
    excluded: tuple[str, ...] = ()
    sentence: str = ""

    @classmethod
    def of(cls, query: PreparedQuery) -> TextQuery:
        """Return what is read of a query: nothing of one without a text, or by an example."""
        if not query.positive.text.strip() or query.query.example is not None:
            return cls("")
        excluded = tuple(Query(text, persons=query.query.persons).spoken for text in query.excluded)
        excludes_itself = bool(excluded) and query.positive.text != query.query.text
        return cls(query.positive.spoken, excluded, query.query.spoken if excludes_itself else "")

    @property
    def sentences(self) -> tuple[str, ...]:
        """All that is searched for."""
        return tuple(text for text in (self.target, *self.excluded, self.sentence) if text)


@dataclass(frozen=True, slots=True)
class RelevantItem:
    """A content, by its hash, as a channel found it: its relevance by that channel alone, its score there, and its
    moments, the best first, with their relevances."""

    content: str
    relevance: float
    score: float
    moments: tuple[tuple[TextMoment, float], ...]

    def less(self, excluded: float) -> RelevantItem:
        """Return it where what is excluded contributes so much to it (0..1)."""
        moments = tuple((moment, without_excluded(relevance, excluded)) for moment, relevance in self.moments)
        return replace(self, relevance=without_excluded(self.relevance, excluded), moments=moments)


class TextChannel:
    """The moments of one channel, and what scores of queries are worth among them."""

    def __init__(self, name: str, searcher: TextSearcher, law: GumbelLaw) -> None:
        self.name = name
        self.searcher = searcher
        self.law = law

    def search(
        self, query: TextQuery, vectors: Vectors, items: int, contents: Collection[str] | None = None
    ) -> list[RelevantItem]:
        """Return the items that a query is for, the best first.

        Args:
            query: what is looked for.
            vectors: of its sentences.
            items: so many at least are looked for.
            contents: hashes of those to search among; None: all.
        """
        if not query.excluded:
            return self._relevant(query.target, vectors, items, contents)
        relevant = {one.content: one for one in self._relevant(query.target, vectors, _DEEPER * items, contents)}
        for content, excluded in self._excluded(query, vectors, relevant).items():
            relevant[content] = relevant[content].less(excluded)
        if query.sentence:
            verbatim = {one.content for one in self._scored(query.sentence, vectors, items, contents) if one.share >= 1}
            relevant |= {one.content: one for one in self._relevant(query.sentence, vectors, items, verbatim)}
        return sorted((one for one in relevant.values() if one.relevance > 0), key=lambda one: -one.relevance)

    def _scored(self, text: str, vectors: Vectors, items: int, contents: Collection[str] | None) -> list[ScoredItem]:
        return self.searcher.search(text, vectors[text], items, contents)

    def _excluded(self, query: TextQuery, vectors: Vectors, contents: Collection[str]) -> dict[str, float]:
        """Return how surely these contents say what a query excludes, 0..1, of those that may."""
        excluded: dict[str, float] = {}
        for text in query.excluded:
            for item in self._scored(text, vectors, len(contents), contents):
                surely = 1.0 if item.share >= SAYING else self._contribution(item.score)
                excluded[item.content] = max(surely, excluded.get(item.content, 0.0))
        return excluded

    def _contribution(self, score: float) -> float:
        scores = np.array([score])
        return contributions({self.name: float(self.law.relevance(scores, scores)[0])})[self.name]

    def _relevant(
        self, text: str, vectors: Vectors, items: int, contents: Collection[str] | None
    ) -> list[RelevantItem]:
        """Return the items that are found by a sentence, the best first."""
        relevant = []
        for item in self._scored(text, vectors, items, contents):
            scores = np.array([moment.score for moment in item.moments])
            relevances = self.law.relevance(scores, scores).tolist()
            moments = [
                (one.moment, 1.0 if one.share >= 1 and is_quoted(text, one.moment.text or "") else relevance)
                for one, relevance in zip(item.moments, relevances, strict=True)
            ]
            moments.sort(key=lambda moment: -moment[1])
            relevant.append(RelevantItem(item.content, moments[0][1], item.score, tuple(moments)))
        return sorted(relevant, key=lambda one: -one.relevance)


def is_quoted(sentence: str, text: str) -> bool:
    """Return whether a sentence, if it is long enough, stands in a text word for word.

    >>> [is_quoted(sentence, "And the ship leaves at seven.") for sentence in ("The ship leaves at", "the ship leaves")]
    [True, False]
    """
    words = tokens(sentence)
    return len(words) >= QUOTED and f" {' '.join(words)} " in f" {' '.join(tokens(text))} "
