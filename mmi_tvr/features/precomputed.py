"""What data sets bring along for models: vision features, of which nothing is decoded or cached, and role graphs."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import MediaError, UsageError
from ..evaluation.evaluate import Embed
from ..protocols import Dataset, DatasetWithFeatures, DatasetWithRoleGraphs, Model, ModelOfRoleGraphs
from ..types import Embeddings, Features, Video
from ..utils.progress import Progress
from .extract import reads_pictures
from .lazy import LazyFeatures


def hand_over_graphs(dataset: Dataset, model: Model) -> None:
    """Give the model the role graphs of the data set's captions, where the one has some and the other reads them."""
    if isinstance(model, ModelOfRoleGraphs) and isinstance(dataset, DatasetWithRoleGraphs) and dataset.role_graphs:
        model.use_role_graphs(dataset.role_graphs)


def features_of(dataset: Dataset, name: str, model: Model) -> DatasetWithFeatures | None:
    """Return the data set where the model reads the features that it brings along; None where its videos are decoded.

    Args:
        dataset: of either kind.
        name: of the data set, for messages.
        model: of either kind.

    Raises:
        UsageError: the model reads features and the data set has videos alone, or the other way round, or they are
            other features than the model's.
    """
    if not isinstance(dataset, DatasetWithFeatures):
        if not reads_pictures(model):
            raise UsageError(
                f"{model.name} reads {model.vision_fingerprint()}, and {name} has videos alone: take a data set that "
                f"brings these features along (hgr), or a model that looks at pictures"
            )
        return None
    if reads_pictures(model):
        raise UsageError(
            f"{name} brings features along ({dataset.vision}) and no videos, and {model.name} looks at pictures: "
            f"take a model that reads features (mcsan with vision: precomputed)"
        )
    if dataset.vision != model.vision_fingerprint():
        raise UsageError(
            f"the features of {name} are {dataset.vision}; {model.name} reads {model.vision_fingerprint()}: "
            f"make the options of both agree (model.precomputed, and those of the data set)"
        )
    return dataset


class DatasetFeatures(LazyFeatures):
    """The features that a data set brings along, by the numbers of its samples."""

    def __init__(self, dataset: DatasetWithFeatures, count: int, progress: Progress) -> None:
        """Read all of them once, to know which cannot be used; what there is room for stays in memory."""
        failures: dict[int, MediaError] = {}
        super().__init__(failures)
        self._dataset, self._count = dataset, count
        progress.begin("reading features", count)
        for number in range(count):
            try:
                self[number]
            except MediaError as error:
                failures[number] = error
            progress.advance()

    def __len__(self) -> int:
        return self._count

    def _read(self, number: int) -> Features:
        return self._dataset.features(number)


def embedder(dataset: DatasetWithFeatures, videos: Sequence[Video], model: Model, progress: Progress) -> Embed:
    """Return what embeds the videos of a data set from the features that it brings along.

    Args:
        dataset: has the features.
        videos: of all its samples, in their order; each is another one.
        model: embeds them.
        progress: counts the videos.
    """
    numbers = {video: number for number, video in enumerate(videos)}

    def embed(chosen: Sequence[Video]) -> list[Embeddings | MediaError]:
        features = DatasetFeatures(dataset, len(videos), progress)
        usable = [number for number in map(numbers.__getitem__, chosen) if number not in features.failures]
        vectors = dict(zip(usable, model.embed_videos([features[number] for number in usable]), strict=True))
        return [
            features.failures[number] if number in features.failures else vectors[number]
            for number in map(numbers.__getitem__, chosen)
        ]

    return embed
