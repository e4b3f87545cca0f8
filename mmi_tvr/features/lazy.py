"""Features of many videos as a sequence that reads them when they are indexed: from the cache, or whatever has them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import overload

from ..errors import MediaError, MmiTvrError
from ..protocols import KeyImageMethod, Model
from ..types import Features, Video
from .cache import FeatureCache, Source, feature_key, sampling_fingerprint, source_of
from .extract import extract


def stored_features(
    videos: Sequence[Video],
    model: Model,
    method: KeyImageMethod,
    cache: FeatureCache,
    advance: Callable[[int], object] = lambda steps: None,
    workers: int | None = None,
) -> StoredFeatures:
    """Return the features of every video, made where the cache does not have them; durable batch by batch.

    Args:
        videos: Files, or spans of files. One that cannot be used is among the `failures` of the result.
        model: Makes the features.
        method: Chooses the key images.
        cache: Where the features are, and where new ones go.
        advance: Is called with the number of videos that are ready since the call before.
        workers: Processes that decode; None: as `media.guarded.limits` says.
    """
    sampling = sampling_fingerprint(model, method)
    sources: dict[int, Source] = {}
    failures: dict[int, MediaError] = {}
    for number, video in enumerate(videos):
        source = source_of(video)
        if isinstance(source, MediaError):
            failures[number] = source
        else:
            sources[number] = source
    keys = {number: feature_key(source, sampling) for number, source in sources.items()}
    missing = [number for number, key in keys.items() if key not in cache]
    advance(len(videos) - len(missing))
    for batch in extract([sources[number] for number in missing], model, method, workers):
        features: dict[str, Features] = {}
        for position, result in batch:
            number = missing[position]
            if isinstance(result, MediaError):
                failures[number] = result
            else:
                features[keys[number]] = result
        cache.put(features)
        advance(len(batch))
    return StoredFeatures(cache, [keys.get(number, "") for number in range(len(videos))], failures)


class LazyFeatures(Sequence[Features]):
    """Features by number, read when they are asked for, and kept while there is room.

    A thousand videos of CLIP ViT-L with twelve key images take about half a gigabyte; `room` is in bytes.
    """

    def __init__(self, failures: Mapping[int, MediaError], room: int = 4 << 30) -> None:
        self.failures = failures  # by number; reading one of them raises it
        self._room = room
        self._in_memory: dict[int, Features] = {}

    @abstractmethod
    def _read(self, number: int) -> Features:
        """Return the features of a number from 0, which is none of the failures."""

    @overload
    def __getitem__(self, number: int) -> Features: ...

    @overload
    def __getitem__(self, number: slice) -> list[Features]: ...

    def __getitem__(self, number: int | slice) -> Features | list[Features]:
        if isinstance(number, slice):
            return [self[position] for position in range(len(self))[number]]
        position = range(len(self))[number]  # counts negative numbers from the end, and raises IndexError
        if position in self._in_memory:
            return self._in_memory[position]
        if position in self.failures:
            raise self.failures[position]
        features = self._read(position)
        size = sum(array.nbytes for array in features.arrays.values())
        if size <= self._room:
            self._room -= size
            self._in_memory[position] = features
        return features


class StoredFeatures(LazyFeatures):
    """Features that a cache has."""

    def __init__(
        self, cache: FeatureCache, keys: Sequence[str], failures: Mapping[int, MediaError], room: int = 4 << 30
    ) -> None:
        super().__init__(failures, room)
        self._cache, self._keys = cache, keys

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, number: int) -> str:
        """Return what the features are stored under: a hash of the file's content, its span and how it was sampled."""
        return self._keys[number]

    def _read(self, number: int) -> Features:
        features = self._cache.get(self._keys[number])
        if features is None:
            raise MmiTvrError(f"{self._cache.root}: features that were there are gone; run the same command again")
        return features
