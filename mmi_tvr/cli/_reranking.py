"""What `evaluate --rerank` and `--answers` need: skeletons of a whole data set, and true answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import plugins
from ..config import Settings
from ..errors import UsageError
from ..evaluation.evaluate import Rerank
from ..evaluation.metrics import DirectionBlocks, MakeBlocks
from ..features.cache import FeatureCache, sampling_fingerprint
from ..features.lazy import StoredFeatures, stored_features
from ..protocols import KeyImageMethod, Model
from ..types import AnswerRequest, Sample
from ..utils import array_cache
from ._console import ProgressBars


def reranking(settings: Settings, model: Model, method: KeyImageMethod, progress: ProgressBars) -> Rerank:
    """Re-ranks a test set as the settings' section `rerank` says; answers about videos are kept in the cache."""
    from ..evaluation.rerank import reranked
    from ..rerank import skeleton, skeleton_options
    from ..skeletons import dataset as skeleton_dataset
    from ..skeletons.store import SKELETONS_FILE, SkeletonStore

    options = skeleton_options(settings.rerank, model)
    array_cache.folder().mkdir(parents=True, exist_ok=True)
    store = SkeletonStore(array_cache.folder() / SKELETONS_FILE)
    ranker = skeleton.build(options, model=model, views=lambda numbers: {}, store=store, device=settings.device)

    def rerank(blocks: MakeBlocks, captions: Sequence[str], samples: Sequence[Sample]) -> DirectionBlocks:
        seen = skeleton_dataset.video_views(
            samples, _features(samples, model, method, progress), sampling_fingerprint(model, method)
        )
        texts, videos = skeleton_dataset.describe(ranker.describer, captions, seen, progress.begin, progress.advance)
        return reranked(
            blocks, skeleton_dataset.PairJudge(texts, videos, ranker.judge).probabilities, options.joint_score, progress
        )

    return rerank


def answers(
    settings: Settings, dataset: Any, model: Model, method: KeyImageMethod, progress: ProgressBars
) -> tuple[dict[str, Any], str]:
    """Every question of both pools that has a true answer, put to every video and to its first caption: the document
    and the table."""
    from ..datasets.moving_shapes import answerable, truth
    from ..questions import answer_accuracy, pool
    from ..rerank import skeleton_options
    from ..skeletons import dataset as skeleton_dataset

    options = skeleton_options(settings.rerank, model)
    answerer = plugins.build(
        "answerers", options.answerer.name, options.answerer.options, device=settings.device, model=model
    )
    specs, samples = dataset.specs(), dataset.samples()
    seen = skeleton_dataset.video_views(
        samples, _features(samples, model, method, progress), sampling_fingerprint(model, method)
    )

    def about_text(question: str, number: int) -> AnswerRequest:
        return AnswerRequest(question, text=samples[number].captions[0])

    def about_video(question: str, number: int) -> AnswerRequest:
        if answerer.video_input == "features":
            return AnswerRequest(question, features=seen[number].features())
        return AnswerRequest(question, pictures=tuple(seen[number].pictures()))

    found = {}
    for name, make in (("text", about_text), ("video", about_video)):
        asked = pool.load(getattr(options, name))
        if asked.about != name:
            raise UsageError(f"{asked.path}: a pool about {asked.about}, where one about {name} is wanted")
        known = set(answerable(asked.about))
        progress.begin(f"answers, {name}", len(samples))
        found[name] = answer_accuracy.answer_accuracy(
            answerer,
            [question for question in asked.enabled if question.text in known],
            len(samples),
            make,
            lambda question, number, about=asked.about: truth(question, about)(specs[number], about == "text"),
            progress.advance,
        )
    document = {
        "answerer": answerer.name,
        "videos": len(samples),
        "answers": {name: {kind: each.as_dict() for kind, each in kinds.items()} for name, kinds in found.items()},
    }
    return document, answer_accuracy.accuracy_table(found)


def _features(
    samples: Sequence[Sample], model: Model, method: KeyImageMethod, progress: ProgressBars
) -> StoredFeatures:
    progress.begin("features", len(samples))
    videos = [sample.video for sample in samples]
    return stored_features(videos, model, method, FeatureCache(array_cache.folder() / "features"), progress.advance)
