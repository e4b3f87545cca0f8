"""A whole run from a settings file: features once, then the loop, then the best checkpoint as a model folder.

FOLDER/checkpoints/   to resume from (`checkpoint`)
FOLDER/metrics.jsonl  every logged number (`trackers`)
FOLDER/best.json      the best validation
FOLDER/model/         the trained weights, as `--model FOLDER/model` reads them
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch

from .. import models, plugins
from ..config import Section
from ..errors import MediaError, UsageError
from ..evaluation import evaluate, metrics
from ..evaluation.graded import Relevance
from ..evaluation.report import Report
from ..features.cache import sampling_fingerprint
from ..features.lazy import LazyFeatures, StoredFeatures
from ..features.precomputed import DatasetFeatures, features_of, hand_over_graphs
from ..protocols import (
    Dataset,
    DescribingDataset,
    GeneratedDataset,
    GradedDataset,
    GroupedDataset,
    KeyImageMethod,
    ModelLearningFaces,
    ModelWithLabels,
    TrainableModel,
)
from ..rerank import skeleton as skeleton_reranking
from ..rerank import skeleton_options
from ..skeletons.store import SKELETONS_FILE, SkeletonStore
from ..types import DescribedMoment, Embeddings, Query, Sample
from ..utils import distributed
from ..utils.installation import require
from ..utils.progress import Progress, Silent
from ..utils.wording import counted
from . import checkpoint, labels, skeletons
from .features import shared_features
from .labels import PairLabels
from .loop import Outcome, StepReport, Trainer
from .matching import MatchingBatches, MatchingValidation
from .moments import MomentBatches, MomentValidation, moments_of
from .options import MATCHING, MOMENTS, UNPAIRED
from .pairs import PairBatches
from .persons import PersonBatches, PersonValidation, check_persons, person_data
from .plan import say_plan
from .protocol import EpochDataLoader
from .settings import DataOptions, RunSettings
from .skeletons import SkeletonPairs

MODEL = "model"
_SHOWN = ("loss", "validation")  # of a step's numbers


@dataclass(frozen=True, slots=True)
class SplitData:
    """A data set's samples and their features, the numbers of those that are usable, the groups of twins (None: the
    data set knows none), when things happen (None: no stage weighs `moments`), and whether the captions of one sample
    are true of another one's video (None: the data set does not know)."""

    dataset: Dataset
    samples: Sequence[Sample]
    features: LazyFeatures
    usable: Sequence[int]
    groups: Sequence[Sequence[int]] | None
    moments: Mapping[str, Sequence[DescribedMoment]] | None
    describes: Callable[[int, int], bool] | None

    def divided(self, share: float) -> tuple[Sequence[int], Sequence[int]]:
        """Return the numbers of the first so many usable samples, and of the others; twins are not parted."""
        if share == 1:
            return self.usable, ()
        first = set(self.usable[: max(1, round(share * len(self.usable)))])
        for group in self.groups or ():
            if not first.isdisjoint(group):
                first.update(group)
        return [row for row in self.usable if row in first], [row for row in self.usable if row not in first]


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
    training = _split_data("training data", settings, settings.data.train, model, cache, progress)
    _check_bank(settings, training)
    pair_labels = None
    if isinstance(model, ModelWithLabels):
        pair_labels = labels.prepare(model, training.dataset, training.usable, cache, progress)
    data = _batches(settings, model, training, pair_labels, folder, progress)
    validation = None
    if settings.data.validation is not None:
        validation = _split_data("validation data", settings, settings.data.validation, model, cache, progress)
    validate = None if validation is None else _validation(settings, model, validation, progress)
    progress.begin("training", settings.train.steps)
    trainer = Trainer(
        model.network,
        data,
        settings.train,
        folder,
        validate=validate,
        on_step=_StepLines(progress),
        describes=training.describes,
        config={**_data_and_model(settings), "fingerprint": model.fingerprint()},
        resume=resume,
        cpu=cpu,
    )
    progress.advance(trainer.step)
    outcome = trainer.run()
    if outcome.finished and distributed.rank() == 0:
        _export(model, settings, folder, outcome)
    return outcome


