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
from ..features.lazy import stored
from ..protocols import KeyImageMethod, Model
from ..scoring.similarity import Gallery
from ..types import Embeddings, Features, Video
from ..utils.files import write_atomically
from .folder import Folder, Outcome
from .inputs import Item, samples, videos

JOB = "extract"
FEATURES, EMBEDDINGS = "features", "embeddings"
Output = Literal["features", "embeddings"]
Make = Callable[[Section, str], Model]


class Settings(plugins.BaseOptions):
    """What an extraction does; written down when it begins."""

    model: Section
    keyimages: Section
    outputs: tuple[Output, ...] = Field(("features", "embeddings"), min_length=1)
    features: Path | None = None  # the feature cache, where it is not in the folder itself

    def method(self) -> KeyImageMethod:
        method: KeyImageMethod = plugins.build("keyimages", self.keyimages.name, self.keyimages.options)
        return method


def create(
    output: Path,
    source: Path | None,
    *,
    dataset: Section | None = None,
    column: str | None = None,
    ids: str | None = None,
    root: Path | None = None,
    model: Section | None = None,
    settings: config.Settings | None = None,
    outputs: Sequence[Output] = ("features", "embeddings"),
    features: Path | None = None,
    shard: int = 256,
) -> Folder:
    """The folder of an extraction: made by the first process that asks, opened by the others and by later runs.

    `source` is a folder of videos or a list (`inputs.videos`); a `dataset` may stand in its place. The model is
    `model`, else that of the settings. Which videos there are is decided when the folder is made.
    """
    settings = settings or config.from_values({})
    if (source is None) == (dataset is None):
        raise UsageError("name a folder of videos, a list, or a data set: one of them")
    if shard < 1:
        raise UsageError(f"a shard holds at least 1 item, not {shard}")
    asked = {
        "source": _absolute(source),
        "dataset": dataset and dataset.model_dump(mode="json"),
        "column": column,
        "ids": ids,
        "root": _absolute(root),
        "model": model and model.model_dump(mode="json"),
        "settings": settings.model_dump(mode="json", exclude_unset=True, exclude={"device"}),
        "outputs": list(outputs),
        "features": _absolute(features),
        "shard": shard,
    }

    def plan() -> tuple[Mapping[str, Any], Sequence[Item]]:
        section = models.resolve(model or settings.model)
        own = models.key_images(section) if "keyimages" not in settings.model_fields_set else None
        chosen = Settings(
            model=section,
            keyimages=own or settings.keyimages,
            outputs=tuple(outputs),
            features=features and features.absolute(),
        )
        if dataset is not None:
            found = samples(dataset)
        else:
            assert source is not None
            found = videos(source, column, ids, root)
        return chosen.model_dump(mode="json"), found

    return Folder.create(output, JOB, asked, plan, shard)


