"""How like an example videos are, and what that is worth.

An example is E pictures. A video is as like one of them as its most like key image, by the model's own comparison, and
as like all of them as it is on average:

    likeness(video) = mean over the pictures of max over the key images of s(picture, key image)

With a sentence besides, the score is s(sentence, video) + weight * likeness(video). Decision: the weight has the
likeness count as much as the sentence, by how much either differs from one unrelated pair to another; pictures are far
more like each other than like sentences, and a plain sum would hear the picture alone.

Relevance is the share of unrelated examples (key images of other videos of the same collection), with unrelated
sentences where there is one, whose best hit here is worse: as in `relevance`, a Gumbel law. It is fitted by its
quartiles, because a collection in which every fifth picture has a twin is no rarity. Decision: fewer than LEAST videos
say nothing of that; there the likeness itself is the relevance. However alike a collection is, the picture itself has
0.95 at least.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..protocols import Model
from ..types import Embeddings, Features, FloatArray, QueryExample, Scoring, Span
from ..utils.wording import model_title
from .blocks import similarities
from .relevance import background_vectors
from .similarity import Gallery

MIN_RELEVANCE = 0.8  # of the best hit of an example, below which nothing is like it
LEAST = 8  # videos from which a law can be fitted
PICTURES = "pictures"  # among what a model `reads`
_UNRELATED = 128  # pictures that a law is fitted on
_SURE = 3.0  # scales above mu: a relevance of 0.95
_FLOOR = 1e-6


@dataclass(frozen=True, slots=True)
class ExampleLaw:
    """What likeness is worth in a collection: `weight` beside a sentence, and a Gumbel law of the scores at `mu` (None:
    nothing is known) with scale `beta`."""

    weight: float
    mu: float | None
    beta: float

    def relevance(self, scores: FloatArray, query: FloatArray) -> NDArray[np.float64]:
        """Return the relevance of scores, in 0..1, elementwise.

        >>> ExampleLaw(1.0, 0.5, 0.1).relevance(np.array([0.3, 0.5, 0.9]), np.zeros(4)).round(2)
        array([0.  , 0.37, 0.98])
        """
        values = np.asarray(scores, np.float64)
        if self.mu is None:
            return np.clip(values, 0.0, 1.0)
        distance = np.clip((values - self.mu) / self.beta, -30, 30)
        shares: NDArray[np.float64] = np.exp(-np.exp(-distance))
        return shares


def picture_scoring(scoring: Scoring) -> Scoring:
    """Return how a picture is compared with videos: with their most like key images."""
    return replace(scoring, moment_weight=1.0, top_moments=1, score_law=None, match_law=None)


def as_queries(moments: FloatArray, scoring: Scoring) -> FloatArray:
    """Return vectors of moments (E, D) as vectors of queries: of blocks, those of queries are unit vectors each."""
    vectors: FloatArray = np.asarray(moments, np.float32) * np.float32(math.sqrt(max(1, len(scoring.blocks))))
    return vectors


def require_pictures_read(model: Model) -> None:
    """Raise UsageError where a model compares no pictures with videos."""
    if PICTURES not in model.reads:
        read = ", ".join(sorted(model.reads)) or "nothing"
        raise UsageError(
            f"{model_title(model)} compares no pictures with videos: it reads {read}; leave out the example"
        )


def example_vectors(model: Model, example: QueryExample) -> FloatArray:
    """Return the vectors (E, D) of an example, as queries of a model.

    Raises UsageError where the model reads no pictures, or vectors are of another one.
    """
    require_pictures_read(model)
    if example.vectors is not None:
        return as_queries(example.vectors, model.scoring)
    count = len(example.pictures)
    segments = np.array([(k, k + 1, k + 0.5) for k in range(count)], dtype=np.float64)
    [embeddings] = model.embed_videos([Features(segments, model.encode_images(example.pictures))])
    return as_queries(embeddings.moments, model.scoring)


def likeness(gallery: Gallery, example: FloatArray, scoring: Scoring) -> FloatArray:
    """Return how like an example (E, D) the videos of a gallery are, (M,)."""
    mean: FloatArray = gallery.score(example, picture_scoring(scoring)).mean(axis=0)
    return mean


def most_alike(example: FloatArray, video: Embeddings, scoring: Scoring) -> Span:
    """Return the stretch of the key image of a video that is most like an example (E, D)."""
    best = int(moment_likeness(example, video, scoring).argmax())
    return Span(*map(float, video.segments[best]))


def moment_likeness(example: FloatArray, video: Embeddings, scoring: Scoring) -> FloatArray:
    """Return how like an example (E, D) each key image of a video is, (K,)."""
    mean: FloatArray = similarities(example, video.moments, scoring).mean(axis=0)
    return mean


def example_law(model: Model, sample: Gallery, size: int, with_text: bool) -> ExampleLaw:
    """Return what likeness is worth in a collection of `size` videos, from a `sample` of them.

    with_text: whether a sentence is looked for besides.
    """
    scoring, videos = model.scoring, len(sample)
    if videos < LEAST:
        return ExampleLaw(1.0, None, 1.0)
    chosen = np.unique(np.linspace(0, videos - 1, min(videos, _UNRELATED)).astype(np.int64))
    middles = (sample.offsets[chosen] + sample.offsets[chosen + 1]) // 2
    pictures = as_queries(sample.moments[middles], scoring)
    scores = sample.score(pictures, picture_scoring(scoring)).astype(np.float64)  # (P, M)
    itself = chosen[:, None] == np.arange(videos)
    weight = 1.0
    if with_text:
        sentences = sample.score(background_vectors(model), scoring).astype(np.float64)
        weight = float(sentences.std() / max(scores[~itself].std(), _FLOOR))
        scores = sentences[np.arange(len(chosen)) % len(sentences)] + weight * scores
    same = float(scores[itself].mean())
    best = np.where(itself, -np.inf, scores).max(axis=1)
    low, middle, high = np.quantile(best, (0.25, 0.5, 0.75))
    beta = max((high - low) / _quantile_distance(0.25, 0.75), _FLOOR)
    mu = middle + beta * math.log(-math.log(0.5)) + beta * math.log(max(size, 1) / videos)
    if not with_text:  # the picture itself is found in every collection
        mu = min(mu, same - _SURE * _FLOOR)
        beta = min(beta, (same - mu) / _SURE)
    return ExampleLaw(weight, float(mu), float(beta))


def _quantile_distance(low: float, high: float) -> float:
    """Return how far two quantiles of a Gumbel law of scale 1 lie apart."""
    return math.log(-math.log(low)) - math.log(-math.log(high))
