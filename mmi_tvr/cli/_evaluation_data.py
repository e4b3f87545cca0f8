"""The data set and the model of an evaluation, as the command line names them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.markup import escape

from .. import config, models, plugins
from ..config import Section, Settings
from ..errors import MediaError, ModelNotFound, UsageError
from ..evaluation.evaluate import Embed
from ..experiments.pretrain import faces_model
from ..features.cache import FeatureCache
from ..protocols import Dataset, GeneratedDataset, IncompleteDataset, KeyImageMethod, Model, MomentDataset
from ..types import DescribedMoment, Embeddings, Sample, Video
from ..utils import array_cache, environment
from ..utils.progress import Progress
from ..utils.wording import counted
from ._console import chosen_model, say
from ._pools import settings_with_pools
from .data import benchmark_name, benchmark_options

GENERATED = "moving_shapes"
_GENERATED_QUERIES = ("moving_faces", "moving_things")  # data sets with queries of their own
_MODELS = {"moving_faces": (faces_model.NAME, faces_model.SCRIPT)}  # which goes with them, and what makes it
_DEFAULT_SPLIT = "test"


@dataclass(frozen=True, slots=True)
class DataChoice:
    """Which captions and videos: a folder, the generated data set, a benchmark, or a data set of another package."""

    target: str
    root: Path | None = None
    annotations: Path | None = None
    option: Sequence[str] = ()
    captions: Path | None = None
    column: str | None = None
    split: str = _DEFAULT_SPLIT
    limit: int | None = None
    skip_missing: bool = False
    seed: int = 0  # of the generated data set

    def __post_init__(self) -> None:
        """Raise UsageError where an option names the split, too: a report says which one it was by `split`."""
        if "split" in config.read(Section, None, self.option).options:
            raise UsageError("--option split: a split is named with --split")


@dataclass(frozen=True, slots=True)
class EvaluationData:
    """A data set that can be read now, and the options that the report says it was read with."""

    dataset: Dataset
    options: Mapping[str, Any]

    @property
    def missing(self) -> Sequence[str]:
        """Ids of annotated videos that are not there."""
        return self.dataset.missing if isinstance(self.dataset, IncompleteDataset) else ()

    @property
    def remarks(self) -> Sequence[str]:
        """What a reader of the numbers should know of the data."""
        return self.dataset.remarks if isinstance(self.dataset, IncompleteDataset) else ()

    def moments(self, target: str) -> Mapping[str, Sequence[DescribedMoment]]:
        """Return the sentences whose moments are known. UsageError where the data set called `target` knows none."""
        if not isinstance(self.dataset, MomentDataset):
            remarks = f" ({'; '.join(self.remarks)})" if self.remarks else ""
            raise UsageError(
                f"{target} as chosen here does not say when in its videos things happen; moving_shapes does, and so "
                "do train and val of qvhighlights, charades_sta, and didemo and activitynet with unit=paragraph, "
                f"where the annotation has the times{remarks}"
            )
        return self.dataset.moments()


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which model, and the settings around it, whose options change that model (`chosen_model`)."""

    model: str | None
    checkpoint: Path | None
    download: bool
    settings: Settings

    @classmethod
    def of_command(
        cls,
        target: str,
        model: str | None,
        checkpoint: Path | None,
        download: bool,
        settings: Path | None,
        changes: Sequence[str] | None,
    ) -> ModelChoice:
        """Return the choice of a command's options, about a data set.

        Raises what `section` and `models.key_images_by` do, before videos are rendered; with `download` once the
        checkpoint is there.
        """
        if model is not None and checkpoint is not None:
            raise UsageError("--model and --checkpoint both name the model: give one of them")
        is_named = model is not None or checkpoint is not None
        choice = cls(model, checkpoint, download, config.load(settings, changes or (), model_is_named=is_named))
        if not download:
            models.key_images_by(choice.settings, choice.section(target))
        return choice

    def with_pools(self, folder: Path | None) -> ModelChoice:
        """Return the choice with the question pools of --pools in its settings (`settings_with_pools`)."""
        return replace(self, settings=settings_with_pools(self.settings, folder))

    def section(self, target: str | None) -> Section:
        """Return the settings section of the model; of the one that goes with a data set, where nothing names another.

        UsageError where options of the settings do not fit it, ModelNotFound where it is not on this machine.
        """
        if self.checkpoint is not None:
            return models.changed(models.trained_section(str(self.checkpoint)), self.settings.model)
        section = chosen_model(self.model, self.settings, self.download)
        return section or models.resolve(models.changed(default_model(target) or Section(), self.settings.model))


@dataclass(frozen=True, slots=True)
class EvaluationModel:
    """A loaded model with the key images that go with it; `settings` name both."""

    settings: Settings
    model: Model
    method: KeyImageMethod

    def embedder(self, dataset: Dataset, name: str, progress: Progress) -> Embed:
        """Return what embeds the videos of a data set called `name`, or the features that it brings along.

        Raises UsageError where the model reads the other of the two.
        """
        from ..features import precomputed

        precomputed.hand_over_graphs(dataset, self.model)
        if with_features := precomputed.features_of(dataset, name, self.model):
            videos = [sample.video for sample in dataset.samples()]
            return precomputed.embedder(with_features, videos, self.model, progress)
        return lambda videos: self.embed(videos, progress)

    def embed(self, videos: Sequence[Video], progress: Progress) -> Sequence[Embeddings | MediaError]:
        """Return the embeddings of videos, or why there are none; features come from the user's cache."""
        from ..features.embed import embed_all

        cache = FeatureCache(array_cache.folder() / "features")
        return embed_all(videos, self.model, self.method, cache, progress)

    def readable(self, samples: Sequence[Sample], progress: Progress) -> list[tuple[Sample, Embeddings]]:
        """Return the samples whose videos can be read, with their embeddings; a line says how many were left out."""
        results = self.embed([sample.video for sample in samples], progress)
        pairs = [
            (one, result) for one, result in zip(samples, results, strict=True) if not isinstance(result, MediaError)
        ]
        if left_out := len(samples) - len(pairs):
            say(f"left out {counted(left_out, 'video')} that cannot be read")
        return pairs