class Extract:
    """See `worker.Task`."""

    together = 32  # four batches of `features.extract`: threads decode the next ones while the model works

    def __init__(self, folder: Folder, device: str, make: Make = models.make) -> None:
        self.folder, self.device = folder, device
        self.settings = Settings(**folder.settings)
        self._make = make
        self._model: Model
        self._method: KeyImageMethod
        self._shared: FeatureCache

    def begin(self) -> Mapping[str, str]:
        self._model = self._make(self.settings.model, self.device)
        self._method = self.settings.method()
        self._shared = FeatureCache(self.settings.features or self.folder.path / FEATURES, tidy=False)
        return {
            "model": self._model.name,
            "sampling": sampling_fingerprint(self._model, self._method),
            "embedding": embedding_fingerprint(self._model, self._method),
        }

    def run(self, items: Mapping[int, Item], place: Path) -> Iterator[dict[int, Outcome]]:
        cache = _Over(self._shared, place / FEATURES)
        found = {number: source_of(_video(item)) for number, item in items.items()}
        yield from self._failed({number: each for number, each in found.items() if isinstance(each, MediaError)})
        sources = {number: each for number, each in found.items() if isinstance(each, Source)}
        if EMBEDDINGS in self.settings.outputs:
            yield from self._embed(sources, cache, FeatureCache(place / EMBEDDINGS))
        else:
            yield from self._store(sources, cache)

    def publish(
        self, shard: str, items: Mapping[int, Item], outcomes: Mapping[int, Outcome], place: Path
    ) -> Mapping[int, Outcome]:
        good = {number: outcome["key"] for number, outcome in outcomes.items() if "key" in outcome}
        if FEATURES in self.settings.outputs:
            own = FeatureCache(place / FEATURES)
            self._shared.put({key: _there(own, key) for key in own if key in good.values()})
        if EMBEDDINGS in self.settings.outputs and good:
            vectors = FeatureCache(place / EMBEDDINGS)
            made = [_unpacked(_there(vectors, key)) for key in good.values()]
            target = self.folder.path / EMBEDDINGS / f"{shard}.safetensors"
            target.parent.mkdir(exist_ok=True)
            write_atomically(target, _shard(good, made, items))
        return outcomes

    def finish(self) -> None:
        """Nothing is made of all shards together."""

    def _failed(self, failures: Mapping[int, MediaError]) -> Iterator[dict[int, Outcome]]:
        if failures:
            yield {number: {"reason": error.reason} for number, error in failures.items()}

    def _embed(
        self, sources: Mapping[int, Source], cache: FeatureCache, vectors: FeatureCache
    ) -> Iterator[dict[int, Outcome]]:
        numbers, sampling = list(sources), sampling_fingerprint(self._model, self._method)
        for batch in Embedder(self._model, self._method, cache).batches(list(sources.values())):
            outcomes: dict[int, Outcome] = {}
            made: dict[str, Features] = {}
            for at, result in batch:
                key = feature_key(sources[numbers[at]], sampling)
                if isinstance(result, MediaError):
                    outcomes[numbers[at]] = {"reason": result.reason}
                else:
                    outcomes[numbers[at]] = {"key": key, "key_images": len(result.moments)}
                    made[key] = Features(result.segments, {"video": result.video, "moments": result.moments})
            vectors.put(made)
            yield outcomes

    def _store(self, sources: Mapping[int, Source], cache: FeatureCache) -> Iterator[dict[int, Outcome]]:
        made = stored([source.video for source in sources.values()], self._model, self._method, cache)
        yield {
            number: {"reason": made.failures[at].reason}
            if at in made.failures
            else {"key": made.key(at), "key_images": len(made[at].segments)}
            for at, number in enumerate(sources)
        }


class _Over(FeatureCache):
    """A cache of one's own that also reads what another has."""

    def __init__(self, below: FeatureCache, root: Path) -> None:
        super().__init__(root)
        self._below = below

    def __contains__(self, key: str) -> bool:
        return super().__contains__(key) or key in self._below

    def get(self, key: str) -> Features | None:
        found = super().get(key)
        return self._below.get(key) if found is None else found


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def _video(item: Item) -> Video:
    return Video(Path(item["path"]), item["start"], item["end"])


def _there(cache: FeatureCache, key: str) -> Features:
    found = cache.get(key)
    if found is None:
        raise MmiTvrError(f"{cache.root}: what was there is damaged or gone; remove this folder and run again")
    return found


def _unpacked(stored: Features) -> Embeddings:
    return Embeddings(stored.arrays["video"], stored.arrays["moments"], stored.segments)


def _shard(keys: Mapping[int, str], made: list[Embeddings], items: Mapping[int, Item]) -> bytes:
    gallery = Gallery.pack(made)
    tensors: dict[str, NDArray[Any]] = {
        "numbers": np.array(list(keys), np.int64),
        "videos": gallery.videos,
        "offsets": gallery.offsets,
        "moments": gallery.moments,
        "segments": np.concatenate([each.segments for each in made]),
    }
    named = [{**items[number], "key": key} for number, key in keys.items()]
    return save(tensors, metadata={"items": json.dumps(named)})
