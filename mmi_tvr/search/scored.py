"""The candidates of a query with their exact scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..protocols import Index, Model, RelevanceCalibration
from ..scoring import exclusion
from ..scoring.descriptions import description_changes
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
        numbers = sorted(entries)
        if not numbers:
            return NO_RANKING
        ids = np.concatenate([row_ids(number, len(entries[number].segments)) for number in numbers])
        gallery = Gallery.from_index(self.index, ids)
        scores = gallery.score(query[None], self.model.scoring)[0]
        changes = {}
        if len(excluded):
            changes["excluded"] = -exclusion.penalties(gallery.score(excluded, self.model.scoring))
        if matches:
            changes["description"] = description_changes([matches.get(n) for n in numbers], self.description_weight)
        vectors = []
        for row, number in enumerate(numbers):
            moments = gallery.moments[gallery.offsets[row] : gallery.offsets[row + 1]]
            vectors.append(Embeddings(gallery.videos[row], moments, entries[number].segments))
        relevances = calibration.relevance(scores, query)
        return Ranking(
            numbers=np.array(numbers, dtype=np.int64),
            model_scores=scores,
            relevances=relevances,
            entries=[entries[number] for number in numbers],
            vectors=vectors,
            changes=changes,
            matches=matches,
        ).by_score()
