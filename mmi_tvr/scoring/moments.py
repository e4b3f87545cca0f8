"""Where in a video a query happens, from the vectors that a search has at hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..protocols import LocatingModel, Model
from ..types import Embeddings, FloatArray, Scoring, Span
from .blocks import similarities

# Chosen on the validation split of moving_shapes, and looked at on real clips.
_LEVEL = 0.1  # of the range of a video's scores: what is so near to the best is as good
_PACE_WEIGHT = 1 / 3  # of a pace of e times the mean or more, in ranges of the scores
_MOVING = 0.2  # pace of what moves rather than stands still
_SAME_SHOT = 0.5  # cosine of two neighbours below which a cut lies between them
_STILLNESS = 1e-3  # change a second that no eye sees
_LEAST_SECONDS = 0.05
_TOLERANCE = 1e-6  # scores in float32 that are closer than this are equal


def locate(model: Model, queries: FloatArray, videos: Sequence[Embeddings]) -> list[Span]:
    """Return where each of N queries (N, D) happens in its own one of N videos.

    A model's head for it says where. Without one, or where its span lies in no part of the video, it is the key image
    that is most like the query, where what moves counts more than what stands still (decision: a single picture does
    not show that something happens, and sentences are about what happens; but never by more than a third of the range
    of the scores). Where it moves, neighbours belong to it as long as their pace is at least half of its pace; where it
    stands still, as long as they are nearly as like the query. A cut ends it.
    """
    spans = model.locate(queries, videos) if isinstance(model, LocatingModel) else None
    located = [None] * len(videos) if spans is None else map(_inside, spans, videos)
    return [
        span or locate_by_pictures(query, video, model.scoring)
        for span, query, video in zip(located, queries, videos, strict=True)
    ]


def _inside(span: Span, video: Embeddings) -> Span | None:
    """Return what of a head's span lies in its video; None where that has no length.

    A head that counts in single precision may reach past the end of a long video, and one that was hardly trained
    anywhere.
    """
    start, end = max(span.start, float(video.segments[0, 0])), min(span.end, float(video.segments[-1, 1]))
    if not (start < end and math.isfinite(span.time)):  # also where it is no number
        return None
    return Span(start, end, min(max(span.time, start), end))


def locate_by_pictures(query: FloatArray, video: Embeddings, scoring: Scoring) -> Span:
    """Return where a query (D,) happens in a video without a head for it, as `locate` has it."""
    scores = similarities(video.moments, query, scoring)  # (K,)
    spread = max(float(np.ptp(scores)), _TOLERANCE)
    pace = _pace(video)
    best = int(np.argmax(scores / spread + _PACE_WEIGHT * pace.clip(-1, 1)))
    alike = scores >= scores[best] - _LEVEL * spread - _TOLERANCE
    if pace[best] > _MOVING:
        alike = pace >= pace[best] / 2
    neighbours = (video.moments[1:] * video.moments[:-1]).sum(axis=1)  # (K - 1,)
    return _run(best, alike, neighbours, video)[0]


def further_spans(scores: FloatArray, video: Embeddings, first: Span, count: int) -> list[Span]:
    """Return at most `count` further stretches of a video that are like a query, the best first, besides the first one.

    Each is a key image with the neighbours that are nearly as like the query, up to a cut. Between two stretches lies a
    cut, or a key image of neither. Decision: none is shown whose score is nearer to that of the video's worst key image
    than to that of its best one.

    Args:
        scores: of its key images, (K,).
        video: with these key images.
        first: the stretch that is shown already.
        count: at most so many.
    """
    starts, ends = video.segments[:, 0], video.segments[:, 1]
    spread = max(float(np.ptp(scores)), _TOLERANCE)
    free = (ends <= first.start + _TOLERANCE) | (starts >= first.end - _TOLERANCE)
    shown = np.flatnonzero(~free)
    neighbours = (video.moments[1:] * video.moments[:-1]).sum(axis=1)  # (K - 1,)
    if len(shown):
        _take(free, slice(int(shown[0]), int(shown[-1]) + 1), neighbours)
    spans: list[Span] = []
    while len(spans) < count and free.any():
        best = int(np.argmax(np.where(free, scores, -np.inf)))
        if scores[best] < scores.max() - spread / 2:
            break
        alike = free & (scores >= scores[best] - _LEVEL * spread - _TOLERANCE)
        span, rows = _run(best, alike, neighbours, video)
        spans.append(span)
        _take(free, rows, neighbours)
    return spans


def _take(free: NDArray[np.bool_], rows: slice, neighbours: FloatArray) -> None:
    """Mark key images as taken, and those beside them in the same shot."""
    free[rows] = False
    if rows.start > 0 and neighbours[rows.start - 1] >= _SAME_SHOT:
        free[rows.start - 1] = False
    if rows.stop < len(free) and neighbours[rows.stop - 1] >= _SAME_SHOT:
        free[rows.stop] = False


def _run(best: int, alike: NDArray[np.bool_], neighbours: FloatArray, video: Embeddings) -> tuple[Span, slice]:
    """Return the stretch of a key image with those beside it that are alike, up to a cut, and their rows."""
    parted = np.flatnonzero(~(alike[1:] & alike[:-1]) | (neighbours < _SAME_SHOT))  # after these key images
    first = int(parted[parted < best].max(initial=-1)) + 1
    last = int(parted[parted >= best].min(initial=len(alike) - 1))
    span = Span(float(video.segments[first, 0]), float(video.segments[last, 1]), float(video.segments[best, 2]))
    return span, slice(first, last + 1)


def _pace(video: Embeddings) -> FloatArray:
    """Return how fast the picture changes around each key image (K,): the logarithm of the change of its vector a
    second, less the mean over the video's seconds.

    Of the change from one key image to the next, half belongs to either; beyond the first and the last nothing is known
    to change.
    """
    changes = np.linalg.norm(np.diff(video.moments, axis=0), axis=1)  # (K - 1,)
    seconds = np.maximum(video.segments[:, 1] - video.segments[:, 0], _LEAST_SECONDS)
    around = (np.pad(changes, (1, 0)) + np.pad(changes, (0, 1))) / 2
    pace: FloatArray = np.log(around / seconds + _STILLNESS)
    return pace - np.average(pace, weights=seconds)
