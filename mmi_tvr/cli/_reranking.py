"""Shared by the `evaluate` commands: re-ranking of a test set, and the accuracy of answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import plugins
from ..config import Settings
from ..errors import UsageError
from ..evaluation.evaluate import Rerank
from ..evaluation.metrics import DirectionBlocks
from ..features.cache import FeatureCache, sampling_fingerprint
from ..features.lazy import stored_features
from ..protocols import Answerer, KeyImageMethod, Model
from ..skeletons.skeletons import VideoView
from ..types import AnswerRequest, FloatArray, Sample
from ..utils import array_cache
from ..utils.progress import Progress
from ._evaluation_options import AnswerRows

if TYPE_CHECKING:
    from ..questions.answer_accuracy import AnswerAccuracy
    from ..questions.pool import About, PoolQuestion
    from ..rerank.skeleton import SkeletonReranker
    from ..rerank.visual import VisualReranker

_UNLIMITED = {"calls": None, "tokens": None, "seconds": None}


def reranking(settings: Settings, model: Model, method: KeyImageMethod, progress: Progress) -> Rerank:
    """Return what re-ranks a test set as the settings' section `rerank` says, without its budget, which is a query's;
    answers about videos are stored in the cache.

    Raises as the `build` of its method does, and UsageError where that is neither skeleton nor visual.
    """
    ranker = build_ranker(settings, model)

    def rerank(blocks: DirectionBlocks, captions: Sequence[str], samples: Sequence[Sample]) -> DirectionBlocks:
        return _reranked(ranker, blocks, captions, video_views(samples, model, method, progress), progress)

    return rerank


def build_ranker(settings: Settings, model: Model) -> SkeletonReranker | VisualReranker:
    """Return who re-ranks a test set; raises as `reranking` does."""
    from ..rerank import rerank_section
    from ..skeletons.store import SKELETONS_FILE, SkeletonStore

    section = rerank_section(settings.rerank, model)
    if section.name not in ("skeleton", "visual"):
        raise UsageError(f"a test set is re-ranked by skeleton or by visual, not by {section.name}")
    store = SkeletonStore(array_cache.folder() / SKELETONS_FILE)
    options = {**section.options, "budget": _UNLIMITED}
    ranker: SkeletonReranker | VisualReranker = plugins.build(
        "rerank", section.name, options, model=model, views=lambda numbers: {}, store=store, device=settings.device
    )
    return ranker


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
    settings: Settings,
    dataset: Any,
    model: Model,
    method: KeyImageMethod,
    progress: Progress,
    by: AnswerRows = AnswerRows.kind,
) -> tuple[dict[str, Any], str]:
    """Ask every question of both pools whose true answer is known, of every video and of its first caption.

    Args:
        settings: their section `rerank` says who answers, and which pools are asked.
        dataset: of `datasets.moving_shapes`, which knows the true answers.
        model: makes the features of the key images.
        method: chooses the key images.
        progress: one stage for features, one for each pool.
        by: what the answers are counted by.

    Returns:
        The document and the table.
    """
    from ..questions.answer_accuracy import accuracy_table
    from ..rerank import skeleton_options

    options = skeleton_options(settings.rerank, model)
    answerer = plugins.build(
        "answerers", options.answerer.name, options.answerer.options, device=settings.device, model=model
    )
    views = video_views(dataset.samples(), model, method, progress)
    pools: dict[About, str] = {"text": options.text, "video": options.video}
    accuracies: dict[str, dict[str, AnswerAccuracy]] = {
        about: _pool_accuracy(about, file, answerer, dataset, views, progress, by) for about, file in pools.items()
    }
    document = {
        "answerer": answerer.name,
        "videos": len(views),
        "answers": {
            about: {kind: accuracy.as_dict() for kind, accuracy in kinds.items()} for about, kinds in accuracies.items()
        },
    }
    return document, accuracy_table(accuracies)


def _pool_accuracy(
    about: About,
    file: str,
    answerer: Answerer,
    dataset: Any,
    views: Sequence[VideoView],
    progress: Progress,
    by: AnswerRows,
) -> dict[str, AnswerAccuracy]:
    """Ask the questions of one pool whose true answer is known, of every video or of its first caption.

    Args:
        about: of which of the two the pool asks.
        file: the pool.
        answerer: is asked.
        dataset: as `answers` takes it.
        views: its videos.
        progress: one stage.
        by: as `answers` takes it.
    """
    from ..datasets.moving_shapes import answerable, truth
    from ..questions import pool
    from ..questions.answer_accuracy import answer_accuracy

    specs, samples = dataset.specs(), dataset.samples()

    def request(question: str, number: int) -> AnswerRequest:
        if about == "text":
            return AnswerRequest(question, text=samples[number].captions[0])
        return AnswerRequest.of_video(question, views[number].shown(answerer.video_input))

    def true_answer(question: str, number: int) -> str | None:
        return truth(question, about)(specs[number], about == "text")

    def group(question: PoolQuestion) -> str:
        return question.kind if by is AnswerRows.kind else f"{question.id} {question.text}"

    with_truth = set(answerable(about))
    questions = [question for question in pool.load(file, about).enabled if question.text in with_truth]
    progress.begin(f"answers, {about}", len(samples))
    return answer_accuracy(answerer, questions, len(samples), request, true_answer, progress.advance, group)


def video_views(samples: Sequence[Sample], model: Model, method: KeyImageMethod, progress: Progress) -> list[VideoView]:
    """Return the videos of a data set with their features, which are made where the cache has none."""
    from ..skeletons import dataset as skeleton_dataset

    progress.begin("features", len(samples))
    videos = [sample.video for sample in samples]
    cache = FeatureCache(array_cache.folder() / "features")
    features = stored_features(videos, model, method, cache, progress.advance)
    return skeleton_dataset.video_views(samples, features, sampling_fingerprint(model, method))
