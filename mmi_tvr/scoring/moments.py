"""Where in a video a query happens, from the vectors that a search has at hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..protocols import LocatingModel, Model
from ..types import Embeddings, FloatArray, Span

_LEVEL = 0.1  # of the range of a video's cosines, below the best: chosen on the validation split of moving_shapes
_TOLERANCE = 1e-6  # cosines in float32 that are closer than this are equal


def locate(model: Model, queries: FloatArray, videos: Sequence[Embeddings]) -> list[Span]:
    """Return where each of N queries (N, D) happens in its own one of N videos.

    A model's head for it says where. Without one it is the best key image, with the segments of its neighbours on both
    sides as long as they are nearly as like the query (decision: within a tenth of the video's range of cosines).
    """
    spans = model.locate(queries, videos) if isinstance(model, LocatingModel) else None
    if spans is not None:
        return spans
    return [_best_run(query, video) for query, video in zip(queries, videos, strict=True)]


def _best_run(query: FloatArray, video: Embeddings) -> Span:
    cosines = video.moments @ query  # (K,)
    best = int(np.argmax(cosines))
    level = cosines[best] - _LEVEL * (cosines[best] - cosines.min()) - _TOLERANCE
    below = np.flatnonzero(cosines < level)
    first = int(below[below < best].max(initial=-1)) + 1
    last = int(below[below > best].min(initial=len(cosines))) - 1
    return Span(float(video.segments[first, 0]), float(video.segments[last, 1]), float(video.segments[best, 2]))
