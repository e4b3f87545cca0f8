"""Relevance: a number in 0..1 that says how surely a hit is about the query, comparable across queries.

A score alone does not tell: every query has a best video, also one about something that is not there. A model that was
measured on queries with and without an answer brings a law of its own (`types.ScoreLaw`), by the score and, where that
is known, by how much of a video a query says. For all others, what tells is how well unrelated sentences do on the same
collection. Decision, from extreme value theory:

1. Background sentences (`background_sentences`), which know nothing of the collection, are searched like any query. The
   best score that each of them gets follows a Gumbel law. It is fitted on at most 2,000 videos and moved by
   beta * ln(M / m) to the collection's size M: the more videos, the better the best of the unrelated.
2. relevance = the share of unrelated sentences whose best hit here is worse: exp(-exp(-(score - mu) / beta)).

So 0.5 means: half of all unrelated sentences find something at least as good here. Within one query relevance has the
order of the scores. Normalising each video by its own background scores as well was tried; it told absent queries apart
no better, and broke that order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..protocols import Model, RelevanceCalibration
from ..types import FloatArray, Query, ScoreLaw
from ..utils import array_cache
from . import background_sentences
from .similarity import Gallery

SAMPLE = 2000  # videos that the law is fitted on
_SENTENCES = 128  # background sentences of each language
_EULER = 0.5772156649015329
_FLOOR = 1e-6


@dataclass(frozen=True, slots=True)
class GumbelLaw:
    """The law of unrelated sentences on one collection: a Gumbel distribution at `mu` with scale `beta`."""

    mu: float
    beta: float

    def relevance(self, scores: FloatArray, query: FloatArray) -> NDArray[np.float64]:
        """Return the relevance of scores, in 0..1, elementwise; all queries are alike.

        >>> GumbelLaw(mu=0.2, beta=0.05).relevance(np.array([0.0, 0.2, 0.4]), np.zeros(4)).round(2)
        array([0.  , 0.37, 0.98])
        """
        distance = np.clip((np.asarray(scores, np.float64) - self.mu) / self.beta, -30, 30)
        shares: NDArray[np.float64] = np.exp(-np.exp(-distance))
        return shares


@dataclass(frozen=True, slots=True)
class LogisticLaw:
    """The law that a model brings, in a collection of `size` videos."""

    law: ScoreLaw
    size: int

    def relevance(self, scores: FloatArray, query: FloatArray) -> NDArray[np.float64]:
        """Return the relevance of the scores of a query (D,), in 0..1, elementwise.

        >>> LogisticLaw(ScoreLaw(middle=0.6, slope=20), 9).relevance(np.array([0.5, 0.6, 0.8]), np.zeros(4)).round(2)
        array([0.12, 0.5 , 0.98])
        """
        middle = middles(self.law, query, self.size)
        odds = np.exp(np.clip(self.law.slope * (np.asarray(scores, np.float64) - middle), -30, 30))
        relevances: NDArray[np.float64] = odds / (1 + odds)
        return relevances


def middles(law: ScoreLaw, queries: FloatArray, size: int) -> NDArray[np.float64]:
    """Return the scores (N,) of relevance 0.5 of queries (N, D), or the one of a query (D,), among `size` videos."""
    if law.partial is None:
        return np.full(np.shape(queries)[:-1], law.middle)
    partial = law.partial
    inputs = np.asarray(queries, np.float64) @ np.asarray(partial.weights) + partial.bias
    whole = 1 / (1 + np.exp(-np.clip(inputs, -30, 30)))
    of_parts = partial.middle + partial.growth * math.log(max(size, 1))
    scores: NDArray[np.float64] = whole * law.middle + (1 - whole) * of_parts
    return scores


def calibrate(model: Model, sample: Gallery, size: int) -> RelevanceCalibration:
    """Return the model's own law, else fit one for a collection of `size` videos from a `sample` of at most SAMPLE."""
    if model.scoring.score_law is not None:
        return LogisticLaw(model.scoring.score_law, size)
    best = sample.score(background_vectors(model), model.scoring).max(axis=1).astype(np.float64)  # (S,)
    law = fitted_law(best)
    return GumbelLaw(law.mu + law.beta * math.log(max(size, 1) / len(sample)), law.beta)


def fitted_law(best: NDArray[np.float64]) -> GumbelLaw:
    """Return the law of the best scores (S,) that unrelated sentences get, by moments."""
    beta = max(best.std() * math.sqrt(6) / math.pi, _FLOOR)
    return GumbelLaw(best.mean() - _EULER * beta, beta)


def background_texts() -> tuple[str, ...]:
    """Return the background sentences, as many of each language, one language behind the other."""
    by_language = background_sentences.sentences().values()
    return tuple(text for sentences in by_language for text in sentences[:: len(sentences) // _SENTENCES])


def background_vectors(model: Model) -> FloatArray:
    """Return background sentences as this model embeds them (S, D), computed once per machine and model."""
    return array_cache.load_or_compute(
        f"background-{model.name}",
        model.fingerprint(),
        lambda: {"vectors": model.embed_queries([Query(text) for text in background_texts()])},
    )["vectors"]
