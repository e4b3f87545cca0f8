"""Where in a video a query happens, from the vectors that a search has at hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..types import Embeddings, FloatArray, Span


def locate(queries: FloatArray, videos: Sequence[Embeddings]) -> list[Span]:
    """Return where each of N queries (N, D) happens in its own one of N videos: the segment of the best key image."""
    spans = []
    for query, video in zip(queries, videos, strict=True):
        start, end, time = (float(second) for second in video.segments[int(np.argmax(video.moments @ query))])
        spans.append(Span(start, end, time))
    return spans
