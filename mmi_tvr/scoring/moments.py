"""Where in a video a query happens, from the vectors that a search has at hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..protocols import LocatingModel, Model
from ..types import Embeddings, FloatArray, Span


def locate(model: Model, queries: FloatArray, videos: Sequence[Embeddings]) -> list[Span]:
    """Return where each of N queries (N, D) happens in its own one of N videos.

    A model's head for it says where; without one it is the segment of the best key image.
    """
    spans = model.locate(queries, videos) if isinstance(model, LocatingModel) else None
    if spans is not None:
        return spans
    return [_best_segment(query, video) for query, video in zip(queries, videos, strict=True)]


def _best_segment(query: FloatArray, video: Embeddings) -> Span:
    start, end, time = (float(second) for second in video.segments[int(np.argmax(video.moments @ query))])
    return Span(start, end, time)
