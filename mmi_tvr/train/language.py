"""What a language model adds to the training data before the first step: pairs of skeletons, captions, and a teacher.

Process 0 asks it, and every process gets what came of that; all answers are stored, so that nothing is asked twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import plugins
from ..errors import UsageError
from ..features.cache import sampling_fingerprint
from ..features.extract import reads_pictures
from ..features.lazy import StoredFeatures
from ..protocols import Judge, TrainableModel
from ..rerank import skeleton as skeleton_reranking
from ..rerank import skeleton_options
from ..skeletons.dataset import video_views
from ..skeletons.skeletons import Describer
from ..skeletons.store import SKELETONS_FILE, SkeletonStore
from ..types import Sample
from ..utils import distributed
from ..utils.progress import Progress
from ..utils.wording import counted
from . import skeletons
from . import teacher as teachers
from .options import DISTILL, SKELETON
from .settings import RunSettings
from .skeletons import SkeletonPairs
from .splits import SplitData, key_images
from .teacher import CaptionOf, Teacher


class _CaptionQuestion(NamedTuple):
    """The question whose answer is a caption (`skeletons.SkeletonQuestion`)."""

    text: str
    id: str = "caption"
    counterparts: tuple[str, ...] = ()


def check(settings: RunSettings, model: TrainableModel) -> None:
    """Raise where nobody can answer or judge what the run asks: before features are made, and anything is stored.

    Raises:
        UsageError: the model looks at no videos, the settings re-rank by something else, or the model has no language
            model to ask.
        ServerUnusable: the server that is to answer or judge is not there.
    """
    terms = {SKELETON, DISTILL}.intersection(settings.train.terms())
    if not terms and settings.data.written is None:
        return
    if not reads_pictures(model):
        setting = f"train.stages: the term `{min(terms)}`" if terms else "data.written"
        raise UsageError(
            f"{setting} looks at videos, and {settings.data.train.name} brings features alone: leave it out"
        )
    options = skeleton_options(settings.rerank, model)
    distributed.from_first(lambda: _ask_for_names(settings, options, model, judges=DISTILL in terms))


def _ask_for_names(
    settings: RunSettings, options: skeleton_reranking.Options, model: TrainableModel, *, judges: bool
) -> None:
    """Have the answerer, and the judge, name what they would answer by."""
    skeleton_reranking.describer(options, model=model, device=settings.device)
    if judges:
        _judge(settings, options, model).fingerprint()


def _judge(settings: RunSettings, options: skeleton_reranking.Options, model: TrainableModel) -> Judge:
    judge: Judge = plugins.build(
        "judges", options.judge.name, options.judge.options, device=settings.device, model=model
    )
    return judge


def skeleton_pairs(
    settings: RunSettings, model: TrainableModel, training: SplitData, cache: Path, progress: Progress
) -> SkeletonPairs | None:
    """Return pairs for L_s, where a stage weighs it. The answers about videos are stored in the cache of features."""
    if SKELETON not in settings.train.terms():
        return None
    features = _stored(training)
    options = skeleton_options(settings.rerank, model)

    def make() -> SkeletonPairs:
        with _opened_store(cache) as store:
            return skeletons.make(
                model,
                skeleton_reranking.describer(options, model=model, store=store, device=settings.device),
                training.samples,
                features,
                training.usable[: settings.data.skeletons.videos],
                sampling=sampling_fingerprint(model, key_images(settings)),
                negatives=settings.data.skeletons.near,
                seed=settings.train.seed,
                progress=progress,
            )

    return distributed.from_first(make)


def with_written_captions(
    settings: RunSettings, model: TrainableModel, training: SplitData, cache: Path, progress: Progress
) -> tuple[SplitData, Sequence[int]]:
    """Return the split in which videos without captions have one that the answerer writes, and the numbers of all
    samples that have captions.

    Videos without captions are those beyond `data.paired`. One of which nothing is written stays without.

    Args:
        settings: of the run; `data.written` is the question that is put to each of these videos.
        model: answers, unless the settings name another answerer.
        training: the split.
        cache: the folder that answers are stored in.
        progress: of the writing.

    Raises:
        UsageError: nothing is written of any video.
    """
    paired, others = training.divided(settings.data.paired)
    question = settings.data.written
    if question is None:
        return training, paired
    features = _stored(training)
    options = skeleton_options(settings.rerank, model)

    def write() -> dict[int, str]:
        answerer = skeleton_reranking.describer(options, model=model, device=settings.device).answerer
        views = video_views(training.samples, features, sampling_fingerprint(model, key_images(settings)), others)
        progress.begin("writing captions", len(others))
        with _opened_store(cache) as store:
            writer = Describer((), (_CaptionQuestion(question),), answerer, store)
            answers = [answer for (answer,) in writer.video_skeletons(views, progress.advance)]
        captions = {number: answer.text for number, answer in zip(others, answers, strict=True) if answer.text}
        if others and not captions:
            raise UsageError(f"data.written: no caption of {counted(len(others), 'video')}: {answers[0].error}")
        return captions

    captions = distributed.from_first(write)
    samples: list[Sample] = [training.samples[number] for number in range(len(training.samples))]
    for number, text in captions.items():
        samples[number] = replace(samples[number], captions=(text,))
    return replace(training, samples=samples), sorted({*paired, *captions})


def teacher(
    settings: RunSettings,
    model: TrainableModel,
    training: SplitData,
    numbers: Sequence[int],
    cache: Path,
    progress: Progress,
) -> Teacher | None:
    """Return the teacher of the term `distill`, where a stage weighs it.

    Args:
        settings: of the run.
        model: searches for candidates before it is trained; answers and judges, unless the settings name others.
        training: the split, whose usable videos are the candidates.
        numbers: of the samples whose captions are read.
        cache: the folder that answers are stored in.
        progress: of the describing and judging.

    Raises:
        UsageError: no caption has two candidates, or two that are judged.
    """
    if DISTILL not in settings.train.terms():
        return None
    features = _stored(training)
    options = skeleton_options(settings.rerank, model)

    def make() -> Teacher:
        with _opened_store(cache) as store:
            return teachers.make(
                model,
                skeleton_reranking.describer(options, model=model, store=store, device=settings.device),
                _judge(settings, options, model),
                training.samples,
                features,
                training.usable,
                _drawn_captions(training, numbers, settings.data.distill.captions),
                joint=options.joint_score,
                sampling=sampling_fingerprint(model, key_images(settings)),
                candidates=settings.data.distill.candidates,
                temperature=settings.data.distill.temperature,
                progress=progress,
            )

    return distributed.from_first(make)


def _drawn_captions(training: SplitData, numbers: Sequence[int], count: int) -> list[CaptionOf]:
    """Return so many captions of each sample, the same in every run: those of other seeds share what scores cost."""
    dice = np.random.default_rng(0)
    drawn = []
    for number in numbers:
        captions = training.samples[number].captions
        places = np.sort(dice.permutation(len(captions))[:count])
        drawn += [CaptionOf(captions[place], number) for place in places]
    return drawn


def _opened_store(cache: Path) -> SkeletonStore:
    cache.mkdir(parents=True, exist_ok=True)
    return SkeletonStore(cache / SKELETONS_FILE)


def _stored(training: SplitData) -> StoredFeatures:
    assert isinstance(training.features, StoredFeatures)  # the model looks at videos (`check`)
    return training.features
