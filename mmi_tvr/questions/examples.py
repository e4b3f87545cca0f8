"""Annotated videos that questions are tried on: a caption, vectors, and a view for whoever answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import MediaError, UsageError
from ..evaluation import metrics
from ..features.cache import FeatureCache
from ..features.lazy import stored
from ..protocols import Answerer, KeyImageMethod, Model
from ..scoring.similarity import Gallery
from ..skeletons.skeletons import Describer, SkeletonQuestion, VideoView, pictures_at, text_skeleton
from ..types import Embeddings, FloatArray, IdArray, Query, Sample, Skeleton
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
    """Examples of samples, in order, without the videos that cannot be used. UsageError where none is left.

    Features come from the cache, or are made and kept there; `advance` hears how many more are done.
    """
    features = stored([sample.video for sample in samples], model, method, cache, advance)
    usable = [at for at in range(len(samples)) if at not in features.failures]
    if not usable:
        first = next(iter(features.failures.values()), MediaError("the data set", "no samples"))
        raise UsageError(f"none of {len(samples)} videos can be used, the first because: {first}")
    made = model.embed_videos([features[at] for at in usable])

    def view(at: int) -> VideoView:
        times = tuple(float(time) for time in features[at].segments[:, 2])
        return VideoView(times, lambda: features[at], lambda: pictures_at([samples[at].video.path], times))

    return [
        Example(samples[at].id, samples[at].captions[0], embeddings, view(at))
        for at, embeddings in zip(usable, made, strict=True)
    ]


def example_skeletons(
    examples: Sequence[Example],
    questions: Sequence[SkeletonQuestion],
    about: About,
    answerer: Answerer,
    advance: Callable[[int], object] = lambda examples: None,
) -> list[Skeleton]:
    """What each example answers to the questions: its caption does where they are `about` text, else its video.
    `advance` hears how many more examples are done."""
    if about == "video":
        return Describer((), questions, answerer).video_skeletons([example.view for example in examples], advance)
    skeletons = []
    for example in examples:
        skeletons.append(text_skeleton(example.caption, questions, answerer))
        advance(1)
    return skeletons


def video_ranks(vectors: FloatArray, examples: Sequence[Example], model: Model) -> IdArray:
    """The rank (N,) of each example's own video among those of all, when searched with vectors (N, D); ties count
    against it."""
    gallery = Gallery.pack([example.embeddings for example in examples])
    scores = gallery.score(np.asarray(vectors, dtype=np.float32), model.scoring)
    return metrics.ranks([scores], [{at} for at in range(len(examples))], metrics.SCORE_TOLERANCE)


def embed_answers(texts: Sequence[str], model: Model) -> FloatArray:
    """Vectors (N, D) of answers as queries; zeros where there is no answer, so that it finds nothing."""
    known = sorted({text for text in texts if text})
    if not known:
        return np.zeros((len(texts), 0))
    vectors = np.asarray(model.embed_queries([Query(text) for text in known]), dtype=np.float32)
    found = np.zeros((len(texts), vectors.shape[1]), dtype=np.float32)
    place = {text: at for at, text in enumerate(known)}
    for at, text in enumerate(texts):
        if text:
            found[at] = vectors[place[text]]
    return found
