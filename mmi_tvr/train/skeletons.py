"""Pairs of skeletons for L_s: of captions with their own videos, and with those that the model now takes for them.

Decision: skeletons are made once, before training, by the model that the run starts from, and so are the hard
negatives: the best other videos of each caption by that model's own search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..errors import UsageError
from ..features.lazy import StoredFeatures
from ..protocols import Model
from ..scoring.similarity import Gallery
from ..skeletons import dataset
from ..skeletons.skeletons import Describer, skeleton_text
from ..types import FloatArray, IdArray, Query, Sample
from ..utils.progress import Progress
from ..utils.wording import counted


@dataclass(frozen=True, slots=True)
class SkeletonPairs:
    """Plain skeletons of N captions and of their videos, and `hard_negatives` (N, M), the numbers of other videos that
    the model takes for each caption's, best first."""

    texts: Sequence[str]
    videos: Sequence[str]
    hard_negatives: IdArray

    def draw(self, count: int, dice: np.random.Generator) -> dict[str, Any]:
        """Return so many pairs, about half of which match: {"text", "video", "match" (count,) bool}. A video that
        answers as the caption's own does matches, too."""
        rows = dice.integers(len(self.texts), size=count)
        negatives = [self.hard_negatives[row, dice.integers(self.hard_negatives.shape[1])] for row in rows]
        videos = [row if dice.random() < 0.5 else negative for row, negative in zip(rows, negatives, strict=True)]
        match = [self.videos[video] == self.videos[row] for row, video in zip(rows, videos, strict=True)]
        return {
            "text": [self.texts[row] for row in rows],
            "video": [self.videos[video] for video in videos],
            "match": torch.tensor(match),
        }


def make(
    model: Model,
    describer: Describer,
    samples: Sequence[Sample],
    features: StoredFeatures,
    numbers: Sequence[int],
    *,
    sampling: str,
    negatives: int,
    seed: int,
    progress: Progress,
) -> SkeletonPairs:
    """Return the skeletons of samples, with one caption each. A sample of which nothing was answered is left out.

    Args:
        model: searches for the hard negatives.
        describer: answers the questions.
        samples: the whole data set.
        features: of every sample, by its number.
        numbers: of the samples that are described.
        sampling: `features.sampling_fingerprint`.
        negatives: hard negatives of each caption.
        seed: of the captions that are drawn.
        progress: of the describing.

    Raises:
        UsageError: fewer than two samples were answered about.
    """
    dice = np.random.default_rng(seed)
    chosen = [samples[number] for number in numbers]
    captions = [sample.captions[int(dice.integers(len(sample.captions)))] for sample in chosen]
    views = dataset.video_views(samples, features, sampling, numbers)
    texts, videos = dataset.describe(describer, captions, views, progress.begin, progress.advance)
    answered = [row for row in range(len(numbers)) if skeleton_text(texts[row]) and skeleton_text(videos[row])]
    if len(answered) < 2:
        raise UsageError(
            f"train.stages: `skeleton` compares answers, and of {counted(len(numbers), 'training video')} "
            f"{len(answered)} got any, with its caption: the model has to answer before; leave the term out, or name "
            "who answers in `rerank.answerer`"
        )
    gallery = Gallery.pack(model.embed_videos([features[numbers[row]] for row in answered]))
    queries = np.asarray(model.embed_queries([Query(captions[row]) for row in answered]))
    return SkeletonPairs(
        [skeleton_text(texts[row]) for row in answered],
        [skeleton_text(videos[row]) for row in answered],
        _hard_negatives(gallery, queries, model, min(negatives, len(answered) - 1)),
    )


def _hard_negatives(gallery: Gallery, queries: FloatArray, model: Model, count: int) -> IdArray:
    """Return the best other videos of each query, (N, count); query i belongs to video i."""
    rows = []
    for row, query in enumerate(queries):
        scores = gallery.score(query[None], model.scoring)[0]
        scores[row] = -np.inf
        rows.append(np.argsort(-scores, kind="stable")[:count])
    return np.stack(rows).astype(np.int64)
