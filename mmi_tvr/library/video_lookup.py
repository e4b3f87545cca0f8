"""A library's videos as a re-ranker looks them up: features out of the cache, pictures out of the files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from ..errors import MediaError
from ..features.cache import FeatureCache, Source, feature_key, sampling_fingerprint
from ..features.extract import extract
from ..media.signatures import is_picture
from ..protocols import KeyImageMethod, Model
from ..skeletons.skeletons import VideoView, pictures_at
from ..types import Features, Video
from .catalogue import Catalogue
from .reading import StateChanged


class VideoLookup:
    """Looks videos up by their numbers, for `rerank.skeleton`."""

    def __init__(
        self, feature_folder: Path, open_catalogue: Callable[[], Catalogue], model: Model, method: KeyImageMethod
    ) -> None:
        """Make a lookup that reads nothing yet.

        Args:
            feature_folder: where the features of key images are cached.
            open_catalogue: returns the open catalogue of the library.
            model: makes the features that the cache has lost.
            method: chooses the key images for them.
        """
        self._feature_folder = feature_folder
        self._open_catalogue = open_catalogue
        self._model = model
        self._method = method
        self._sampling = sampling_fingerprint(model, method)

    def __call__(self, numbers: Iterable[int]) -> dict[int, VideoView]:
        """Return those of these videos that are indexed and have a file.

        Raises StateChanged where a writer forgets one of them meanwhile.
        """
        catalogue = self._open_catalogue()
        entries = catalogue.entries(numbers)
        hashes = catalogue.hashes_of(entries)
        features = _StoredFeatures(self._feature_folder, self._model, self._method, self._sampling)
        views = {}
        for number, entry in entries.items():
            if number not in hashes:
                raise StateChanged(f"video {number} was forgotten between two looks at the catalogue")
            content = hashes[number]
            paths, times = entry.paths, tuple(entry.segments[:, 2].tolist())
            views[number] = VideoView(
                times=times,
                features=partial(features.of, content, paths),
                pictures=partial(pictures_at, paths, times),
                content=content,
                key_images=self._sampling,
            )
        return views


class _StoredFeatures:
    """The features of a library's videos. The cache is opened at the first look."""

    def __init__(self, folder: Path, model: Model, method: KeyImageMethod, sampling: str) -> None:
        """Args: as `VideoLookup`; sampling: the fingerprint of model and method under which features are cached."""
        self._folder = folder
        self._model = model
        self._method = method
        self._sampling = sampling
        self._cache: FeatureCache | None = None

    def of(self, content: str, paths: Sequence[Path]) -> Features:
        """Return the features of a content; where the cache has lost them, make them once more from its files.

        Raises MediaError where no file can be read.
        """
        if self._cache is None:
            self._cache = FeatureCache(self._folder, tidy=False)
        cached = self._cache.get(feature_key(Source(Video(paths[0]), content), self._sampling))
        if cached is not None:
            return cached
        path = next((path for path in paths if path.exists()), paths[0])
        video = Video(path, picture=is_picture(path))
        [[(_, extracted)]] = extract([Source(video, content)], self._model, self._method)
        if isinstance(extracted, MediaError):
            raise extracted
        return extracted
