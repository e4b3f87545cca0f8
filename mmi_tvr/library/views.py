"""Videos of a library as questions see them: out of the feature cache, or out of the files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from ..errors import MediaError
from ..features.cache import FeatureCache, Source, feature_key, sampling_fingerprint
from ..features.extract import extract
from ..protocols import KeyImageMethod, Model
from ..skeletons.skeletons import VideoView, pictures_at
from ..types import Features, Video
from .catalogue import Catalogue


class Views:
    """What `rerank.skeleton` looks videos up in. `catalogue` gives the open one."""

    def __init__(self, folder: Path, catalogue: Callable[[], Catalogue], model: Model, method: KeyImageMethod) -> None:
        self._folder = folder
        self._catalogue = catalogue
        self._model, self._method = model, method
        self._sampling = sampling_fingerprint(model, method)

    def __call__(self, numbers: Iterable[int]) -> dict[int, VideoView]:
        """The videos of these numbers that are indexed and have a file."""
        catalogue = self._catalogue()
        found = catalogue.entries(numbers)
        contents = catalogue.contents(found)
        cache: list[FeatureCache] = []  # opened when the first features are asked for

        def opened() -> FeatureCache:
            cache[:] = cache or [FeatureCache(self._folder, tidy=False)]
            return cache[0]

        return {
            number: VideoView(
                times=(times := tuple(segments[:, 2].tolist())),
                features=partial(self._features, opened, contents[number], paths),
                pictures=partial(pictures_at, paths, times),
                content=contents[number],
                key_images=self._sampling,
            )
            for number, (paths, segments) in found.items()
        }

    def _features(self, opened: Callable[[], FeatureCache], content: str, paths: Sequence[Path]) -> Features:
        """From the cache; where it has lost them, made once more. MediaError where no file can be read."""
        key = feature_key(Source(Video(paths[0]), content), self._sampling)
        found: Features | MediaError | None = opened().get(key)
        if found is None:
            path = next((path for path in paths if path.exists()), paths[0])
            [[(_, found)]] = extract([Source(Video(path), content)], self._model, self._method)
        if isinstance(found, MediaError):
            raise found
        return found
