"""A whole run from a settings file: features once, then the loop, then the best checkpoint as a model folder.

FOLDER/checkpoints/   to resume from (`checkpoint`)
FOLDER/metrics.jsonl  every logged number (`trackers`)
FOLDER/best.json      the best validation
FOLDER/model/         the trained weights, as `--model FOLDER/model` reads them
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch

from .. import models
from ..errors import MediaError, UsageError
from ..evaluation import evaluate, metrics
from ..evaluation.graded import Relevance
from ..evaluation.report import Report
from ..features.lazy import LazyFeatures
from ..protocols import (
    GradedDataset,
    ModelLearningFaces,
    ModelWithLabels,
    TrainableModel,
)
from ..types import Embeddings, Query, Sample
from ..utils import distributed
from ..utils.installation import require
from ..utils.progress import Progress, Silent
from . import checkpoint, labels, language, optimizer, sharding, trackers
from .labels import PairLabels
from .loop import Outcome, StepReport, Trainer
from .matching import MatchingBatches, MatchingValidation
from .moments import MomentBatches, MomentValidation
from .options import DISTILL, MATCHING, MOMENTS, UNPAIRED
from .pairs import PairBatches
from .persons import PersonBatches, PersonValidation, person_data
from .persons_options import PersonOptions
from .protocol import EpochDataLoader
from .settings import RunSettings
from .splits import SplitData, split_data

MODEL = "model"
_SHOWN = ("loss", "validation")  # of a step's numbers


def run(
    settings: RunSettings,
    folder: Path,
    *,
    cache: Path,
    resume: bool = False,
    cpu: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Train the model of `settings`, in as many processes as were started; every process calls this.

    Args:
        settings: of the whole run.
        folder: of the run.
        cache: a folder for vision features, shared by all runs.
        resume: go on from the newest checkpoint in `folder`.
        cpu: leave accelerators alone.
        progress: is told in process 0 how far it is.

    Raises:
        UsageError: the model cannot be trained, more videos are unreadable than `data.unreadable` allows, or
            `train.bank` is larger than an epoch.
    """
    device = require("accelerate", "train").PartialState(cpu=cpu).device  # joins the other processes
    if progress is None or distributed.rank() != 0:
        progress = Silent()
    torch.manual_seed(settings.train.seed)
    model = models.trainable(settings.model, "cpu" if cpu else str(device))
    _check_loop(settings, model, folder, resume)
    language.check(settings, model)
    training = split_data("training data", settings, settings.data.train, model, cache, progress)
    _check_bank(settings, training)
    pair_labels = None
    if isinstance(model, ModelWithLabels):
        pair_labels = labels.prepare(model, training.dataset, training.usable, cache, progress)
    data = _batches(settings, model, training, pair_labels, cache, progress)
    validation = None
    if settings.data.validation is not None:
        validation = split_data("validation data", settings, settings.data.validation, model, cache, progress)
    validate = None if validation is None else _validation(settings, model, validation, progress)
    on_step = StepLines(progress)
    trainer = Trainer(
        model.network,
        data,
        settings.train,
        folder,
        validate=validate,
        on_step=on_step,
        describes=training.describes,
        config={**_data_and_model(settings), "fingerprint": model.fingerprint()},
        resume=resume,
        cpu=cpu,
    )
    on_step.begin(trainer.step, trainer.steps)
    outcome = trainer.run()
    if outcome.finished and distributed.rank() == 0:
        _export(model, settings, folder, outcome)
    return outcome


def _check_loop(settings: RunSettings, model: TrainableModel, folder: Path, resume: bool) -> None:
    """Raise what the loop would raise of this model, folder and options, before features are made.

    The network is made after them (decision: memory), unless it is asked about its layers.
    """
    if settings.train.shard and not isinstance(model, ModelWithLabels):  # whose network is made of the data
        sharding.check_layers(model.network)
    optimizer.check_torch(settings.train)

    def check_folder() -> None:
        checkpoint.check_resuming(folder, checkpoint.list_checkpoints(folder / checkpoint.CHECKPOINTS), resume)
        trackers.check(settings.train.trackers)

    distributed.from_first(check_folder)


def _batches(
    settings: RunSettings,
    model: TrainableModel,
    training: SplitData,
    pair_labels: PairLabels | None,
    cache: Path,
    progress: Progress,
) -> EpochDataLoader:
    if training.moments is not None:
        return MomentBatches(
            model,
            training.moments,
            training.features,
            training.usable,
            batch=settings.data.batch,
            sentences=settings.data.moments.sentences,
            seed=settings.train.seed,
            progress=progress,
        )
    if MATCHING in settings.train.terms():
        return MatchingBatches(
            model,
            training.dataset,
            training.features,
            training.usable,
            settings.data.matching,
            batch=settings.data.batch,
            seed=settings.train.seed,
            progress=progress,
        )
    if settings.data.persons is not None:
        return _person_batches(settings, model, training, settings.data.persons, progress)
    return _pair_batches(settings, model, training, pair_labels, cache, progress)


def _person_batches(
    settings: RunSettings, model: TrainableModel, training: SplitData, options: PersonOptions, progress: Progress
) -> PersonBatches:
    people = person_data(model, training.dataset, training.usable, options, progress)
    return PersonBatches(
        cast("ModelLearningFaces", model),  # else there would be no people
        people,
        training.features,
        options,
        groups=training.groups,
        batch=settings.data.batch,
        seed=settings.train.seed,
    )


