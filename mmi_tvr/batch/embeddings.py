"""Searching what `extract` wrote: its vectors in an index beside them, and the searcher of a library on top."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from safetensors import safe_open

from .. import index, models
from ..errors import IndexMismatch, UsageError
from ..protocols import Index
from ..search import Searcher, VideoEntry, calibration_of
from ..types import Hit, row_ids, video_of
from ..utils.wording import model_title
from .extract import EMBEDDINGS, JOB, ExtractSettings, ModelFactory
from .folder import BatchFolder
from .inputs import Item
from .leases import LOCK_SECONDS

VECTORS = "vectors"


@dataclass(frozen=True, slots=True)
class _EmbeddedVideo:
    """A video of a shard's file: its number, its vectors, (1 + K, D), its own first, and its segments, (K, 3)."""

    number: int
    item: Item
    vectors: NDArray[np.float32]
    segments: NDArray[np.float64]


class EmbeddingCollection:
    """A finished directory of embeddings. UsageError where there is none, or not all of it."""

    def __init__(self, path: Path) -> None:
        self.folder = BatchFolder(path)
        if self.folder.manifest["job"] != JOB:
            raise UsageError(f"{path}: not what batch extract wrote")
        self.settings = ExtractSettings(**self.folder.settings)
        if EMBEDDINGS not in self.settings.outputs:
            raise UsageError(f"{path}: it holds features, no embeddings; extract them without --only")
        if missing := len(self.folder.open_shards()):
            raise UsageError(f"{path}: shards missing: {missing}; run batch extract again, it goes on")
        self._files = sorted((path / EMBEDDINGS).glob("*.safetensors"))
        if not self._files:
            raise UsageError(f"{path}: none of its videos could be used, so there is nothing to search")
        self._entries: dict[int, VideoEntry] = {}
        self._items: dict[int, Item] = {}

    @property
    def fingerprint(self) -> str:
        """Of model, key images and sampling: what the vectors depend on."""
        return str(self.folder.manifest["made"]["embedding"])

    def searcher(self, device: str, build_model: ModelFactory = models.make) -> Searcher:
        """Return a searcher over all of it. The first process to ask builds the index; the others wait.

        Its hits are known by number alone (`item_of`), since spans of one file share a path.
        """
        from ..features import embed

        model = build_model(self.settings.model, device)
        fingerprint = embed.embedding_fingerprint(model, self.settings.method())
        if fingerprint != self.fingerprint:
            made_by = f"its vectors were made by {self.fingerprint}, but {model_title(model)} is now {fingerprint}"
            raise IndexMismatch(f"{self.folder.path}: {made_by}")
        vectors = self._index()
        return Searcher(model, vectors, self._lookup, calibration_of(model, vectors))

    def item_of(self, hit: Hit) -> Item:
        return self._items[int(hit.path.name)]

    def _lookup(self, numbers: Iterable[int]) -> dict[int, VideoEntry]:
        return {number: self._entries[number] for number in numbers if number in self._entries}

    def _index(self) -> Index:
        """Open the index, and add the videos that it lacks; items and segments are remembered on the way."""
        path = self.folder.path / VECTORS
        with FileLock(self.folder.path / ".vectors.lock", timeout=LOCK_SECONDS):
            opened: Index | None = None
            known: NDArray[np.int64] = np.empty(0, np.int64)
            for file in self._files:
                videos = list(_read(file))
                for video in videos:
                    self._items[video.number] = video.item
                    self._entries[video.number] = VideoEntry((Path(str(video.number)),), video.segments)
                if opened is None:
                    dim = videos[0].vectors.shape[1]
                    opened = index.open_index("auto", path=path, dim=dim, fingerprint=self.fingerprint)
                    known = np.unique(video_of(opened.ids()))
                _add(opened, [video for video in videos if video.number not in known])
        assert opened is not None  # there is a file, and no file is without videos
        return opened


def _add(vectors: Index, videos: list[_EmbeddedVideo]) -> None:
    if videos:
        ids = np.concatenate([row_ids(video.number, len(video.segments)) for video in videos])
        vectors.add(ids, np.concatenate([video.vectors for video in videos]))
        vectors.flush()


def _read(file: Path) -> Iterator[_EmbeddedVideo]:
    """Yield the videos of a shard's file, as `extract` describes it."""
    with safe_open(file, framework="numpy") as tensors:
        items = json.loads(tensors.metadata()["items"])
        names = ("numbers", "videos", "moments", "offsets", "segments")
        numbers, videos, moments, offsets, segments = (tensors.get_tensor(name) for name in names)
    for row, (number, item) in enumerate(zip(numbers.tolist(), items, strict=True)):
        span = slice(offsets[row], offsets[row + 1])
        yield _EmbeddedVideo(number, item, np.vstack([videos[row], moments[span]]), segments[span])
