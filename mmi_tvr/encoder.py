"""`Encoder`: sentences and videos to vectors, for programs that keep their own index.

    encoder = Encoder.from_pretrained("moving-shapes")
    queries = encoder.encode_query(["the red circle moves left"])       # (1, D)
    videos = encoder.encode_video(["a.mp4", "b.mp4"])                   # (2, D)
    encoder.similarity(queries, videos)                                 # (1, 2)

Rows are float32, and those of videos of length 1. Query and video are different verbs, because a model may treat them
differently. Where a model's vectors consist of blocks, `similarity` compares them as the model says, and an index of
your own, which knows dot products alone, is asked with `encode_query(..., index=True)` for candidates.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from . import config, hub, models, plugins
from .config import Section
from .errors import MediaError, UsageError
from .features.cache import FeatureCache
from .features.embed import embed_all, embedding_fingerprint
from .media.signatures import is_picture
from .protocols import KeyImageMethod, Model, TrainedModel
from .queries import characters_read, checked_query
from .scoring.blocks import similarities
from .scoring.bounds import probe
from .scoring.similarity import Gallery
from .types import Direction, Embeddings, FloatArray, Video
from .utils.progress import Progress, Silent
from .utils.wording import model_title

PathLike = str | os.PathLike[str]
Unreadable = Literal["raise", "none"]
_LOGGER = logging.getLogger(__name__)


class Encoder:
    """A model with the key images that go with it.

    `cache` is a folder in which what the vision tower said of a file is kept, so that the same file costs nothing
    again; None keeps nothing.
    """

    def __init__(self, model: Model, keyimages: KeyImageMethod, cache: PathLike | None = None) -> None:
        self.model = model
        self.keyimages = keyimages
        self._cache = Path(cache) if cache is not None else None

    @classmethod
    def from_pretrained(
        cls,
        name: PathLike,
        *,
        download: bool = False,
        device: str = "auto",
        keyimages: Mapping[str, Any] | None = None,
        cache: PathLike | None = None,
    ) -> Encoder:
        """Return the encoder that a name means: one that `--model` takes, or a trained model's repository on the hub.

        A folder, a bundled model, or what is in the local Hugging Face cache. `download` fetches what is not there
        (the base checkpoint, too); without it nothing is ever fetched.

        Args:
            name: of the model.
            download: whether anything may be fetched.
            device: auto, cpu, cuda, cuda:N or mps.
            keyimages: a settings section ({"name": "uniform", "count": 12}); None takes those that the model was
                trained on, else the package's defaults.
            cache: folder of vision features; None keeps none.
        Raises:
            ModelNotFound: it, or its base checkpoint, is not on this machine.
        """
        section = models.resolve(hub.resolve(os.fspath(name), download=download))
        images = Section(**keyimages) if keyimages else models.key_images(section) or config.from_values({}).keyimages
        method = plugins.build("keyimages", images.name, images.options)
        return cls(models.make(section, device), method, cache)

    @property
    def fingerprint(self) -> str:
        """Hash of all that changes a vector. Vectors of different fingerprints say nothing about each other."""
        return embedding_fingerprint(self.model, self.keyimages)

    def encode_query(self, queries: str | Sequence[str], *, index: bool = False) -> NDArray[np.float32]:
        """Return vectors (N, D) of N sentences, or (D,) of a single one. UsageError for an empty sentence.

        They have length 1, unless the model's vectors consist of blocks. With `index`, what an index of videos is asked
        with (`scoring.bounds.probe`): the same vectors, where there are no blocks; else others, whose dot products with
        videos are high where scores are. Of a sentence that is longer than the model reads, the beginning counts, and a
        warning is logged.
        """
        texts = [queries] if isinstance(queries, str) else list(queries)
        if not texts:
            return np.zeros((0, self._dim()), np.float32)
        checked = [checked_query(text) for text in texts]
        vectors = np.asarray(self.model.embed_queries(checked), dtype=np.float32)
        if long := sum(characters_read(self.model, query) is not None for query in checked):
            _LOGGER.warning(
                "%s reads only the beginning of %d of %d sentences", model_title(self.model), long, len(checked)
            )
        if index:
            vectors = probe(vectors, self.model.scoring)
        return vectors[0] if isinstance(queries, str) else vectors

    @overload
    def encode_video(
        self, videos: Sequence[PathLike | Video], *, progress: bool | Progress = ..., unreadable: Literal["raise"] = ...
    ) -> NDArray[np.float32]: ...

    @overload
    def encode_video(
        self, videos: Sequence[PathLike | Video], *, progress: bool | Progress = ..., unreadable: Literal["none"]
    ) -> list[NDArray[np.float32] | None]: ...

    def encode_video(
        self,
        videos: Sequence[PathLike | Video],
        *,
        progress: bool | Progress = False,
        unreadable: Unreadable = "raise",
    ) -> NDArray[np.float32] | list[NDArray[np.float32] | None]:
        """Return unit vectors (N, D) of N files, or of spans of files (`types.Video`).

        Args:
            videos: N paths or spans.
            progress: True draws a bar on stderr; or an object that hears of it.
            unreadable: "raise" raises the MediaError of the first video that cannot be used; "none" returns a list of
                vectors (D,) with None in such a place.
        """
        if unreadable not in ("raise", "none"):
            raise UsageError(f"unreadable is 'raise' or 'none', not {unreadable!r}")
        results = self.embed(videos, progress=progress)
        if unreadable == "none":
            return [None if isinstance(result, MediaError) else result.video for result in results]
        if not results:
            return np.zeros((0, self._dim()), np.float32)
        return np.stack([embeddings.video for embeddings in _readable(results)]).astype(np.float32)

    def embed(
        self, videos: Sequence[PathLike | Video], *, progress: bool | Progress = False
    ) -> list[Embeddings | MediaError]:
        """Return all vectors of each video: the whole, its key images and their times; or why there are none.

        A path may be that of a picture, too; a `Video` says whether it is one.
        """
        if isinstance(videos, str | os.PathLike | Video):
            raise UsageError("encode a list of videos, also where it is one: encode_video([path])")
        spans = [video if isinstance(video, Video) else _whole(Path(video)) for video in videos]
        cache = FeatureCache(self._cache) if self._cache is not None else None
        with _shown_progress(progress) as shown:
            return embed_all(spans, self.model, self.keyimages, cache, shown)

    def similarity(
        self,
        queries: FloatArray,
        videos: FloatArray | Sequence[Embeddings | MediaError],
        direction: Direction = "t2v",
    ) -> NDArray[np.float32]:
        """Return (N, M): cosines of rows (N, D) and (M, D), or what the model's blocks say of them.

        Of what `embed` gave, the scores by which a search ranks: some models also weigh the best key images
        (`types.Scoring`). MediaError where one of those videos could not be used. `direction` says who asks: videos are
        sought for texts ("t2v"), or texts for videos ("v2t"); some models compare the two otherwise.
        """
        query_vectors = np.atleast_2d(np.asarray(queries, dtype=np.float32))
        if isinstance(videos, np.ndarray):
            return similarities(query_vectors, np.atleast_2d(videos), self.model.scoring, direction)
        return Gallery.pack(_readable(videos)).score(query_vectors, self.model.scoring, direction)

    def push_to_hub(self, repository: str, *, private: bool = False, **card: Any) -> str:
        """Upload the trained model with its card (`hub.prepare` takes `card`: reports, base, license, note).

        Returns its address. UsageError where this model has no trained weights of its own.
        """
        weights = self.model.weights if isinstance(self.model, TrainedModel) else None
        if not weights:
            raise UsageError(f"{model_title(self.model)}: nothing was trained, so there is nothing to push")
        with tempfile.TemporaryDirectory() as folder:
            return hub.push(hub.prepare(weights, repository, Path(folder) / "model", **card), private=private)

    def _dim(self) -> int:
        return int(self.encode_query(["dimensions"]).shape[1])


def _readable(results: Sequence[Embeddings | MediaError]) -> list[Embeddings]:
    """Return the embeddings of all videos. Raises the first MediaError among them."""
    embeddings: list[Embeddings] = []
    for result in results:
        if isinstance(result, MediaError):
            raise result
        embeddings.append(result)
    return embeddings


def _whole(path: Path) -> Video:
    """Return a whole file, which is a video or a picture."""
    return Video(path, picture=is_picture(path))


def _shown_progress(progress: bool | Progress) -> AbstractContextManager[Progress]:
    """Return a context that gives what hears of the work."""
    if progress is True:
        return _Bar()
    return nullcontext(Silent() if progress is False else progress)


class _Bar(AbstractContextManager[Progress]):
    """tqdm's bar as an `utils.progress.Progress`."""

    def __init__(self) -> None:
        self._bar: Any = None

    def begin(self, stage: str, total: int) -> None:
        from tqdm.auto import tqdm  # type: ignore[import-untyped]

        self._close()
        self._bar = tqdm(total=total, desc=stage)

    def advance(self, steps: int = 1) -> None:
        self._bar.update(steps)

    def say(self, message: str) -> None:
        self._bar.write(message)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *reason: object) -> None:
        self._close()
