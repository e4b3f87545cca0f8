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

from ..features.lazy import Stored
from ..protocols import Model
from ..scoring.similarity import Gallery
from ..skeletons import dataset
from ..skeletons.skeletons import Describer, skeleton_text
from ..types import IdArray, Query, Sample
from ..utils.progress import Progress


@dataclass(frozen=True, slots=True)
class SkeletonPairs:
    """Plain skeletons of N captions and of their videos, and `near` (N, M), the numbers of other videos, best first."""

    texts: Sequence[str]
    videos: Sequence[str]
    near: IdArray

    def draw(self, count: int, dice: np.random.Generator) -> dict[str, Any]:
        """So many pairs, about half of which match: {"text", "video", "match" (count,) bool}. A video that answers as
        the caption's own does matches, too."""
        rows = dice.integers(len(self.texts), size=count)
        others = [self.near[row, dice.integers(self.near.shape[1])] for row in rows]
        chosen = [row if dice.random() < 0.5 else other for row, other in zip(rows, others, strict=True)]
        match = [self.videos[at] == self.videos[row] for row, at in zip(rows, chosen, strict=True)]
        return {
            "text": [self.texts[row] for row in rows],
            "video": [self.videos[at] for at in chosen],
            "match": torch.tensor(match),
        }


def make(
    model: Model,
    describer: Describer,
    samples: Sequence[Sample],
    features: Stored,
    numbers: Sequence[int],
    *,
    sampling: str,
    near: int,
    seed: int,
    progress: Progress,
) -> SkeletonPairs:
    """Skeletons of the samples of these `numbers`, with one caption each. A sample of which nothing was answered is
    left out. sampling: `features.sampling_fingerprint`. near: hard negatives of each."""
    dice = np.random.default_rng(seed)
    chosen = [samples[number] for number in numbers]
    captions = [sample.captions[int(dice.integers(len(sample.captions)))] for sample in chosen]
    seen = dataset.video_views(samples, features, sampling, numbers)
    texts, videos = dataset.describe(describer, captions, seen, progress.begin, progress.advance)
    kept = [at for at in range(len(numbers)) if skeleton_text(texts[at]) and skeleton_text(videos[at])]
    gallery = Gallery.pack(model.embed_videos([features[numbers[at]] for at in kept]))
    vectors = np.asarray(model.embed_queries([Query(captions[at]) for at in kept]))
    return SkeletonPairs(
        [skeleton_text(texts[at]) for at in kept],
        [skeleton_text(videos[at]) for at in kept],
        _near(gallery, vectors, model, min(near, len(kept) - 1)),
    )


def _near(gallery: Gallery, vectors: Any, model: Model, most: int) -> IdArray:
    """The best other videos of each query, (N, most)."""
    rows = []
    for row, vector in enumerate(vectors):
        scores = gallery.score(vector[None], model.scoring)[0]
        scores[row] = -np.inf
        rows.append(np.argsort(-scores, kind="stable")[:most])
    return np.stack(rows).astype(np.int64)
