"""Annotated videos that questions are tried on: a caption, embeddings, and the view that answerers need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import MediaError, UsageError
from ..evaluation import metrics
from ..features.cache import FeatureCache
from ..features.lazy import stored_features
from ..protocols import Answerer, KeyImageMethod, Model
from ..scoring.similarity import Gallery
from ..skeletons.skeletons import Describer, SkeletonQuestion, VideoView, pictures_at, text_skeleton
from ..types import Embeddings, FloatArray, IdArray, Query, Sample, Skeleton
from ..utils.wording import counted
from .pool import About


@dataclass(frozen=True, slots=True)
class Example:
    """One video of a data set with its first caption."""

    id: str
    caption: str
    embeddings: Embeddings
    view: VideoView


def prepare_examples(
    samples: Sequence[Sample],
    model: Model,
    method: KeyImageMethod,
    cache: FeatureCache,
    advance: Callable[[int], object] = lambda steps: None,
) -> list[Example]:
    """Return the examples of samples, in order, without the videos that cannot be used.

    Args:
        samples: at least one caption each.
        model: embeds the videos.
        method: chooses their key images.
        cache: holds the features, and those that are made now.
        advance: called with the number of videos whose features are done.

    Raises:
        UsageError: where no video can be used.
    """
    features = stored_features([sample.video for sample in samples], model, method, cache, advance)
    usable = [number for number in range(len(samples)) if number not in features.failures]
    if not usable:
        first = next(iter(features.failures.values()), MediaError("the data set", "no samples"))
        raise UsageError(f"none of {counted(len(samples), 'video')} can be used, the first because: {first}")
    embeddings = model.embed_videos([features[number] for number in usable])

    def view(number: int) -> VideoView:
        times = tuple(float(time) for time in features[number].segments[:, 2])
        return VideoView(times, lambda: features[number], lambda: pictures_at([samples[number].video.path], times))

    return [
        Example(samples[number].id, samples[number].captions[0], embedding, view(number))
        for number, embedding in zip(usable, embeddings, strict=True)
    ]


def example_skeletons(
    examples: Sequence[Example],
    questions: Sequence[SkeletonQuestion],
    about: About,
    answerer: Answerer,
    advance: Callable[[int], object] = lambda examples: None,
) -> list[Skeleton]:
    """Return the skeleton of each example: of its caption where the questions are `about` text, else of its video.

    Args:
        examples: any number.
        questions: those that are asked.
        about: "text" or "video".
        answerer: who answers.
        advance: called with the number of examples that are done.
    """
    if about == "video":
        return Describer((), questions, answerer).video_skeletons([example.view for example in examples], advance)
    skeletons = []
    for example in examples:
        skeletons.append(text_skeleton(example.caption, questions, answerer))
        advance(1)
    return skeletons


def video_ranks(vectors: FloatArray, examples: Sequence[Example], model: Model) -> IdArray:
    """Return the rank (N,) of each example's video among those of all examples, where vectors (N, D) are the queries.

    Ties count against it.
    """
    gallery = Gallery.pack([example.embeddings for example in examples])
    scores = gallery.score(np.asarray(vectors, dtype=np.float32), model.scoring)
    return metrics.ranks([scores], [{row} for row in range(len(examples))], metrics.SCORE_TOLERANCE)


def embed_answers(texts: Sequence[str], model: Model) -> FloatArray:
    """Return the vectors (N, D) of answers as queries; zeros for an empty answer, which ranks no video well."""
    distinct = sorted({text for text in texts if text})
    if not distinct:
        return np.zeros((len(texts), 0))
    distinct_vectors = np.asarray(model.embed_queries([Query(text) for text in distinct]), dtype=np.float32)
    vector = dict(zip(distinct, distinct_vectors, strict=True))
    empty = np.zeros(distinct_vectors.shape[1], dtype=np.float32)
    return np.stack([vector[text] if text else empty for text in texts])
