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
from .extract import BATCH_SECONDS, extract

Result = tuple[int, Embeddings | MediaError]  # position in the list of sources, and what became of it

_CACHED_TOGETHER = 64  # videos whose cached features are embedded in one go


def embedding_fingerprint(model: Model, method: KeyImageMethod) -> str:
    """Return the hash of all that changes the vectors of a given file: what an index or a library is bound to."""
    return digest(model.fingerprint(), sampling_fingerprint(model, method))


class Embedder:
    """Turns sources into embeddings, batch by batch; what has been yielded is in the cache and costs nothing again."""

    def __init__(self, model: Model, method: KeyImageMethod, cache: FeatureCache | None = None) -> None:
        self.model = model
        self.method = method
        self.cache = cache
        self._sampling = sampling_fingerprint(model, method)

    def batches(self, sources: Sequence[Source], first_seconds: float = BATCH_SECONDS) -> Iterator[list[Result]]:
        """Yield every source exactly once: first those whose features are cached, then the others in order.

        Features of a batch are durable in the cache before its embeddings are yielded. `first_seconds` as `extract`
        has it.
        """
        cached = [number for number, source in enumerate(sources) if self._is_cached(source)]
        missing = sorted(set(range(len(sources))).difference(cached))
        for first in range(0, len(cached), _CACHED_TOGETHER):
            batch = []
            for number in cached[first : first + _CACHED_TOGETHER]:
                features = self._read(sources[number])
                if features is None:  # another process has removed them, or their shard is damaged
                    missing.append(number)
                else:
                    batch.append((number, features))
            yield self._embed(batch)
        for extracted in extract(
            [sources[number] for number in missing], self.model, self.method, first_seconds=first_seconds
        ):
            results = [(missing[position], result) for position, result in extracted]
            if self.cache is not None:
                self.cache.put(
                    {
                        feature_key(sources[number], self._sampling): result
                        for number, result in results
                        if isinstance(result, Features)
                    }
                )
            yield self._embed(results)

    def _is_cached(self, source: Source) -> bool:
        return self.cache is not None and feature_key(source, self._sampling) in self.cache

    def _read(self, source: Source) -> Features | None:
        return None if self.cache is None else self.cache.get(feature_key(source, self._sampling))

    def _embed(self, batch: Sequence[tuple[int, Features | MediaError]]) -> list[Result]:
        """Return the embeddings of a batch, in order, with the errors in their places."""
        usable = [(number, features) for number, features in batch if isinstance(features, Features)]
        vectors = self.model.embed_videos([features for _, features in usable])
        embeddings = {number: vector for (number, _), vector in zip(usable, vectors, strict=True)}
        return [
            (number, features if isinstance(features, MediaError) else embeddings[number]) for number, features in batch
        ]


def embed_all(
    videos: Sequence[Video],
    model: Model,
    method: KeyImageMethod,
    cache: FeatureCache | None = None,
    progress: Progress | None = None,
) -> list[Embeddings | MediaError]:
    """Embed every video, in order; a video that cannot be used gives its MediaError in its place.

    Args:
        videos: Files, or spans of files.
        model: Makes the features and the vectors.
        method: Chooses the key images.
        cache: Has features from before, and takes the new ones; None: files need no hash, and nothing is kept.
        progress: Counts the videos, as the stage "embedding".
    """
    progress = progress or Silent()
    results: dict[int, Embeddings | MediaError] = {}
    sources: list[tuple[int, Source]] = []
    hashes: dict[Path, Source | MediaError] = {}
    for number, video in enumerate(videos):
        source = _source(video, hashes) if cache is not None else Source(video)
        if isinstance(source, MediaError):
            results[number] = source
        else:
            sources.append((number, source))
    progress.begin("embedding", len(videos))
    progress.advance(len(videos) - len(sources))
    for batch in Embedder(model, method, cache).batches([source for _, source in sources]):
        for position, result in batch:
            results[sources[position][0]] = result
        progress.advance(len(batch))
    return [results[number] for number in range(len(videos))]


def _source(video: Video, hashes: dict[Path, Source | MediaError]) -> Source | MediaError:
    """Return the source of a video; a file of which several spans are used is hashed once."""
    if video.path not in hashes:
        hashes[video.path] = source_of(video)
    hashed = hashes[video.path]
    return hashed if isinstance(hashed, MediaError) else Source(video, hashed.content, hashed.stamp)
