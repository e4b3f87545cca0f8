"""The candidates of one query in an order, with all that a hit is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..types import DescriptionMatch, Embeddings, Explanation, FloatArray, IdArray, SimilarItem, VideoEntry
from .joint import permutation


@dataclass(frozen=True)
class Ranking:
    """Candidates side by side: numbers (n,), scores of the model and their relevances (n,), entries, vectors; by name,
    what else changes each score (n,); by number, how descriptions match, after a re-ranking explanations, and near-
    duplicates that were left out."""

    numbers: IdArray
    model_scores: FloatArray
    relevances: FloatArray
    entries: Sequence[VideoEntry]
    vectors: Sequence[Embeddings]
    changes: Mapping[str, FloatArray] = field(default_factory=dict)
    matches: Mapping[int, DescriptionMatch] = field(default_factory=dict)
    explanations: Mapping[int, Explanation] = field(default_factory=dict)
    folded: Mapping[int, Sequence[SimilarItem]] = field(default_factory=dict)

    @property
    def scores(self) -> FloatArray:
        """The scores that candidates are ordered by."""
        return sum(self.changes.values(), start=self.model_scores)

    def by_score(self) -> Ranking:
        """Return the candidates ordered by their scores; ties go to the smaller number."""
        return self._take(np.lexsort((self.numbers, -self.scores)))

    def in_order_of(self, values: Mapping[int, float], relevances: Mapping[int, float]) -> Ranking:
        """Return the candidates in the order of values, the largest first, with these relevances; both by number."""
        numbers = self.numbers.tolist()
        ranking = replace(self, relevances=np.array([relevances[number] for number in numbers]))
        return ranking._take(np.lexsort((self.numbers, -np.array([values[number] for number in numbers]))))

    def reordered(self, explanations: Sequence[Explanation]) -> Ranking:
        """Return the first ones, which are explained, in the order of their joint scores; behind them the rest."""
        count = len(explanations)
        first = permutation([explanation.joint_score for explanation in explanations])
        order = np.array([*first, *range(count, len(self.numbers))], dtype=np.intp)
        by_number = dict(zip(self.numbers[:count].tolist(), explanations, strict=True))
        return replace(self, explanations=by_number)._take(order)

    def relevant(self, least: float) -> Ranking:
        """Return the candidates of at least this relevance."""
        return self._take(np.flatnonzero(self.relevances >= least))

    def fold(self, groups: Mapping[int, int]) -> Ranking:
        """Return the candidates with the first one alone of each group, which knows the others; groups: by number."""
        leaders: dict[int, int] = {}
        folded: dict[int, list[SimilarItem]] = {}
        rows = []
        for row, number in enumerate(self.numbers.tolist()):
            leader = leaders.setdefault(groups[number], number) if number in groups else number
            if leader == number:
                rows.append(row)
            else:
                folded.setdefault(leader, []).append(SimilarItem(number, self.entries[row].paths[0]))
        return replace(self._take(np.array(rows, np.intp)), folded=folded) if folded else self

    def first(self, count: int) -> Ranking:
        """Return the best `count` candidates."""
        return self._take(np.arange(min(count, len(self.numbers))))

    def _take(self, order: NDArray[np.intp]) -> Ranking:
        return replace(
            self,
            numbers=self.numbers[order],
            model_scores=self.model_scores[order],
            relevances=self.relevances[order],
            changes={name: change[order] for name, change in self.changes.items()},
            entries=[self.entries[row] for row in order],
            vectors=[self.vectors[row] for row in order],
        )
