"""A split of moving shapes as measurements read it: features are made once, and several searches embed them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import plugins
from ..errors import UsageError
from ..features.cache import FeatureCache
from ..features.lazy import StoredFeatures, stored_features
from ..protocols import KeyImageMethod, Model
from ..scoring.similarity import Gallery
from ..types import Sample
from ..utils import array_cache
from ..utils.progress import Progress
from ..utils.wording import model_title

if TYPE_CHECKING:
    from ..datasets.moving_shapes import MovingShapes

_NAME = "moving_shapes"


@dataclass(frozen=True, slots=True)
class SplitFeatures:
    """The videos of a split, and their features, in one order."""

    dataset: MovingShapes
    samples: Sequence[Sample]
    features: StoredFeatures

    def gallery(self, model: Model) -> Gallery:
        """Return the vectors of all videos. Raises the MediaError of one that cannot be used."""
        return Gallery.pack(model.embed_videos(self.features[:]))


def split_features(
    split: str,
    model: Model,
    method: KeyImageMethod,
    progress: Progress,
    *,
    limit: int | None = None,
    captions: int | None = None,
) -> SplitFeatures:
    """Return a split that is rendered, with features from the user's cache.

    Args:
        split: Of moving shapes.
        model: Makes the features.
        method: Chooses the key images.
        progress: Follows both stages.
        limit: Only the first so many videos; None: all.
        captions: Of each video; None: all.
    """
    options = {"split": split, "count": limit} | ({} if captions is None else {"captions": captions})
    dataset: MovingShapes = plugins.build("datasets", _NAME, options)
    progress.begin(f"rendering {split}", len(dataset.pending()))
    dataset.generate(advance=progress.advance)
    samples = dataset.samples()
    progress.begin(f"features of {split}", len(samples))
    cache = FeatureCache(array_cache.folder() / "features")
    videos = [sample.video for sample in samples]
    return SplitFeatures(dataset, samples, stored_features(videos, model, method, cache, progress.advance))


def mean_searcher(model: Model) -> Model:
    """Return the search by the mean of key images on a model's own towers, which reads the model's features.

    Raises UsageError where the model has no such towers.
    """
    from ..models.clip4clip import Clip4Clip, Options
    from ..models.mmi import Mmi

    if not isinstance(model, Mmi):
        raise UsageError(f"{model_title(model)} has no CLIP of its own to search by the mean of key images; mmi has")
    return Clip4Clip(Options(checkpoint=""), model.towers)
