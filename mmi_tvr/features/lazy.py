"""Features of many videos as a sequence that reads them from the cache when they are indexed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import overload

from ..errors import MediaError, MmiTvrError
from ..protocols import KeyImageMethod, Model
from ..types import Features, Video
from .cache import FeatureCache, Source, feature_key, sampling_fingerprint, source_of
from .extract import extract


def stored(
    videos: Sequence[Video],
    model: Model,
    method: KeyImageMethod,
    cache: FeatureCache,
    advance: Callable[[int], object] = lambda steps: None,
) -> Stored:
    """The features of every video, made where the cache does not have them; durable batch by batch.

    `advance` hears how many more are done. A video that cannot be used is among the `failures` of the result.
    """
    sampling = sampling_fingerprint(model, method)
    sources: dict[int, Source] = {}
    failures: dict[int, MediaError] = {}
    for at, video in enumerate(videos):
        source = source_of(video)
        if isinstance(source, MediaError):
            failures[at] = source
        else:
            sources[at] = source
    keys = {at: feature_key(source, sampling) for at, source in sources.items()}
    missing = [at for at, key in keys.items() if key not in cache]
    advance(len(videos) - len(missing))
    for batch in extract([sources[at] for at in missing], model, method):
        made = {missing[position]: found for position, found in batch}
        failures |= {at: found for at, found in made.items() if isinstance(found, MediaError)}
        cache.put({keys[at]: found for at, found in made.items() if isinstance(found, Features)})
        advance(len(batch))
    return Stored(cache, [keys.get(at, "") for at in range(len(videos))], failures)


class Stored(Sequence[Features]):
    """Features by number, read from the cache when they are asked for, and kept while there is room.

    A thousand videos of CLIP ViT-L with twelve key images take about half a gigabyte; `room` is in bytes.
    """

    def __init__(
        self, cache: FeatureCache, keys: Sequence[str], failures: Mapping[int, MediaError], room: int = 4 << 30
    ) -> None:
        self.failures = failures  # by number; asking for one of them raises it
        self._cache, self._keys, self._room = cache, keys, room
        self._held: dict[int, Features] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, number: int) -> str:
        """What the features are stored under: a hash of the file's content, its span and how it was sampled."""
        return self._keys[number]

    @overload
    def __getitem__(self, number: int) -> Features: ...

    @overload
    def __getitem__(self, number: slice) -> list[Features]: ...

    def __getitem__(self, number: int | slice) -> Features | list[Features]:
        if isinstance(number, slice):
            return [self[each] for each in range(len(self))[number]]
        at = range(len(self))[number]
        if at in self._held:
            return self._held[at]
        if at in self.failures:
            raise self.failures[at]
        found = self._cache.get(self._keys[at])
        if found is None:
            raise MmiTvrError(f"{self._cache.root}: features that were there are gone; run the same command again")
        size = sum(array.nbytes for array in found.arrays.values())
        if size <= self._room:
            self._room -= size
            self._held[at] = found
        return found
