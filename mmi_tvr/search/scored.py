"""The candidates of a query with their exact scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..protocols import Index, Model, RelevanceCalibration
from ..scoring import exclusion
from ..scoring.descriptions import description_changes
from ..scoring.examples import ExampleLaw, likeness
from ..scoring.ranking import Ranking
from ..scoring.similarity import Gallery
from ..types import DescriptionMatch, Embeddings, FloatArray, VideoEntry, row_ids

NO_RANKING = Ranking(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0), [], [])


@dataclass(frozen=True, slots=True)
class CandidateScores:
    """What scores candidates: the vectors of an index, as the model says, with what descriptions count besides."""

    index: Index
    model: Model
    description_weight: float

    def rank(
        self,
        query: FloatArray,
        excluded: FloatArray,
        entries: Mapping[int, VideoEntry],
        matches: Mapping[int, DescriptionMatch],
        calibration: RelevanceCalibration,
    ) -> Ranking:
        """Return the candidates with exact scores of a query (D,) from their stored vectors, best first.

        Args:
            query: (D,).
            excluded: (X, D), what it excludes.
            entries: The candidates by their numbers.
            matches: How it matches the descriptions of those that have one.
            calibration: What their scores are worth.
        """
        if not entries:
            return NO_RANKING
        gallery = self._gallery(entries)
        scores = gallery.score(query[None], self.model.scoring)[0]
        changes = self._changes(gallery, excluded, entries, matches)
        return _ranking(gallery, entries, scores, calibration.relevance(scores, query), changes, matches)

    def rank_by_example(
        self,
        example: FloatArray,
        query: FloatArray | None,
        excluded: FloatArray,
        weight: float,
        entries: Mapping[int, VideoEntry],
        matches: Mapping[int, DescriptionMatch],
        law: ExampleLaw,
    ) -> Ranking:
        """Return the candidates by how like an example they are, best first; arguments as those of `rank`.

        Args:
            example: (E, D).
            query: (D,) of the sentence besides; None where there is none.
            excluded: (X, D).
            weight: What the scores of sentences count beside likeness where nothing but these is excluded.
            entries: The candidates.
            matches: Of descriptions.
            law: What likeness counts, and what the scores are worth.
        """
        if not entries:
            return NO_RANKING
        gallery = self._gallery(entries)
        likenesses = law.weight * likeness(gallery, example, self.model.scoring)
        scores = np.zeros_like(likenesses)
        if query is not None:
            scores = gallery.score(query[None], self.model.scoring)[0]
        changes = {"example": likenesses, **self._changes(gallery, excluded, entries, matches, weight)}
        relevances = law.relevance(scores + likenesses, example)
        return _ranking(gallery, entries, scores, relevances, changes, matches)

    def _gallery(self, entries: Mapping[int, VideoEntry]) -> Gallery:
        """Return the stored vectors of candidates, in the order of their numbers."""
        ids = [row_ids(number, len(entries[number].segments)) for number in sorted(entries)]
        return Gallery.from_index(self.index, np.concatenate(ids))

    def _changes(
        self,
        gallery: Gallery,
        excluded: FloatArray,
        entries: Mapping[int, VideoEntry],
        matches: Mapping[int, DescriptionMatch],
        weight: float = 1.0,
    ) -> dict[str, FloatArray]:
        """Return by name what changes the scores of candidates besides what is looked for."""
        changes = {}
        if len(excluded):
            changes["excluded"] = -weight * exclusion.penalties(gallery.score(excluded, self.model.scoring))
        if matches:
            of_videos = [matches.get(number) for number in sorted(entries)]
            changes["description"] = description_changes(of_videos, self.description_weight)
        return changes


def _ranking(
    gallery: Gallery,
    entries: Mapping[int, VideoEntry],
    scores: FloatArray,
    relevances: FloatArray,
    changes: Mapping[str, FloatArray],
    matches: Mapping[int, DescriptionMatch],
) -> Ranking:
    """Return candidates in the order of their scores; the arrays are in that of their numbers."""
    numbers = sorted(entries)
    vectors = []
    for row, number in enumerate(numbers):
        moments = gallery.moments[gallery.offsets[row] : gallery.offsets[row + 1]]
        vectors.append(Embeddings(gallery.videos[row], moments, entries[number].segments))
    return Ranking(
        numbers=np.array(numbers, np.int64),
        model_scores=scores,
        relevances=relevances,
        entries=[entries[number] for number in numbers],
        vectors=vectors,
        changes=changes,
        matches=matches,
    ).by_score()
