"""Searching what `extract` wrote: its vectors in an index beside them, and the searcher of a library on top."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from safetensors import safe_open

from .. import index, models
from ..errors import IndexMismatch, UsageError
from ..protocols import Index
from ..search import Entry, Searcher, calibrated
from ..types import Hit, row_ids, video_of
from .extract import EMBEDDINGS, JOB, Make, Settings
from .folder import Folder
from .inputs import Item
from .leases import LOCK_SECONDS

VECTORS = "vectors"
Row = tuple[int, Item, NDArray[np.float32], NDArray[np.float64]]  # number, item, (1 + K, D), (K, 3)


class Collection:
    """A finished directory of embeddings. UsageError where there is none, or not all of it."""

    def __init__(self, path: Path) -> None:
        self.folder = Folder(path)
        if self.folder.manifest["job"] != JOB:
            raise UsageError(f"{path}: not what batch extract wrote")
        self.settings = Settings(**self.folder.settings)
        if EMBEDDINGS not in self.settings.outputs:
            raise UsageError(f"{path}: it holds features, no embeddings; extract them without --only")
        if left := len(self.folder.open_shards()):
            raise UsageError(f"{path}: {left} of its shards are missing; run batch extract again, it goes on")
        self._files = sorted((path / EMBEDDINGS).glob("*.safetensors"))
        if not self._files:
            raise UsageError(f"{path}: none of its videos could be used, so there is nothing to search")
        self._entries: dict[int, Entry] = {}
        self._items: dict[int, Item] = {}

    @property
    def fingerprint(self) -> str:
        """Of model, key images and sampling: whose vectors these are."""
        return str(self.folder.manifest["made"]["embedding"])

    def searcher(self, device: str, make: Make = models.make) -> Searcher:
        """A searcher over all of it. The index is built by the first who asks; the others wait.

        Its hits are known by number alone (`item_of`), since spans of one file share a path.
        """
        from ..features import embed

        model = make(self.settings.model, device)
        if (found := embed.embedding_fingerprint(model, self.settings.method())) != self.fingerprint:
            path = self.folder.path
            raise IndexMismatch(f"{path}: its vectors were made by {self.fingerprint}, but {model.name} is now {found}")
        opened = self._index()
        return Searcher(model, opened, self._lookup, calibrated(model, opened))

    def item_of(self, hit: Hit) -> Item:
        return self._items[int(hit.path.name)]

    def _lookup(self, numbers: Iterable[int]) -> dict[int, Entry]:
        return {number: self._entries[number] for number in numbers if number in self._entries}

    def _index(self) -> Index:
        path = self.folder.path / VECTORS
        with FileLock(self.folder.path / ".vectors.lock", timeout=LOCK_SECONDS):
            made: Index | None = None
            known: NDArray[np.int64] = np.empty(0, np.int64)
            for rows in self._read():
                if made is None:
                    dim = rows[0][2].shape[1]
                    made = index.open_index("auto", path=path, dim=dim, fingerprint=self.fingerprint)
                    known = np.unique(video_of(made.ids()))
                if fresh := [row for row in rows if row[0] not in known]:
                    ids = np.concatenate([row_ids(number, len(segments)) for number, _, _, segments in fresh])
                    made.add(ids, np.concatenate([vectors for _, _, vectors, _ in fresh]))
                    made.flush()
        assert made is not None  # there is a file, and no file is without rows
        return made

    def _read(self) -> Iterator[list[Row]]:
        """The rows of each shard; items and segments are remembered on the way."""
        for file in self._files:
            with safe_open(file, framework="numpy") as stored:
                items = json.loads(stored.metadata()["items"])
                names = ("numbers", "videos", "moments", "offsets", "segments")
                numbers, videos, moments, offsets, segments = (stored.get_tensor(name) for name in names)
            rows = []
            for at, (number, item) in enumerate(zip(numbers.tolist(), items, strict=True)):
                own = slice(offsets[at], offsets[at + 1])
                rows.append((number, item, np.vstack([videos[at], moments[own]]), segments[own]))
                self._items[number] = item
                self._entries[number] = (Path(str(number)),), segments[own]
            yield rows
