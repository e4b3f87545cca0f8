"""Whether the best hit shows what a query says, where a model has a head for it (`protocols.MatchingModel`).

Decision: the head judges the best hit alone, changes no order and no relevance, and what it says decides whether a
search has found something.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UsageError
from ..protocols import MatchingModel, Model, RelevanceCalibration
from ..types import Embeddings, FloatArray
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


def law_of(model: Model) -> RelevanceCalibration | None:
    """Return the law that makes 0..1 of what a model's head says, in every collection; None where it has none."""
    law = model.scoring.match_law
    return relevance.LogisticLaw(law, 1) if law is not None and decides(model) else None


def calibrate(model: Model, sample: Gallery, size: int) -> RelevanceCalibration:
    """Return the law of what decides in a collection of `size` videos: of matches, else that of relevance."""
    return law_of(model) or relevance.calibrate(model, sample, size)
