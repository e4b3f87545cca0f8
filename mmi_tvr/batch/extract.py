"""Videos -> vision features and embeddings, a shard at a time.

    features/           a feature cache (`mmi_tvr.features`), with one file a shard: training, indexing and a later
                        extraction by another head read it and decode nothing again
    embeddings/SHARD.safetensors   numbers (M,), videos (M, D), offsets (M + 1,), moments (S, D), segments (S, 3)
                        float64, and the items in the header; the moments of row j are offsets[j] to offsets[j + 1]

While a shard is unfinished, both are kept in small files beside its journal, so that a kill costs a batch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from safetensors.numpy import save

from .. import config, models, plugins
from ..config import Section
from ..errors import MediaError, MmiTvrError, UsageError
from ..features.cache import FeatureCache, Source, feature_key, sampling_fingerprint, source_of
from ..features.embed import Embedder, embedding_fingerprint
from ..features.lazy import stored_features
from ..features.precomputed import features_of
from ..media.signatures import is_picture
from ..protocols import Dataset, DatasetWithFeatures, KeyImageMethod, Model
from ..scoring.similarity import Gallery
from ..types import Embeddings, Features, Video
from ..utils.files import write_atomically
from ..utils.hashing import digest
from .folder import BatchFolder
from .inputs import Item, samples, videos
from .journal import Outcome

JOB = "extract"
FEATURES, EMBEDDINGS = "features", "embeddings"
Output = Literal["features", "embeddings"]
ModelFactory = Callable[[Section, str], Model]  # which model, and on which device


class ExtractSettings(plugins.BaseOptions):
    """What an extraction does; written down when it begins."""

    model: Section
    keyimages: Section
    outputs: tuple[Output, ...] = Field(("features", "embeddings"), min_length=1)
    features: Path | None = None  # the feature cache, where it is not in the folder itself
    dataset: Section | None = None  # whose videos these are, where it was named

    def method(self) -> KeyImageMethod:
        method: KeyImageMethod = plugins.build("keyimages", self.keyimages.name, self.keyimages.options)
        return method


def create(
    output: Path,
    source: Path | None,
    *,
    dataset: Section | None = None,
    column: str | None = None,
    id_column: str | None = None,
    root: Path | None = None,
    model: Section | None = None,
    settings: config.Settings | None = None,
    outputs: Sequence[Output] = ("features", "embeddings"),
    features: Path | None = None,
    shard_size: int = 256,
) -> BatchFolder:
    """Return the folder of an extraction: made by the first process, opened by the others and by later runs.

    Args:
        output: the folder. Which videos there are is decided when it is made.
        source: a folder of videos or a list (`inputs.videos`, with column, id_column and root).
        dataset: a data set in place of the source.
        model: the model, else that of the settings (`models.with_settings`).
        settings: of model and key images, and of whatever else they need.
        outputs: what is written.
        features: the feature cache to read and write; default: in the folder.
        shard_size: videos in a shard.
    Raises:
        UsageError: not exactly one of source and dataset, an unusable one, or other work was begun in this folder.
    """
    settings = settings or config.from_values({})
    if (source is None) == (dataset is None):
        raise UsageError("name a folder of videos, a list, or a data set: one of them")
    request = {
        "source": _absolute(source),
        "dataset": None if dataset is None else dataset.model_dump(mode="json"),
        "column": column,
        "ids": id_column,
        "root": _absolute(root),
        "model": None if model is None else model.model_dump(mode="json"),
        "settings": settings.model_dump(mode="json", exclude_unset=True, exclude={"device"}),
        "outputs": list(outputs),
        "features": _absolute(features),
        "shard": shard_size,
    }

    def plan() -> tuple[Mapping[str, Any], Sequence[Item]]:
        resolved = _resolve(settings, model, outputs, features).model_copy(update={"dataset": dataset})
        if source is not None:
            return resolved.model_dump(mode="json"), videos(source, column, id_column, root)
        assert dataset is not None
        return resolved.model_dump(mode="json"), samples(dataset)

    return BatchFolder.create(output, JOB, request, plan, shard_size)


def _resolve(
    settings: config.Settings, model: Section | None, outputs: Sequence[Output], features: Path | None
) -> ExtractSettings:
    """Return the settings of an extraction, with the model found and the key images that it brings."""
    section = models.resolve(models.with_settings(model, settings.model))
    return ExtractSettings(
        model=section,
        keyimages=models.key_images_by(settings, section),
        outputs=tuple(outputs),
        features=None if features is None else features.absolute(),
    )


class ExtractTask:
    """See `worker.Task`."""

    batch_size = 32  # four batches of `features.extract`: threads decode the next ones while the model works

    def __init__(self, folder: BatchFolder, device: str, build_model: ModelFactory = models.make) -> None:
        self.folder, self.device = folder, device
        self.settings = ExtractSettings(**folder.settings)
        self._build_model = build_model
        self._model: Model
        self._method: KeyImageMethod
        self._cache: FeatureCache
        self._dataset: DatasetWithFeatures | None = None  # where that brings the features along

    def begin(self) -> Mapping[str, str]:
        self._model = self._build_model(self.settings.model, self.device)
        self._method = self.settings.method()
        if section := self.settings.dataset:
            dataset: Dataset = plugins.build("datasets", section.name, section.options)
            self._dataset = features_of(dataset, section.name, self._model)
        self._cache = FeatureCache(self.settings.features or self.folder.path / FEATURES, tidy=False)
        return {
            "model": self._model.name,
            "sampling": sampling_fingerprint(self._model, self._method),
            "embedding": embedding_fingerprint(self._model, self._method),
        }

    def run(self, items: Mapping[int, Item], workdir: Path) -> Iterator[dict[int, Outcome]]:
        cache = _LayeredCache(workdir / FEATURES, self._cache)
        if self._dataset is not None:
            yield self._take(self._dataset, items, cache, FeatureCache(workdir / EMBEDDINGS))
            return
        sources: dict[int, Source] = {}
        failures: dict[int, Outcome] = {}
        for number, item in items.items():
            path = Path(item["path"])
            source = source_of(Video(path, item["start"], item["end"], is_picture(path)))
            if isinstance(source, MediaError):
                failures[number] = {"reason": source.reason}
            else:
                sources[number] = source
        if failures:
            yield failures
        if EMBEDDINGS in self.settings.outputs:
            yield from self._embed(sources, cache, FeatureCache(workdir / EMBEDDINGS))
        else:
            yield self._extract(sources, cache)

    def publish(
        self, shard: str, items: Mapping[int, Item], outcomes: Mapping[int, Outcome], workdir: Path
    ) -> Mapping[int, Outcome]:
        keys = {number: outcome["key"] for number, outcome in outcomes.items() if "key" in outcome}
        if FEATURES in self.settings.outputs:
            features = FeatureCache(workdir / FEATURES)
            succeeded = set(keys.values())
            self._cache.put({key: _read(features, key) for key in features if key in succeeded})
        if EMBEDDINGS in self.settings.outputs and keys:
            vectors = FeatureCache(workdir / EMBEDDINGS)
            embeddings = [_as_embeddings(_read(vectors, key)) for key in keys.values()]
            target = self.folder.path / EMBEDDINGS / f"{shard}.safetensors"
            target.parent.mkdir(exist_ok=True)
            write_atomically(target, _pack(keys, embeddings, items))
        return outcomes

    def finish(self) -> None:
        """Do nothing: no file is made of all shards together."""

    def _embed(
        self, sources: Mapping[int, Source], cache: FeatureCache, vectors: FeatureCache
    ) -> Iterator[dict[int, Outcome]]:
        """Yield outcomes a batch at a time; its embeddings are in `vectors`, its features in `cache` by then."""
        numbers, sampling = list(sources), sampling_fingerprint(self._model, self._method)
        for batch in Embedder(self._model, self._method, cache).batches(list(sources.values())):
            outcomes: dict[int, Outcome] = {}
            arrays: dict[str, Features] = {}
            for position, result in batch:
                number = numbers[position]
                key = feature_key(sources[number], sampling)
                if isinstance(result, MediaError):
                    outcomes[number] = {"reason": result.reason}
                else:
                    outcomes[number] = {"key": key, "key_images": len(result.moments)}
                    arrays[key] = _as_features(result)
            vectors.put(arrays)
            yield outcomes

    def _take(
        self, dataset: DatasetWithFeatures, items: Mapping[int, Item], cache: FeatureCache, vectors: FeatureCache
    ) -> dict[int, Outcome]:
        """Take the features that a data set brings along; they go into `cache`, and their embeddings into `vectors`."""
        outcomes: dict[int, Outcome] = {}
        features: dict[str, Features] = {}
        for number, item in items.items():
            try:
                taken = dataset.features(item["number"])
            except MediaError as error:
                outcomes[number] = {"reason": error.reason}
                continue
            key = digest(dataset.vision, item["path"])
            features[key] = taken
            outcomes[number] = {"key": key, "key_images": len(taken.segments)}
        cache.put(features)
        if EMBEDDINGS in self.settings.outputs:
            embedded = zip(features, self._model.embed_videos(list(features.values())), strict=True)
            vectors.put({key: _as_features(result) for key, result in embedded})
        return outcomes

    def _extract(self, sources: Mapping[int, Source], cache: FeatureCache) -> dict[int, Outcome]:
        """Put the features of all sources into the cache, and return the outcomes."""
        features = stored_features([source.video for source in sources.values()], self._model, self._method, cache)
        outcomes: dict[int, Outcome] = {}
        for position, number in enumerate(sources):
            if position in features.failures:
                outcomes[number] = {"reason": features.failures[position].reason}
            else:
                outcomes[number] = {"key": features.key(position), "key_images": len(features[position].segments)}
        return outcomes


class _LayeredCache(FeatureCache):
    """A cache that also reads what the one below it has, and writes into itself alone."""

    def __init__(self, root: Path, below: FeatureCache) -> None:
        super().__init__(root)
        self._below = below

    def __contains__(self, key: str) -> bool:
        return super().__contains__(key) or key in self._below

    def get(self, key: str) -> Features | None:
        features = super().get(key)
        return self._below.get(key) if features is None else features


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def _read(cache: FeatureCache, key: str) -> Features:
    features = cache.get(key)
    if features is None:
        raise MmiTvrError(f"{cache.root}: what was there is damaged or gone; remove this folder and run again")
    return features


def _as_features(embeddings: Embeddings) -> Features:
    """Return embeddings as a feature cache keeps them."""
    return Features(embeddings.segments, {"video": embeddings.video, "moments": embeddings.moments})


def _as_embeddings(features: Features) -> Embeddings:
    return Embeddings(features.arrays["video"], features.arrays["moments"], features.segments)


def _pack(keys: Mapping[int, str], embeddings: list[Embeddings], items: Mapping[int, Item]) -> bytes:
    """Return the content of a shard's file of embeddings, as the module's docstring describes it."""
    gallery = Gallery.pack(embeddings)
    tensors: dict[str, NDArray[Any]] = {
        "numbers": np.array(list(keys), np.int64),
        "videos": gallery.videos,
        "offsets": gallery.offsets,
        "moments": gallery.moments,
        "segments": np.concatenate([video.segments for video in embeddings]),
    }
    listed = [{**items[number], "key": key} for number, key in keys.items()]
    return save(tensors, metadata={"items": json.dumps(listed)})
