"""Where in a video a query happens, from the vectors that a search has at hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..protocols import LocatingModel, Model
from ..types import Embeddings, FloatArray, Scoring, Span
from .blocks import similarities

_LEVEL = 0.1  # of the range of a video's scores, below the best: chosen on the validation split of moving_shapes
_TOLERANCE = 1e-6  # scores in float32 that are closer than this are equal


def locate(model: Model, queries: FloatArray, videos: Sequence[Embeddings]) -> list[Span]:
    """Return where each of N queries (N, D) happens in its own one of N videos.

    A model's head for it says where. Without one it is the best key image, with the segments of its neighbours on both
    sides as long as they are nearly as like the query (decision: within a tenth of the range of its scores).
    """
    spans = model.locate(queries, videos) if isinstance(model, LocatingModel) else None
    if spans is not None:
        return spans
    return [_best_run(query, video, model.scoring) for query, video in zip(queries, videos, strict=True)]


def _best_run(query: FloatArray, video: Embeddings, scoring: Scoring) -> Span:
    scores = similarities(video.moments, query, scoring)  # (K,)
    best = int(np.argmax(scores))
    level = scores[best] - _LEVEL * (scores[best] - scores.min()) - _TOLERANCE
    below = np.flatnonzero(scores < level)
    first = int(below[below < best].max(initial=-1)) + 1
    last = int(below[below > best].min(initial=len(scores))) - 1
    return Span(float(video.segments[first, 0]), float(video.segments[last, 1]), float(video.segments[best, 2]))
