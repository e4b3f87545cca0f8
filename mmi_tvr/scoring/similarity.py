"""A model's score for every query and every video, from their vectors (`types.Scoring`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..protocols import Index
from ..types import Direction, Embeddings, FloatArray, IdArray, Scoring, moment_of
from .blocks import similarities

_CELLS = 1 << 22  # numbers held at once while moments are scored


@dataclass(frozen=True, slots=True)
class Gallery:
    """The vectors of M videos, packed: videos (M, D), moments (S, D), and offsets (M + 1,).

    The moments of video j are moments[offsets[j]:offsets[j + 1]].
    """

    videos: NDArray[np.float32]
    moments: NDArray[np.float32]
    offsets: IdArray

    @classmethod
    def pack(cls, embeddings: Sequence[Embeddings]) -> Gallery:
        """Copy every vector once, in the given order. No video, or videos of different widths: UsageError."""
        widths = {vectors.shape[-1] for result in embeddings for vectors in (result.video, result.moments)}
        if len(widths) != 1:
            different = " and ".join(map(str, sorted(widths))) or "none"
            raise UsageError(f"a gallery needs videos whose vectors have one width; these have {different}")
        offsets = np.cumsum([0, *(len(result.moments) for result in embeddings)], dtype=np.int64)
        videos = np.stack([result.video for result in embeddings]).astype(np.float32, copy=False)
        moments = np.concatenate([result.moments for result in embeddings]).astype(np.float32, copy=False)
        return cls(videos, moments, offsets)

    @classmethod
    def from_index(cls, index: Index, ids: IdArray) -> Gallery:
        """Read the stored vectors of whole videos.

        ids: of all vectors of these videos, each video's own before its moments. Raises KeyError if one is unknown.
        """
        of_videos = moment_of(ids) < 0
        starts = np.flatnonzero(of_videos)
        moments_before = starts - np.arange(len(starts))  # the moments among the ids in front of each video
        offsets = np.append(moments_before, np.count_nonzero(~of_videos))
        return cls(index.get(ids[of_videos]), index.get(ids[~of_videos]), offsets)

    def __len__(self) -> int:
        return len(self.videos)

    def score(self, queries: FloatArray, scoring: Scoring, direction: Direction = "t2v") -> NDArray[np.float32]:
        """Return the scores (N, M) of queries (N, D); see `score_block`."""
        return score_block(queries, self.videos, self.moments, self.offsets, scoring, direction)


def score_block(
    queries: FloatArray,
    videos: FloatArray,
    moments: FloatArray,
    offsets: IdArray,
    scoring: Scoring,
    direction: Direction = "t2v",
) -> NDArray[np.float32]:
    """Return (1 - w) * s(q, v) + w * mean of the `top` largest s(q, m) over the video's moments, w being their weight.

    Memory: the result, and some tens of megabytes.

    Args:
        queries: (N, D).
        videos: (M, D).
        moments: (S, D), packed as in `Gallery`.
        offsets: (M + 1,), as in `Gallery`.
        scoring: w, s (`blocks.similarities`), and how many moments count (`top`); a video with fewer moments uses those
            it has.
        direction: who asks, where blocks count otherwise for texts than for videos. The queries are texts all the same.

    Returns:
        Scores (N, M), float32.

    Raises:
        UsageError: For a video without any moment where w > 0, vectors of different widths, or `top` below 1.
    """
    if not queries.shape[1] == videos.shape[1] == moments.shape[1]:
        widths = f"{queries.shape[1]}, {videos.shape[1]} and {moments.shape[1]}"
        raise UsageError(f"queries, videos and moments have {widths} numbers each: they are of different models")
    if scoring.top_moments < 1:
        raise UsageError(
            f"scoring.top_moments is the number of moments to average, at least 1, not {scoring.top_moments}"
        )
    query_vectors = np.asarray(queries, dtype=np.float32)
    scores = similarities(query_vectors, videos, scoring, direction)
    if scoring.moment_weight:
        scores *= np.float32(1 - scoring.moment_weight)
        _add_moments(scores, query_vectors, moments, offsets, scoring, direction)
    return scores


def _add_moments(
    scores: NDArray[np.float32],
    query_vectors: NDArray[np.float32],
    moments: FloatArray,
    offsets: IdArray,
    scoring: Scoring,
    direction: Direction,
) -> None:
    """Add the moments' share in place. Videos with equally many moments go together, so nothing is padded."""
    lengths = np.diff(offsets)
    weight = np.float32(scoring.moment_weight)
    for length in np.unique(lengths):
        videos = np.flatnonzero(lengths == length)
        if not length:
            raise UsageError(f"video {videos[0]} has no moments, and this model's score needs them: embed it again")
        per_video = int(length) * max(len(query_vectors), query_vectors.shape[1])
        step = max(1, _CELLS // max(1, per_video))
        for first in range(0, len(videos), step):
            batch = videos[first : first + step]
            rows = _rows_of(batch, offsets, int(length))
            # Queries lie innermost, (m, K, N): the reduction over K then runs along whole rows of memory.
            moment_scores = similarities(moments[rows], query_vectors, scoring, direction).reshape(
                len(batch), length, len(query_vectors)
            )
            scores[:, batch] += weight * _top_mean(moment_scores, min(scoring.top_moments, int(length))).T


def _rows_of(videos: NDArray[np.intp], offsets: IdArray, length: int) -> slice | NDArray[np.int64]:
    """Return the rows of the moments of videos with `length` each: neighbours as a slice, which copies nothing."""
    if videos[-1] - videos[0] == len(videos) - 1:
        return slice(int(offsets[videos[0]]), int(offsets[videos[-1] + 1]))
    rows: NDArray[np.int64] = (offsets[videos, None] + np.arange(length)).ravel()
    return rows


def _top_mean(scores: NDArray[np.float32], top: int) -> NDArray[np.float32]:
    """Return the mean over the `top` largest of axis 1: (m, K, N) -> (m, N)."""
    if top == 1:
        best: NDArray[np.float32] = scores.max(axis=1)
        return best
    first = scores.shape[1] - top
    mean: NDArray[np.float32] = np.partition(scores, first, axis=1)[:, first:].mean(axis=1)
    return mean