def _batches(
    settings: RunSettings,
    model: TrainableModel,
    training: SplitData,
    pair_labels: PairLabels | None,
    folder: Path,
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
    if (options := settings.data.persons) is not None:
        people = person_data(model, training.dataset, training.usable, options, progress)
        reader = cast("ModelLearningFaces", model)  # else there would be no people
        return PersonBatches(
            reader,
            people,
            training.features,
            options,
            groups=training.groups,
            batch=settings.data.batch,
            seed=settings.train.seed,
        )
    paired, unpaired = training.divided(settings.data.paired)
    return PairBatches(
        model,
        training.samples,
        training.features,
        paired,
        training.groups,
        batch=settings.data.batch,
        seed=settings.train.seed,
        captions=settings.data.captions,
        skeletons=_skeleton_pairs(settings, model, training, folder, progress),
        labels=pair_labels,
        unpaired=unpaired if UNPAIRED in settings.train.terms() else (),
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
    for term in {MOMENTS, MATCHING}.difference(settings.train.terms()):
        del record["data"][term]
    return record


def _check_bank(settings: RunSettings, training: SplitData) -> None:
    """Raise UsageError where the memory bank holds more pairs than an epoch has: it would hold everything twice."""
    bank = settings.train.bank
    paired, _ = training.divided(settings.data.paired)
    pairs = len(paired)
    if bank and settings.data.captions == "all":
        pairs = sum(len(training.samples[row].captions) for row in paired)
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


class _StepLines:
    """Draws the progress of the steps, and a line after every validation."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __call__(self, report: StepReport) -> None:
        self._progress.advance()
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


def _split_data(
    title: str, settings: RunSettings, section: Section, model: TrainableModel, cache: Path, progress: Progress
) -> SplitData:
    """Return a split with its features: those that it brings along, or what all processes make together."""
    dataset: Dataset = plugins.build("datasets", section.name, section.options)
    if settings.data.persons is not None:
        check_persons(model, dataset)
    samples = dataset.samples()
    hand_over_graphs(dataset, model)
    features: LazyFeatures
    if with_features := features_of(dataset, section.name, model):
        features = DatasetFeatures(with_features, len(samples), progress)
    else:
        features = _decoded_features(title, settings, dataset, model, cache, progress)
    failures = features.failures
    _check(section, samples, failures, settings.data)
    if failures:
        progress.say(f"left out: {counted(len(failures), 'video')}; the first: {next(iter(failures.values()))}")
    usable = [number for number in range(len(samples)) if number not in failures]
    groups = dataset.groups() if isinstance(dataset, GroupedDataset) else None
    moments = moments_of(dataset, section.name) if MOMENTS in settings.train.terms() else None
    describes = dataset.describes if isinstance(dataset, DescribingDataset) else None
    return SplitData(dataset, samples, features, usable, groups, moments, describes)


def _decoded_features(
    title: str, settings: RunSettings, dataset: Dataset, model: TrainableModel, cache: Path, progress: Progress
) -> StoredFeatures:
    """Return the features of a data set's videos; process 0 renders what is generated."""
    samples = dataset.samples()
    videos = [samples[number].video for number in range(len(samples))]
    generated = dataset if isinstance(dataset, GeneratedDataset) else None
    if distributed.rank() == 0:
        say_plan(title, generated, videos, model, _key_images(settings), cache, progress)
    if generated is not None and distributed.rank() == 0:
        pending = len(generated.pending())
        if pending:
            progress.begin("rendering", pending)
            generated.generate(advance=progress.advance)
    distributed.barrier()
    return shared_features(videos, model, _key_images(settings), cache, progress)


def _key_images(settings: RunSettings) -> KeyImageMethod:
    method: KeyImageMethod = plugins.build("keyimages", settings.keyimages.name, settings.keyimages.options)
    return method


def _skeleton_pairs(
    settings: RunSettings, model: TrainableModel, training: SplitData, folder: Path, progress: Progress
) -> SkeletonPairs | None:
    """Return pairs for L_s, where a stage weighs it; the same in every process, which process 0 makes. The answers
    about videos are stored in the folder."""
    if "skeleton" not in settings.train.terms():
        return None
    features = training.features
    if not isinstance(features, StoredFeatures):
        raise UsageError(
            f"train.stages: the term `skeleton` looks at videos, and {settings.data.train.name} brings features alone: "
            f"leave the term out"
        )
    options = skeleton_options(settings.rerank, model)
    folder.mkdir(parents=True, exist_ok=True)
    pairs = None
    if distributed.rank() == 0:
        store = SkeletonStore(folder / SKELETONS_FILE)
        pairs = skeletons.make(
            model,
            skeleton_reranking.describer(options, model=model, store=store, device=settings.device),
            training.samples,
            features,
            training.usable[: settings.data.skeletons.videos],
            sampling=sampling_fingerprint(model, _key_images(settings)),
            negatives=settings.data.skeletons.near,
            seed=settings.train.seed,
            progress=progress,
        )
    return cast("SkeletonPairs", distributed.all_gather_objects(pairs)[0])


def _check(section: Section, samples: Sequence[Sample], failures: Mapping[int, MediaError], data: DataOptions) -> None:
    """Raise UsageError where more videos failed than the settings allow."""
    if len(failures) > data.unreadable * len(samples):
        raise UsageError(
            f"{section.name}: {len(failures)} of {counted(len(samples), 'video')} "
            f"cannot be used, more than {data.unreadable:.0%} "
            f"(the first: {next(iter(failures.values()))}); repair them, or allow more with data.unreadable"
        )


def _export(model: TrainableModel, settings: RunSettings, folder: Path, outcome: Outcome) -> None:
    """Write the best checkpoint's weights (the last ones, where nothing was validated) as a model folder."""
    step = outcome.step if outcome.best is None else outcome.best.step
    checkpoint.load_trained(model.network, checkpoint.folder_of(folder / "checkpoints", step))
    origin = {
        **checkpoint.origin(),
        "step": step,
        "validation": asdict(outcome.best) if outcome.best else None,
        "settings": settings.model_dump(mode="json"),
    }
    rerank = settings.rerank.model_dump(mode="json") if settings.rerank else None
    model.save(folder / MODEL, settings.keyimages.model_dump(mode="json"), origin, rerank)
