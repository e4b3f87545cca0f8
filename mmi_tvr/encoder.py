"""`Encoder`: sentences and videos to vectors, for programs that keep their own index.

    encoder = Encoder.from_pretrained("moving-shapes")
    queries = encoder.encode_query(["the red circle moves left"])       # (1, D)
    videos = encoder.encode_video(["a.mp4", "b.mp4"])                   # (2, D)
    encoder.similarity(queries, videos)                                 # (1, 2)

Rows are float32; those of videos have length 1. Query and video are different verbs, because a model may treat them
differently. Where a model's vectors consist of blocks, `similarity` compares them as the model says; an index of your
own, which knows dot products alone, is searched for candidates with the vectors of `encode_query(..., index=True)`.
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
    """Makes vectors of sentences and videos, by a model and the method that chooses its key images."""

    def __init__(self, model: Model, keyimages: KeyImageMethod, cache: PathLike | None = None) -> None:
        """Take a model that is ready; `from_pretrained` takes a name.

        Args:
            model: makes the vectors.
            keyimages: chooses the pictures that stand for a video.
            cache: folder of vision features, so that a file that was seen before costs nothing; None keeps none.
        """
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
        options: Mapping[str, Any] | None = None,
        keyimages: Mapping[str, Any] | None = None,
        cache: PathLike | None = None,
    ) -> Encoder:
        """Return the encoder of a model by its name.

        Args:
            name: as `--model` has it: a folder, a bundled model, a name in the local Hugging Face cache; or a trained
                model's repository on the hub.
            download: whether what is missing is fetched, the base checkpoint, too; else nothing ever is.
            device: auto, cpu, cuda, cuda:N or mps.
            options: of the model, that are to be other than the name says: {"width": 512}.
            keyimages: a settings section ({"name": "uniform", "count": 12}); None takes those that the model was
                trained on, else the package's defaults; options without a name change these.
            cache: folder of vision features; None keeps none.
        Raises:
            ModelNotFound: it, or its base checkpoint, is not on this machine.
            UsageError: an option that the model has not, or one that the name says otherwise.
        """
        section = models.resolve(hub.resolve(os.fspath(name), Section(**options or {}), download=download))
        images = models.key_images_by(config.from_values({"keyimages": dict(keyimages)} if keyimages else {}), section)
        method = plugins.build("keyimages", images.name, images.options)
        return cls(models.make(section, device), method, cache)

    @property
    def fingerprint(self) -> str:
        """Hash of all that changes a vector. Vectors with different fingerprints cannot be compared."""
        return embedding_fingerprint(self.model, self.keyimages)

    def encode_query(self, queries: str | Sequence[str], *, index: bool = False) -> NDArray[np.float32]:
        """Return vectors (N, D) of N sentences, or (D,) of a single one.

        They have length 1, unless the model's vectors consist of blocks. Of a sentence that is longer than the model
        reads, the beginning counts, and a warning is logged.

        Args:
            queries: N sentences, or one.
            index: return the vectors to search an index of videos with (`scoring.bounds.probe`): the same, where there
                are no blocks; else others, whose dot products with videos are high where scores are.

        Raises:
            UsageError: a sentence is empty.
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
            progress: True draws a bar on stderr; an object is told of the steps.
            unreadable: "raise" raises the MediaError of the first video that cannot be used; "none" returns a list of
                vectors (D,), with None for each of these.
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
        """Return all vectors of each video: the whole, its key images and their times; or the error of one without any.

        A path may be that of a picture, too; a `Video` says whether it is one. Arguments as of `encode_video`.
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
        """Return scores (N, M): cosines, or where the model's vectors consist of blocks, what these say.

        Args:
            queries: vectors (N, D), or (D,).
            videos: vectors (M, D); or the results of `embed`, which give the scores of a search: some models also weigh
                the best key images (`types.Scoring`).
            direction: "t2v" ranks videos for texts, "v2t" texts for videos; some models compare differently then.

        Raises:
            MediaError: one of the results of `embed` is one.
        """
        query_vectors = np.atleast_2d(np.asarray(queries, dtype=np.float32))
        if isinstance(videos, np.ndarray):
            return similarities(query_vectors, np.atleast_2d(videos), self.model.scoring, direction)
        return Gallery.pack(_readable(videos)).score(query_vectors, self.model.scoring, direction)

    def push_to_hub(self, repository: str, *, private: bool = False, **card: Any) -> str:
        """Upload the trained model with its card, and return its address.

        Args:
            repository: OWNER/NAME on the hub.
            private: whether others cannot see it.
            **card: of `hub.prepare`: reports, base, license, note.

        Raises:
            UsageError: this model has no trained weights of its own.
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
    """Return a context of what shows the progress."""
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
