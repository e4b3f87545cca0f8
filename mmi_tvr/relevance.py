"""Relevance: a number in 0..1 that says how surely a hit is about the query, comparable across queries.

A score alone does not tell: every query has a best video, also one about something that is not there. What tells is
how unrelated sentences score on the same collection. Decision, from speaker verification (Auckenthaler et al., 2000)
and extreme value theory:

1. z-norm: a video's score is measured against the scores that background sentences (`mmi_tvr.background`) get on that
   same video: z = (score - mean) / deviation. A video that every sentence likes gains nothing by it.
2. The best z over the collection of each background sentence follows a Gumbel law. It is fitted on at most 2,000 videos
   and moved by beta * ln(M / m) to the collection's size M: the more videos, the better the best of the unrelated.
3. relevance = the share of unrelated sentences whose best hit here is worse: exp(-exp(-(z - mu) / beta)).

So 0.5 means: half of all unrelated sentences find something at least as good here.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from . import background, cache
from .protocols import Model
from .scoring import Gallery
from .types import FloatArray, Query, Scoring

SAMPLE = 2000  # videos that the law is fitted on
_SENTENCES = 128  # background sentences of each language
_EULER = 0.5772156649015329
_FLOOR = 1e-6


class Relevance:
    """The law of unrelated sentences on one collection. `calibrate` makes it."""

    def __init__(self, unrelated: FloatArray, scoring: Scoring, mu: float, beta: float) -> None:
        self._unrelated = unrelated  # (S, D) unit vectors of background sentences
        self._scoring = scoring
        self.mu = mu
        self.beta = beta

    def of(self, gallery: Gallery, scores: FloatArray) -> NDArray[np.float64]:
        """Relevance (M,) of the gallery's M videos for one query's scores (M,)."""
        mean, deviation = _against(gallery, self._unrelated, self._scoring)
        z = (np.asarray(scores, np.float64) - mean) / deviation
        relevance: NDArray[np.float64] = np.exp(-np.exp(-np.clip((z - self.mu) / self.beta, -30, 30)))
        return relevance


def calibrate(model: Model, sample: Gallery, size: int) -> Relevance:
    """The law for a collection of `size` videos, of which `sample` (at most SAMPLE) are looked at."""
    vectors = _vectors(model)
    scores = sample.score(vectors, model.scoring).astype(np.float64)  # (S, m)
    deviation = np.maximum(scores.std(axis=0), _FLOOR)
    best = ((scores - scores.mean(axis=0)) / deviation).max(axis=1)  # (S,)
    beta = max(best.std() * math.sqrt(6) / math.pi, _FLOOR)
    mu = best.mean() - _EULER * beta + beta * math.log(max(size, 1) / len(sample))
    return Relevance(vectors, model.scoring, mu, beta)


def _against(gallery: Gallery, unrelated: FloatArray, scoring: Scoring) -> tuple[FloatArray, FloatArray]:
    scores = gallery.score(unrelated, scoring).astype(np.float64)
    return scores.mean(axis=0), np.maximum(scores.std(axis=0), _FLOOR)


def _vectors(model: Model) -> FloatArray:
    """Background sentences as this model sees them, computed once per machine and model."""
    texts = [text for each in background.sentences().values() for text in each[:: len(each) // _SENTENCES]]
    compute: Callable[[], dict[str, FloatArray]] = lambda: {  # noqa: E731
        "vectors": model.embed_queries([Query(text) for text in texts])
    }
    return cache.arrays(f"background-{model.name}", model.fingerprint(), compute)["vectors"]
