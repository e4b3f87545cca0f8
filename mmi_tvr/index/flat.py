"""Exact search with numpy on a memory map: the oracle of the other indexes, and the default of a library.

Opening reads the ids alone; a search reads the vectors from the page cache and copies none of the collection.

With fewer `bits` (`_codes`), a search scans codes of the vectors, and scores the best of them exactly.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..plugins import BaseOptions
from ..types import Filter, FloatArray, IdArray
from . import _exact
from ._common import checked_ids, checked_limit, checked_pairs, checked_queries, in_use, matches
from ._store import DEAD, VectorStore


class Options(BaseOptions):
    """How many bits of each number are looked at before the best are scored exactly."""

    bits: Literal[32, 16, 8, 1] = Field(32, description="of each number: 32 is exact; 16, 8 and 1 are scanned as codes")
    oversample: int = Field(16, ge=1, description="with fewer bits: so many times the wanted rows are scored exactly")


def built(options: Options) -> str:
    """Return what distinguishes codes from those that other options build, a part of their file's name; nothing where
    the vectors are all that is needed."""
    return "" if options.bits == 32 else f"codes{options.bits}"


def build(options: Options, *, path: Path, dim: int, fingerprint: str, create: bool = True) -> FlatIndex:
    """Return the index in the folder `path`, made there where `create` is true. Errors as `index.open_index`."""
    if options.bits != 32:
        from ._codes import CodeIndex

        return CodeIndex(options, Path(path), dim, fingerprint, create)
    return FlatIndex(Path(path), dim, fingerprint, create)


class FlatIndex:
    """See `mmi_tvr.protocols.Index`. A reader keeps the state that it opened while another process writes."""

    def __init__(self, path: Path, dim: int, fingerprint: str, create: bool = True) -> None:
        self.dim = dim
        self.fingerprint = fingerprint
        self.store = VectorStore(path, dim, fingerprint, create)
        self._row_of: dict[int, int] = {}  # made at the first look-up: a search needs none
        self._row_epoch = -1  # of the store, when it was made

    def add(self, ids: IdArray, vectors: FloatArray) -> None:
        """Store new vectors (N, dim). UsageError, and nothing is stored, where one of the ids is known."""
        self._write(ids, vectors, replacing=False)

    def upsert(self, ids: IdArray, vectors: FloatArray) -> None:
        """Store vectors (N, dim), instead of those that the ids had before."""
        self._write(ids, vectors, replacing=True)

    def delete(self, ids: IdArray) -> int:
        """Forget ids and return how many of them were known."""
        checked = checked_ids(ids)
        self.store.begin_writing()
        row_of = self._rows_by_id()
        rows = [row_of.pop(id_) for id_ in checked.tolist() if id_ in row_of]
        if rows:
            self.store.mark_deleted(np.array(rows, np.int64))
        return len(rows)

    def search(self, queries: FloatArray, limit: int, where: Filter | None = None) -> tuple[FloatArray, IdArray]:
        """Return scores and ids (N, k), best first, ties by smaller id, padded with -inf and -1 (`protocols.Index`)."""
        return self.search_exact(queries, limit, where)

    def search_exact(self, queries: FloatArray, limit: int, where: Filter | None = None) -> tuple[FloatArray, IdArray]:
        """Search all vectors that pass the filter (`protocols.ExactIndex`)."""
        queries, limit = checked_queries(queries, self.dim), checked_limit(limit, lambda: self.store.live)
        return _exact.search(self.store.vectors, self.store.ids, queries, limit, self.allowed(where))

    def get(self, ids: IdArray) -> FloatArray:
        """Return the vectors (N, dim) of ids. KeyError for an unknown one."""
        row_of = self._rows_by_id()
        rows = np.fromiter(map(row_of.__getitem__, np.asarray(ids).tolist()), np.int64, len(ids))
        return self.store.vectors[rows]

    def ids(self) -> IdArray:
        """Return every id, ascending."""
        ids = self.store.ids
        return np.sort(ids[ids != DEAD])

    def count(self, where: Filter | None = None) -> int:
        """Return how many vectors pass the filter."""
        allowed = self.allowed(where)
        return self.store.rows if allowed is None else int(np.count_nonzero(allowed))

    def is_outdated(self) -> bool:
        """Return whether another process has written since this was opened (`protocols.SnapshotIndex`)."""
        return self.store.is_outdated()

    def flush(self) -> None:
        """Make all writes durable. LibraryBusy where another process has written meanwhile.

        What other settings built of the vectors is removed, as it would no longer be kept up to date.
        """
        self.store.commit()
        self._remove_graphs(None)

    def close(self) -> None:
        """Make all writes durable and let go of the files."""
        self.store.commit()
        self.store.release_map()

    def allowed(self, where: Filter | None) -> NDArray[np.bool_] | None:
        """Return the mask (R,) of the store's rows that are alive and pass the filter; None if all do."""
        ids = self.store.ids
        mask = matches(ids, where)
        if not self.store.dead:
            return mask
        alive: NDArray[np.bool_] = ids != DEAD
        return alive if mask is None else alive & mask

    def _write(self, ids: IdArray, vectors: FloatArray, replacing: bool) -> None:
        new_ids, new_vectors = checked_pairs(ids, vectors, self.dim)
        if not len(new_ids):
            return
        self.store.begin_writing()
        row_of = self._rows_by_id()
        replaced = [row_of[id_] for id_ in new_ids.tolist() if id_ in row_of]
        if replaced and not replacing:
            raise in_use(int(self.store.ids[replaced[0]]))
        first = self.store.append(new_ids, new_vectors)
        self.store.mark_deleted(np.array(replaced, np.int64))
        row_of.update(zip(new_ids.tolist(), range(first, first + len(new_ids)), strict=True))

    def _remove_graphs(self, present: Path | None) -> None:
        """Remove graphs and codes, other than the present one."""
        for path in self.store.folder.glob("graph-*.faiss"):
            if path != present:
                with suppress(PermissionError):  # Windows, while a reader has it open
                    path.unlink(missing_ok=True)

    def _rows_by_id(self) -> dict[int, int]:
        """Return id -> row of the store; whoever writes keeps it up to date."""
        if self._row_epoch != self.store.epoch:
            alive = np.flatnonzero(self.store.ids != DEAD)
            self._row_of = dict(zip(self.store.ids[alive].tolist(), alive.tolist(), strict=True))
            self._row_epoch = self.store.epoch
        return self._row_of
