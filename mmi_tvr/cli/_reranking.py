"""Shared by the `evaluate` commands: re-ranking of a test set, and the accuracy of answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import plugins
from ..config import Settings
from ..errors import UsageError
from ..evaluation.evaluate import Rerank
from ..evaluation.metrics import DirectionBlocks
from ..features.cache import FeatureCache, sampling_fingerprint
from ..features.lazy import StoredFeatures, stored_features
from ..protocols import KeyImageMethod, Model
from ..skeletons.skeletons import VideoView
from ..types import AnswerRequest, FloatArray, Sample
from ..utils import array_cache
from ..utils.progress import Progress

if TYPE_CHECKING:
    from ..rerank.skeleton import SkeletonReranker
    from ..rerank.visual import VisualReranker

_UNLIMITED = {"calls": None, "tokens": None, "seconds": None}


def reranking(settings: Settings, model: Model, method: KeyImageMethod, progress: Progress) -> Rerank:
    """Return what re-ranks a test set as the settings' section `rerank` says, without its budget, which is a query's;
    answers about videos are stored in the cache.

    Raises as the `build` of its method does, and UsageError where that is neither skeleton nor visual.
    """
    from ..rerank import rerank_section
    from ..skeletons import dataset as skeleton_dataset
    from ..skeletons.store import SKELETONS_FILE, SkeletonStore

    section = rerank_section(settings.rerank, model)
    if section.name not in ("skeleton", "visual"):
        raise UsageError(f"a test set is re-ranked by skeleton or by visual, not by {section.name}")
    store = SkeletonStore(array_cache.folder() / SKELETONS_FILE)
    options = {**section.options, "budget": _UNLIMITED}
    ranker: SkeletonReranker | VisualReranker = plugins.build(
        "rerank", section.name, options, model=model, views=lambda numbers: {}, store=store, device=settings.device
    )

    def rerank(blocks: DirectionBlocks, captions: Sequence[str], samples: Sequence[Sample]) -> DirectionBlocks:
        views = skeleton_dataset.video_views(
            samples, _features(samples, model, method, progress), sampling_fingerprint(model, method)
        )
        return _reranked(ranker, blocks, captions, views, progress)

    return rerank


def _reranked(
    ranker: SkeletonReranker | VisualReranker,
    blocks: DirectionBlocks,
    captions: Sequence[str],
    views: Sequence[VideoView],
    progress: Progress,
) -> DirectionBlocks:
    """Return what to rank instead of blocks of cosines (captions x videos).

    Args:
        ranker: by skeletons, by a look, or by both.
        blocks: of cosines.
        captions: of the test set.
        views: its videos.
        progress: a stage for each kind of description, and one for judging.

    Raises:
        UsageError: a caption could be put to none of its candidates.
    """
    from ..evaluation.rerank import reranked
    from ..rerank.visual import VisualReranker
    from ..skeletons import dataset as skeleton_dataset

    looks, joint_score = ranker.looks, ranker.options.joint_score

    def visual(row: int, columns: Sequence[int]) -> FloatArray:
        assert looks is not None
        results = looks.look(captions[row], [views[column] for column in columns])
        reasons = [result for result in results if isinstance(result, str)]
        if len(reasons) == len(columns):  # a table of nothing but plain search would look like a result
            raise UsageError(f"{reasons[0]} (caption {row + 1}: {captions[row]})")
        return np.array([np.nan if isinstance(result, str) else result.normalised for result in results])

    if isinstance(ranker, VisualReranker):
        return reranked(blocks, lambda row, columns: np.zeros(len(columns)), joint_score, progress, visual)
    texts, videos = skeleton_dataset.describe(ranker.describer, captions, views, progress.begin, progress.advance)
    pairs = skeleton_dataset.PairJudge(texts, videos, ranker.judge)
    return reranked(blocks, pairs.probabilities, joint_score, progress, visual if looks else None)


def answers(
    settings: Settings, dataset: Any, model: Model, method: KeyImageMethod, progress: Progress
) -> tuple[dict[str, Any], str]:
    """Ask every question of both pools whose true answer is known, of every video and of its first caption.

    Args:
        settings: their section `rerank` says who answers, and which pools are asked.
        dataset: of `datasets.moving_shapes`, which knows the true answers.
        model: makes the features of the key images.
        method: chooses the key images.
        progress: one stage for features, one for each pool.

    Returns:
        The document and the table.
    """
    from ..datasets.moving_shapes import answerable, truth
    from ..questions import pool
    from ..questions.answer_accuracy import AnswerAccuracy, accuracy_table, answer_accuracy
    from ..rerank import skeleton_options
    from ..skeletons import dataset as skeleton_dataset

    options = skeleton_options(settings.rerank, model)
    answerer = plugins.build(
        "answerers", options.answerer.name, options.answerer.options, device=settings.device, model=model
    )
    specs, samples = dataset.specs(), dataset.samples()
    views = skeleton_dataset.video_views(
        samples, _features(samples, model, method, progress), sampling_fingerprint(model, method)
    )
    make_request: dict[pool.About, Callable[[str, int], AnswerRequest]] = {
        "text": lambda question, number: AnswerRequest(question, text=samples[number].captions[0]),
        "video": lambda question, number: AnswerRequest.of_video(question, views[number].shown(answerer.video_input)),
    }

    def true_answer(about: pool.About, question: str, number: int) -> str | None:
        return truth(question, about)(specs[number], about == "text")

    accuracies: dict[str, dict[str, AnswerAccuracy]] = {}
    files: dict[pool.About, str] = {"text": options.text, "video": options.video}
    for about, file in files.items():
        questions = pool.load(file, about)
        with_truth = set(answerable(about))
        progress.begin(f"answers, {about}", len(samples))
        accuracies[about] = answer_accuracy(
            answerer,
            [question for question in questions.enabled if question.text in with_truth],
            len(samples),
            make_request[about],
            partial(true_answer, about),
            progress.advance,
        )
    document = {
        "answerer": answerer.name,
        "videos": len(samples),
        "answers": {
            about: {kind: accuracy.as_dict() for kind, accuracy in kinds.items()} for about, kinds in accuracies.items()
        },
    }
    return document, accuracy_table(accuracies)


def _features(samples: Sequence[Sample], model: Model, method: KeyImageMethod, progress: Progress) -> StoredFeatures:
    progress.begin("features", len(samples))
    videos = [sample.video for sample in samples]
    return stored_features(videos, model, method, FeatureCache(array_cache.folder() / "features"), progress.advance)