def _pair_batches(
    settings: RunSettings,
    model: TrainableModel,
    training: SplitData,
    pair_labels: PairLabels | None,
    cache: Path,
    progress: Progress,
) -> PairBatches:
    skeleton_pairs = language.skeleton_pairs(settings, model, training, cache, progress)
    training, captioned = language.with_written_captions(settings, model, training, cache, progress)
    return PairBatches(
        model,
        training.samples,
        training.features,
        captioned,
        training.groups,
        batch=settings.data.batch,
        seed=settings.train.seed,
        captions=settings.data.captions,
        skeletons=skeleton_pairs,
        labels=pair_labels,
        unpaired=training.divided(settings.data.paired)[1] if UNPAIRED in settings.train.terms() else (),
        teacher=language.teacher(settings, model, training, captioned, cache, progress),
    )


def _validation(
    settings: RunSettings, model: TrainableModel, split: SplitData, progress: Progress
) -> Callable[[Any], float]:
    if split.moments is not None:
        return MomentValidation(model, split.moments, split.features, split.usable, progress)
    if MATCHING in settings.train.terms():
        return MatchingValidation(model, split.dataset, split.features, split.usable, progress)
    if (options := settings.data.persons) is not None:
        people = person_data(model, split.dataset, split.usable, options, progress)
        return PersonValidation(model, split.dataset, people, split.features, options, progress)
    return _Validation(model, split, in_all_processes=settings.train.shard)


def _data_and_model(settings: RunSettings) -> dict[str, Any]:
    """Return the settings besides those of the loop, as checkpoints record them. What the oldest checkpoints do not
    know is left out where it changes nothing, so that those can be resumed."""
    record = settings.model_dump(mode="json", exclude={"train", "device"})
    if settings.data.captions == "one":
        del record["data"]["captions"]
    if settings.data.paired == 1:
        del record["data"]["paired"]
    if settings.data.persons is None:
        del record["data"]["persons"]
    if settings.data.written is None:
        del record["data"]["written"]
    for term in {MOMENTS, MATCHING, DISTILL}.difference(settings.train.terms()):
        del record["data"][term]
    return record


def _check_bank(settings: RunSettings, training: SplitData) -> None:
    """Raise UsageError where the memory bank holds more pairs than an epoch has: it would hold everything twice."""
    bank = settings.train.bank
    paired, others = training.divided(settings.data.paired)
    pairs = len(paired)
    if bank and settings.data.captions == "all":
        pairs = sum(len(training.samples[row].captions) for row in paired)
    if settings.data.written is not None:
        pairs += len(others)
    if bank > pairs:
        raise UsageError(
            f"train.bank: {bank:,} pairs, and an epoch of the training data has {pairs:,}: "
            f"make it smaller than that, or 0 for no bank"
        )


class _Validation:
    """SumR on the validation split. in_all_processes: each computes it, because each has a share of the model."""

    def __init__(self, model: TrainableModel, split: SplitData, in_all_processes: bool) -> None:
        self._model, self._split, self._in_all_processes = model, split, in_all_processes

    def __call__(self, network: Any) -> float:
        """Return the number; process 0's counts, so the others work for it only where they must."""
        if distributed.rank() != 0 and not self._in_all_processes:
            return 0.0
        split = self._split
        embeddings = embedded(self._model, split.samples, split.features)
        relevance = split.dataset.relevance if isinstance(split.dataset, GradedDataset) else None
        report = evaluated(self._model, split.samples, embeddings, relevance)
        return metrics.sum_of_recalls(report.t2v, report.v2t)


class StepLines:
    """Draws the progress of the steps, and a line after every validation."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._steps = 0

    def begin(self, step: int, steps: int) -> None:
        """Start where `step` of `steps` are made."""
        self._steps = steps
        self._progress.begin("training", steps)
        self._progress.advance(step)

    def __call__(self, report: StepReport) -> None:
        if report.steps == self._steps:
            self._progress.advance()
        else:  # a stage ended early
            self.begin(report.step, report.steps)
        if "validation" in report.values:
            values = ", ".join(f"{name} {report.values[name]:.3f}" for name in _SHOWN)
            self._progress.say(f"step {report.step} ({report.stage}): {values}")


def embedded(model: TrainableModel, samples: Sequence[Sample], features: LazyFeatures) -> list[Embeddings | MediaError]:
    """Return the embeddings of samples whose features are there, and for the others why they are not."""
    usable = [number for number in range(len(samples)) if number not in features.failures]
    vectors = dict(zip(usable, model.embed_videos([features[number] for number in usable]), strict=True))
    return [
        features.failures[number] if number in features.failures else vectors[number] for number in range(len(samples))
    ]


def evaluated(
    model: TrainableModel,
    samples: Sequence[Sample],
    embeddings: Sequence[Embeddings | MediaError],
    relevance: Relevance | None = None,
) -> Report:
    """Return the model's report on embedded samples; `relevance`: how well captions fit them, where that is graded."""
    captions = [Query(caption) for sample in samples for caption in sample.captions]
    vectors = model.embed_queries(captions)
    scoring, name = model.scoring, model.name
    return evaluate.evaluate(samples, embeddings, vectors, scoring, model=name, max_unreadable=1.0, relevance=relevance)


def _export(model: TrainableModel, settings: RunSettings, folder: Path, outcome: Outcome) -> None:
    """Write the best checkpoint's weights (the last ones, where nothing was validated) as a model folder."""
    step = outcome.step if outcome.best is None else outcome.best.step
    checkpoint.load_trained(model.network, checkpoint.folder_of(folder / checkpoint.CHECKPOINTS, step))
    origin = {
        **checkpoint.origin(),
        "step": step,
        "validation": asdict(outcome.best) if outcome.best else None,
        "settings": settings.model_dump(mode="json"),
    }
    rerank = settings.rerank.model_dump(mode="json") if settings.rerank else None
    model.save(folder / MODEL, settings.keyimages.model_dump(mode="json"), origin, rerank)
