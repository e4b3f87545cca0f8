"""What the score of a query with people in it is worth: among the videos that they are in, and beside unrelated
sentences with the same people.

A name or a face in a sentence moves its score with every video, and of a few videos the best of the unrelated is worse
than of many. So the law of relevance (`relevance`) is that of the videos that are searched, and scores count by how
much more they are than what the people alone make of them. Fewer than LEAST_VIDEOS are judged as if they were so many
of their kind: from which relevance on hits are to be believed was chosen on collections, not on one video.

A law that a model brings which reads faces was measured on queries by a face, and scores of such queries are what it is
about: of them nothing is taken away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..protocols import Model, RelevanceCalibration
from ..types import FloatArray, Person, Query
from ..utils.chinese import has_chinese
from . import relevance
from .similarity import Gallery

# Sentences by which the people are measured, with them and without (decision: as few as a search can embed).
_SENTENCES = 12
# Decision: the largest number with which at most a tenth of the right first hits was lost, on average over 1 to 15
# videos, of the captions of one half of 38 real clips (docs/people.md has what the other half says).
LEAST_VIDEOS = 10


@dataclass(frozen=True, slots=True)
class PersonalLaw:
    """A law for queries with certain people: scores count less `shift`."""

    law: RelevanceCalibration
    shift: float

    def relevance(self, scores: FloatArray, query: FloatArray) -> FloatArray:
        """Return the relevance of the scores of a query (D,), in 0..1, elementwise."""
        return self.law.relevance(np.asarray(scores) - self.shift, query)


def personal_law(model: Model, sample: Gallery, size: int, query: Query) -> PersonalLaw:
    """Return the law for queries with the people of one among `size` videos.

    Args:
        model: that searches.
        sample: of the videos that are searched: at most `relevance.SAMPLE`.
        size: how many there are.
        query: the people count, and its language.
    """
    law = relevance.calibrate(model, sample, max(size, LEAST_VIDEOS))
    if model.scoring.score_law is not None and any(len(person.faces) for person in query.persons.values()):
        return PersonalLaw(law, 0.0)
    texts, vectors = relevance.background_texts(), relevance.background_vectors(model)
    rows = [row for row, text in enumerate(texts) if has_chinese(text) == has_chinese(query.text)]
    rows = rows[:: max(1, len(rows) // _SENTENCES)]
    personal = _personal_vectors(model, [texts[row] for row in rows], query.persons)
    shift = sample.score(personal, model.scoring) - sample.score(vectors[rows], model.scoring)  # (S, M)
    return PersonalLaw(law, float(shift.mean()))


def _personal_vectors(model: Model, texts: Sequence[str], persons: Mapping[str, Person]) -> FloatArray:
    """Return the vectors (S, D) of sentences with people in front.

    They are never stored: a name is nobody's business but that of the library, which may have to forget it.
    """
    front = " ".join(f"[{handle}]" for handle in persons)
    return np.asarray(model.embed_queries([Query(f"{front} {text}", persons=persons) for text in texts]), np.float32)
