"""Vision features of a run's videos, made by all processes together."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..features.cache import FeatureCache
from ..features.lazy import StoredFeatures, stored_features
from ..protocols import KeyImageMethod, Model
from ..types import Video
from ..utils import distributed
from ..utils.device import processors
from ..utils.progress import Progress


def shared_features(
    videos: Sequence[Video], model: Model, method: KeyImageMethod, cache: Path, progress: Progress
) -> StoredFeatures:
    """Return the features of every video; every process calls this with the same videos.

    Each process makes its share of those that the cache does not have yet, and then reads those of all.

    Args:
        videos: what the features are of, in the order of the result.
        model: encodes the key images.
        method: chooses them.
        cache: folder of the features, which all processes see.
        progress: of this process's share.
    """
    share = videos[distributed.rank() :: distributed.world_size()]
    progress.begin("features", len(share))
    # Nothing else happens meanwhile, so every processor may decode.
    workers = max(1, processors() // int(os.environ.get("LOCAL_WORLD_SIZE") or distributed.world_size()))
    features = stored_features(share, model, method, FeatureCache(cache), progress.advance, workers)
    if distributed.world_size() == 1:
        return features
    distributed.barrier()
    return stored_features(videos, model, method, FeatureCache(cache))
