"""Videos -> unit vectors, by way of cached vision features. The library and the evaluation both use this."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import MediaError
from ..protocols import KeyImageMethod, Model
from ..types import Embeddings, Features, Video
from ..utils.hashing import digest
from ..utils.progress import Progress, Silent
from .cache import FeatureCache, Source, feature_key, sampling_fingerprint, source_of
from .extract import extract

Result = tuple[int, Embeddings | MediaError]  # position in the list of sources, and what became of it

_CACHED_TOGETHER = 64  # videos whose cached features are embedded in one go


def embedding_fingerprint(model: Model, method: KeyImageMethod) -> str:
    """Hash of all that changes the vectors of a given file: what an index or a library is bound to."""
    return digest(model.fingerprint(), sampling_fingerprint(model, method))


class Embedder:
    """Turns sources into embeddings, batch by batch; what has been yielded is in the cache and costs nothing again."""

    def __init__(self, model: Model, method: KeyImageMethod, cache: FeatureCache | None = None) -> None:
        self.model = model
        self.method = method
        self.cache = cache
        self._sampling = sampling_fingerprint(model, method)

    def batches(self, sources: Sequence[Source]) -> Iterator[list[Result]]:
        """Every source exactly once: first those whose features are cached, then the others in order.

        Features of a batch are durable in the cache before its embeddings are yielded.
        """
        known = [at for at, source in enumerate(sources) if self._cached(source)]
        missing = sorted(set(range(len(sources))).difference(known))
        for first in range(0, len(known), _CACHED_TOGETHER):
            features = {at: self._read(sources[at]) for at in known[first : first + _CACHED_TOGETHER]}
            missing += (at for at, found in features.items() if found is None)
            yield self._embed([(at, found) for at, found in features.items() if found is not None])
        for batch in extract([sources[at] for at in missing], self.model, self.method):
            results = [(missing[position], features) for position, features in batch]
            if self.cache is not None:
                good = {at: features for at, features in results if isinstance(features, Features)}
                self.cache.put({feature_key(sources[at], self._sampling): found for at, found in good.items()})
            yield self._embed(results)

    def _cached(self, source: Source) -> bool:
        return self.cache is not None and feature_key(source, self._sampling) in self.cache

    def _read(self, source: Source) -> Features | None:
        return None if self.cache is None else self.cache.get(feature_key(source, self._sampling))

    def _embed(self, batch: Sequence[tuple[int, Features | MediaError]]) -> list[Result]:
        good = [(at, features) for at, features in batch if isinstance(features, Features)]
        made = dict(zip([at for at, _ in good], self.model.embed_videos([f for _, f in good]), strict=True))
        return [(at, features if isinstance(features, MediaError) else made[at]) for at, features in batch]


def embed_all(
    videos: Sequence[Video],
    model: Model,
    method: KeyImageMethod,
    cache: FeatureCache | None = None,
    progress: Progress | None = None,
) -> list[Embeddings | MediaError]:
    """Embeddings of every video, in order; a video that cannot be used gives its MediaError in its place."""
    progress = progress or Silent()
    results: dict[int, Embeddings | MediaError] = {}
    sources: list[tuple[int, Source]] = []
    hashes: dict[Path, Source | MediaError] = {}
    for at, video in enumerate(videos):
        source = _source(video, hashes) if cache is not None else Source(video)
        if isinstance(source, MediaError):
            results[at] = source
        else:
            sources.append((at, source))
    progress.begin("embedding", len(videos))
    progress.advance(len(videos) - len(sources))
    for batch in Embedder(model, method, cache).batches([source for _, source in sources]):
        for position, result in batch:
            results[sources[position][0]] = result
        progress.advance(len(batch))
    return [results[at] for at in range(len(videos))]


def _source(video: Video, hashes: dict[Path, Source | MediaError]) -> Source | MediaError:
    """The source of a video; a file of which several spans are used is hashed once."""
    if video.path not in hashes:
        hashes[video.path] = source_of(video)
    known = hashes[video.path]
    return known if isinstance(known, MediaError) else Source(video, known.content, known.stamp)