def load_data(choice: DataChoice, progress: Progress) -> EvaluationData:
    """Return the data set of a choice; a generated one is rendered first. UsageError where it cannot be read.

    The name of another package's data set comes before a folder of that name, which is written ./NAME (decision).
    """
    third_party = plugins.origin("datasets", choice.target) is not None
    if choice.target in _GENERATED_QUERIES and not (choice.root or choice.annotations):
        return _load_generated_queries(choice, progress)
    if not (third_party or choice.root or choice.annotations or choice.option):
        if choice.target == GENERATED:
            return EvaluationData(load_generated(choice.split, choice.limit, progress, choice.seed), {})
        if Path(choice.target).is_dir():
            return EvaluationData(_load_folder(choice), {"limit": choice.limit} if choice.limit else {})
    if choice.captions or choice.column:
        raise UsageError("--captions and --column go with a folder; other data sets have captions of their own")
    options = _third_party_options(choice) if third_party else _benchmark_options(choice)
    dataset: Dataset = plugins.build("datasets", choice.target, options)
    _render(dataset, progress)
    return EvaluationData(dataset, options)


def load_generated(split: str, limit: int | None, progress: Progress, seed: int = 0) -> Any:
    """Return the generated data set, rendered into the cache: one query a video, so that n is the number of videos."""
    dataset = plugins.build("datasets", GENERATED, {"split": split, "captions": 1, "count": limit, "seed": seed})
    _render(dataset, progress)
    return dataset


def _load_generated_queries(choice: DataChoice, progress: Progress) -> EvaluationData:
    """Return a generated data set with queries of its own, rendered into the cache."""
    options = config.read(Section, None, choice.option).options
    sizes = {"split": choice.split, "count": choice.limit}
    dataset: Dataset = plugins.build("datasets", choice.target, {**sizes, **options})
    _render(dataset, progress)
    return EvaluationData(dataset, options | ({"limit": choice.limit} if choice.limit else {}))


def require_generated(target: str, purpose: str) -> None:
    """Raise UsageError where a data set has not what only the generated one has."""
    if target != GENERATED:
        raise UsageError(f"{purpose} are known of one data set: {GENERATED}, not of {target}")


def default_model(target: str | None) -> Section | None:
    """Return the model that goes with a data set; None where any will do.

    ModelNotFound where it was not made on this machine yet, and $MMI_TVR_MODEL names no other.
    """
    if target not in _MODELS:
        return None
    name, script = _MODELS[target]
    if name in models.local():
        return models.trained_section(name)
    if os.environ.get(environment.MODEL):
        return None
    raise ModelNotFound(
        f"{target}: the model that goes with it is not on this machine; "
        f"`python {script}` makes it in half an hour of one core, or name another one with --model"
    )


def load_model(choice: ModelChoice, target: str | None = None) -> EvaluationModel:
    """Return the model of a choice, with its own key images unless the settings name others.

    target: the data set, with which the model goes where neither the choice nor its settings name one.
    """
    settings = choice.settings
    section = choice.section(target)
    model = models.make(section, settings.device)
    keyimages = models.key_images_by(settings, section)
    settings = settings.model_copy(update={"model": section, "keyimages": keyimages})
    method: KeyImageMethod = plugins.build("keyimages", keyimages.name, keyimages.options)
    return EvaluationModel(settings, model, method)


def _load_folder(choice: DataChoice) -> Any:
    missing = "skip" if choice.skip_missing else "error"
    options = {
        "root": choice.target,
        "captions": choice.captions,
        "column": choice.column,
        "missing": missing,
        "limit": choice.limit,
    }
    dataset = plugins.build("datasets", "folder", options)
    if dataset.missing:
        say(f"left out {counted(len(dataset.missing), 'file')} not in {escape(choice.target)}")
    return dataset


def _benchmark_options(choice: DataChoice) -> dict[str, Any]:
    """Return a benchmark's options. UsageError where the target is none, or its videos are not named."""
    if "/" in choice.target or (choice.root is None and choice.target not in plugins.names("datasets")):
        raise UsageError(
            f"{choice.target}: neither a folder nor a data set; a benchmark's videos are named with --root DIR"
        )
    name = benchmark_name(choice.target)
    if choice.root is None:
        raise UsageError(f"{name}: where are its videos? --root DIR, and --annotations DIR for its annotation files")
    options = benchmark_options(choice.root, choice.annotations, choice.option) | {"split": choice.split}
    if choice.limit:
        options["limit"] = choice.limit
    if choice.skip_missing:
        options["allowed"] = 1.0
    return options


def _third_party_options(choice: DataChoice) -> dict[str, Any]:
    """Return the options of another package's data set. One that it does not have is an error when it is built."""
    values = {"root": choice.root, "annotations": choice.annotations, "limit": choice.limit}
    options: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
    if "split" in plugins.load("datasets", choice.target).Options.model_fields or choice.split != _DEFAULT_SPLIT:
        options["split"] = choice.split
    return options | config.read(Section, None, choice.option).options


def _render(dataset: object, progress: Progress) -> None:
    if isinstance(dataset, GeneratedDataset) and (pending := len(dataset.pending())):
        progress.begin("rendering", pending)
        dataset.generate(advance=progress.advance)
