"""Whether the best hit shows what a query says, where a model has a head for it (`protocols.MatchingModel`).

Decision: the head judges the best hit alone, changes no order and no relevance, and what it says with the score decides
whether a search has found something.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import UsageError
from ..protocols import MatchingModel, Model, RelevanceCalibration
from ..types import Embeddings, FloatArray, MatchLaw, ScoreLaw
from ..utils.wording import model_title
from . import relevance
from .similarity import Gallery


def decides(model: Model) -> bool:
    """Return whether a model has a matching head, which decides in the place of relevance."""
    return isinstance(model, MatchingModel) and model.scoring.match_law is not None


def match(model: Model, queries: FloatArray, videos: Sequence[Embeddings]) -> FloatArray:
    """Return how well each of N queries (N, D) matches its own one of N videos (N,), in the unit of the model's head.

    UsageError where it has none.
    """
    values = model.match(queries, videos) if isinstance(model, MatchingModel) else None
    if values is None:
        raise UsageError(f"{model_title(model)} has no head that matches queries and videos")
    return values


def evidence(model: Model, queries: FloatArray, videos: Sequence[Embeddings], scores: FloatArray) -> FloatArray:
    """Return what tells whether best hits are right (N,): what the head says and the score, else the score alone.

    Args:
        model: Its head, where it has one that decides.
        queries: N vectors (N, D).
        videos: The best hit of each.
        scores: Their scores (N,).
    """
    law = model.scoring.match_law
    if law is None or not decides(model):
        return scores
    total: FloatArray = match(model, queries, videos) + law.score_weight * np.asarray(scores, np.float64)
    return total


def law_of(model: Model) -> RelevanceCalibration | None:
    """Return the law that makes 0..1 of the evidence in every collection; None where no head decides."""
    law = model.scoring.match_law
    return match_calibration(law) if law is not None and decides(model) else None


def match_calibration(law: MatchLaw) -> RelevanceCalibration:
    """Return a law of matches as what makes 0..1 of evidence."""
    return relevance.LogisticLaw(ScoreLaw(law.middle, law.slope), 1)


def calibrate(model: Model, sample: Gallery, size: int) -> RelevanceCalibration:
    """Return the law of what decides in a collection of `size` videos: of matches, else that of relevance."""
    return law_of(model) or relevance.calibrate(model, sample, size)
