"""Vectors of one model from those of another: least squares, and how good they are.

A map is learned on videos that both models embedded. It reads the vector of the whole video and those of its key images
in the order of time (`video_inputs`): what happens after what is lost in a mean. Decision: least squares with a ridge;
networks were no better on held-out videos (docs/scale.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..types import Block, Embeddings, FloatArray
from ..utils.intervals import wilson

STRETCHES = 4  # of a video's time, of which each gives an input of its own
NEAREST = 10  # of recall
_RIDGES = np.logspace(-4, 2, 13)
_FOLDS = 5
_MOMENT_ROWS = 10_000  # key images that their map is learned on
_SEED = 0
_CELLS = 1 << 22  # numbers held at once


@dataclass(frozen=True, slots=True)
class VectorMap:
    """A linear map: inputs (N, F) -> vectors (N, D), of which each block has its own unit length."""

    weights: NDArray[np.float32]  # (F, D)
    offset: NDArray[np.float32]  # (D,)
    widths: tuple[int, ...]

    def __call__(self, inputs: FloatArray) -> NDArray[np.float32]:
        """Return vectors as an index stores them: each of n blocks has the length 1 / sqrt(n)."""
        return of_unit_blocks(inputs.astype(np.float32) @ self.weights + self.offset, self.widths)


@dataclass(frozen=True, slots=True)
class MapQuality:
    """How good mapped vectors are, on `n` videos that had no part in the map that made theirs.

    Attributes:
        n: Videos.
        r1: Percent of the mapped vectors whose nearest true one is that of their own video.
        low, high: Its 95 % interval (Wilson).
        recall: Percent of the ten videos that are nearest to a true vector which are nearest among mapped ones, too.
    """

    n: int
    r1: float
    low: float
    high: float
    recall: float


def learn(inputs: FloatArray, vectors: FloatArray, blocks: Sequence[Block] = ()) -> VectorMap:
    """Return the map from inputs (N, F) to vectors (N, D), N at least 2.

    The ridge is that with the least squared error when each row in turn is left out. It draws the map to zero, or to
    the map that leaves the first D inputs as they are, whichever has less of that error: two models of one family, or
    one model with other key images, differ by little, which few rows tell.
    """
    from sklearn.linear_model import RidgeCV

    rows, targets = inputs.astype(np.float64), vectors.astype(np.float64)
    width = targets.shape[1]
    fits = [RidgeCV(alphas=_RIDGES).fit(rows, targets)]
    if rows.shape[1] >= width:
        fits.append(RidgeCV(alphas=_RIDGES).fit(rows, targets - rows[:, :width]))
    best = max(fits, key=lambda fit: fit.best_score_)
    weights = best.coef_.T.copy()
    if best is not fits[0]:
        weights[:width] += np.eye(width)
    widths = tuple(block.width for block in blocks) or (width,)
    return VectorMap(weights.astype(np.float32), best.intercept_.astype(np.float32), widths)


@dataclass(frozen=True, slots=True)
class EmbeddingsMap:
    """Maps the embeddings of videos: whole videos, and key images by a map of their own."""

    of_videos: VectorMap
    of_moments: VectorMap

    def __call__(self, videos: Sequence[Embeddings]) -> list[Embeddings]:
        """Return what stands for the embeddings of another model; key images keep their times."""
        rows = self.of_videos(video_inputs(videos))
        moments = self.of_moments(np.concatenate([moment_inputs(video) for video in videos]))
        ends = np.cumsum([len(video.moments) for video in videos])[:-1]
        parts = zip(rows, np.split(moments, ends), videos, strict=True)
        return [Embeddings(row, part, video.segments) for row, part, video in parts]


def learn_embeddings(
    old: Sequence[Embeddings], new: Sequence[Embeddings], blocks: Sequence[Block] = ()
) -> EmbeddingsMap:
    """Return the map of embeddings from videos that both models embedded, at least 2."""
    of_videos = learn(video_inputs(old), np.stack([video.video for video in new]), blocks)
    inputs = np.concatenate([moment_inputs(video) for video in old])
    targets = [moments_at(before.segments[:, 2], after) for before, after in zip(old, new, strict=True)]
    rows = np.random.default_rng(_SEED).permutation(len(inputs))[:_MOMENT_ROWS]
    return EmbeddingsMap(of_videos, learn(inputs[rows], np.concatenate(targets)[rows], blocks))


def quality(inputs: FloatArray, vectors: FloatArray, blocks: Sequence[Block] = ()) -> MapQuality:
    """Return how good maps are on rows that they were not learned on (cross-validation, `_FOLDS` parts)."""
    count = len(inputs)
    part = np.arange(count) % min(_FOLDS, count)
    mapped = np.empty((count, vectors.shape[1]), np.float32)
    for number in range(part.max() + 1):
        chosen = part == number
        mapped[chosen] = learn(inputs[~chosen], vectors[~chosen], blocks)(inputs[chosen])
    return quality_of(mapped, vectors)


def quality_of(mapped: FloatArray, vectors: FloatArray) -> MapQuality:
    """Return how good mapped vectors (N, D) are for the true ones (N, D)."""
    count, limit = len(vectors), min(NEAREST, len(vectors))
    right = common = 0
    height = max(1, _CELLS // count)
    for first in range(0, count, height):
        rows = np.arange(first, min(first + height, count))
        right += int(((mapped[rows] @ vectors.T).argmax(axis=1) == rows).sum())
        nearest = [
            np.argsort(-(vectors[rows] @ side.T), axis=1, kind="stable")[:, :limit] for side in (vectors, mapped)
        ]
        common += sum(len(np.intersect1d(*pair)) for pair in zip(*nearest, strict=True))
    low, high = wilson(right / count, count)
    return MapQuality(count, 100 * right / count, low, high, 100 * common / (count * limit))


def video_inputs(videos: Sequence[Embeddings]) -> NDArray[np.float32]:
    """Return what the map of whole videos reads (N, (1 + STRETCHES) D): a video, and its key images by stretches."""
    return np.stack([np.concatenate([video.video, *_by_stretch(video.moments)]) for video in videos])


def moment_inputs(video: Embeddings) -> NDArray[np.float32]:
    """Return what the map of key images reads (K, 2 D): each of them, and the video that it is of."""
    return np.hstack([video.moments, np.broadcast_to(video.video, video.moments.shape)])


def moments_at(times: FloatArray, video: Embeddings) -> NDArray[np.float32]:
    """Return the vectors (T, D) of the key images of a video that are nearest in time, in seconds."""
    nearest = np.abs(video.segments[None, :, 2] - times[:, None]).argmin(axis=1)
    return np.asarray(video.moments[nearest], np.float32)


def of_unit_blocks(vectors: FloatArray, widths: Sequence[int]) -> NDArray[np.float32]:
    """Return vectors (N, D) whose n blocks, so wide, have the length 1 / sqrt(n) each. No block is left without one."""
    parts = np.split(vectors.astype(np.float32), np.cumsum(widths)[:-1], axis=1)
    scaled = [_unit(part) / np.float32(np.sqrt(len(parts))) for part in parts]
    return np.concatenate(scaled, axis=1)


def _by_stretch(moments: FloatArray) -> NDArray[np.float32]:
    """Return a mean (STRETCHES, D) of key images (K, D) for each stretch, weighted by how far they are from its middle.

    Weights fall linearly to zero over one stretch, so that few key images give means between them.
    """
    middles = (np.arange(STRETCHES) + 0.5) / STRETCHES
    places = (np.arange(len(moments)) + 0.5) / len(moments)
    weights = np.maximum(0, 1 - STRETCHES * np.abs(places[None] - middles[:, None])) + 1e-6
    means: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32) @ moments
    return means


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows of length 1; what has none points along the first axis."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    fallback = np.zeros_like(rows)
    fallback[:, 0] = 1
    return np.where(lengths > 0, rows / np.where(lengths > 0, lengths, 1), fallback).astype(np.float32)
