"""Moving shapes as all measurements of questions read them: searched, answered and judged, with one caption a video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..features.cache import sampling_fingerprint
from ..protocols import Answerer, Judge, KeyImageMethod, Model
from ..rerank import skeleton
from ..skeletons.dataset import video_views
from ..skeletons.skeletons import VideoView
from ..skeletons.store import SkeletonStore
from ..types import Embeddings, FloatArray, Query, Sample
from ..utils.progress import Progress
from .moving_shapes_split import mean_searcher, split_features


@dataclass(frozen=True, slots=True)
class SharedInputs:
    """What all cases share: a test set with one caption a video, its embeddings, views and query vectors, who answers
    and who judges. `model` is the one that searches."""

    model: Model
    samples: Sequence[Sample]
    embeddings: Sequence[Embeddings]
    queries: FloatArray
    views: Sequence[VideoView]
    answerer: Answerer
    judge: Judge
    options: skeleton.Options
    store: SkeletonStore | None = None


def split_inputs(
    split: str,
    model: Model,
    method: KeyImageMethod,
    options: skeleton.Options,
    store: SkeletonStore,
    progress: Progress,
    *,
    limit: int | None = None,
    mean: bool = False,
    device: str = "auto",
) -> SharedInputs:
    """Return a split of moving shapes that is rendered, with features from the user's cache.

    Args:
        split: Of moving shapes.
        model: Makes the features, and answers and judges where the options name no other.
        method: Chooses the key images.
        options: Of the re-ranking.
        store: Keeps what videos answer.
        progress: Follows rendering and features.
        limit: Only the first so many videos; None: all.
        mean: Search by the mean of key images, on the model's own towers, instead of the model.
        device: Of answerer and judge.

    Raises:
        UsageError: The model has no such towers, or nobody answers or judges.
        MediaError: Of a video that cannot be used.
    """
    searcher = mean_searcher(model) if mean else model
    ranker = skeleton.build(options, model=model, views=lambda numbers: {}, store=store, device=device)
    data = split_features(split, model, method, progress, limit=limit, captions=1)
    return SharedInputs(
        model=searcher,
        samples=data.samples,
        embeddings=searcher.embed_videos(data.features[:]),
        queries=np.asarray(searcher.embed_queries([Query(sample.captions[0]) for sample in data.samples])),
        views=video_views(data.samples, data.features, sampling_fingerprint(model, method)),
        answerer=ranker.describer.answerer,
        judge=ranker.judge,
        options=options,
        store=store,
    )
