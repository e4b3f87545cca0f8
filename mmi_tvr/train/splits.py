"""The splits of a run: a data set's samples, their features, and what it knows about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import plugins
from ..config import Section
from ..errors import MediaError, UsageError
from ..features.lazy import LazyFeatures, StoredFeatures
from ..features.precomputed import DatasetFeatures, features_of, hand_over_graphs
from ..protocols import (
    Dataset,
    DescribingDataset,
    GeneratedDataset,
    GroupedDataset,
    KeyImageMethod,
    TrainableModel,
)
from ..types import DescribedMoment, Sample
from ..utils.progress import Progress
from ..utils.wording import counted
from .features import shared_features
from .moments import moments_of
from .options import MOMENTS
from .persons import check_persons
from .plan import prepare
from .settings import DataOptions, RunSettings


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


def split_data(
    title: str, settings: RunSettings, section: Section, model: TrainableModel, cache: Path, progress: Progress
) -> SplitData:
    """Return a split with its features: those that it brings along, or what all processes make together.

    Args:
        title: of the split, in what is said of the plan.
        settings: of the run.
        section: the data set and its options.
        model: makes the features.
        cache: the folder of features.
        progress: of the features.

    Raises:
        UsageError: more videos are unreadable than `data.unreadable` allows.
    """
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
    prepare(title, generated, videos, model, key_images(settings), cache, progress)
    return shared_features(videos, model, key_images(settings), cache, progress)


def key_images(settings: RunSettings) -> KeyImageMethod:
    """Return how the run chooses key images."""
    method: KeyImageMethod = plugins.build("keyimages", settings.keyimages.name, settings.keyimages.options)
    return method


def _check(section: Section, samples: Sequence[Sample], failures: Mapping[int, MediaError], data: DataOptions) -> None:
    """Raise UsageError where more videos failed than the settings allow."""
    if len(failures) > data.unreadable * len(samples):
        raise UsageError(
            f"{section.name}: {len(failures)} of {counted(len(samples), 'video')} "
            f"cannot be used, more than {data.unreadable:.0%} "
            f"(the first: {next(iter(failures.values()))}); repair them, or allow more with data.unreadable"
        )
