"""Exact search with numpy on a memory map: the oracle of the other indexes, and the default of a library.

Opening reads the ids alone; a search reads the vectors from the page cache and copies none of the collection.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..plugins import BaseOptions
from ..types import Filter, FloatArray, IdArray
from . import _exact
from ._common import checked_ids, checked_limit, checked_pairs, checked_vectors, in_use, matches
from ._store import DEAD, Store


class Options(BaseOptions):
    """The flat index has nothing to set."""


def build(options: Options, *, path: Path, dim: int, fingerprint: str, create: bool = True) -> FlatIndex:
    """Open the index in the folder `path`, or make it there; UsageError if it is absent and `create` is false."""
    return FlatIndex(Path(path), dim, fingerprint, create)


class FlatIndex:
    """See `mmi_tvr.protocols.Index`. A reader keeps the state that it opened while another process writes."""

    def __init__(self, path: Path, dim: int, fingerprint: str, create: bool = True) -> None:
        self.dim = dim
        self.fingerprint = fingerprint
        self.store = Store(path, dim, fingerprint, create)
        self._row_of: dict[int, int] = {}  # made at the first look-up: a search needs none
        self._row_epoch = -1  # of the store, when it was made

    def add(self, ids: IdArray, vectors: FloatArray) -> None:
        self._write(ids, vectors, replacing=False)

    def upsert(self, ids: IdArray, vectors: FloatArray) -> None:
        self._write(ids, vectors, replacing=True)

    def delete(self, ids: IdArray) -> int:
        wanted = checked_ids(ids)
        self.store.begin_writing()
        known = self._rows()
        rows = [row for id_ in wanted.tolist() if (row := known.pop(id_, None)) is not None]
        if rows:
            self.store.bury(np.array(rows, np.int64))
        return len(rows)

    def search(self, queries: FloatArray, limit: int, where: Filter | None = None) -> tuple[FloatArray, IdArray]:
        queries, limit = checked_vectors(queries, self.dim), checked_limit(limit)
        return _exact.search(self.store.vectors, self.store.ids, queries, limit, self.allowed(where))

    def get(self, ids: IdArray) -> FloatArray:
        known = self._rows()
        return self.store.vectors[np.array([known[int(id_)] for id_ in np.asarray(ids)], np.int64)]

    def ids(self) -> IdArray:
        live = self.store.ids
        return np.sort(live[live != DEAD])

    def count(self, where: Filter | None = None) -> int:
        allowed = self.allowed(where)
        return self.store.rows if allowed is None else int(np.count_nonzero(allowed))

    def flush(self) -> None:
        self.store.commit()

    def close(self) -> None:
        """Flush, and let go of the files."""
        self.flush()
        self.store.forget()

    def allowed(self, where: Filter | None) -> NDArray[np.bool_] | None:
        """Mask (R,) of the store's rows that are alive and pass the filter; None if all do."""
        ids = self.store.ids
        mask = matches(ids, where)
        if not self.store.dead:
            return mask
        alive: NDArray[np.bool_] = ids != DEAD
        return alive if mask is None else alive & mask

    def _write(self, ids: IdArray, vectors: FloatArray, replacing: bool) -> None:
        new, rows = checked_pairs(ids, vectors, self.dim)
        if not len(new):
            return
        self.store.begin_writing()
        known = self._rows()
        old = [row for id_ in new.tolist() if (row := known.get(id_)) is not None]
        if old and not replacing:
            raise in_use(int(self.store.ids[old[0]]))
        first = self.store.append(new, rows)
        self.store.bury(np.array(old, np.int64))
        known.update(zip(new.tolist(), range(first, first + len(new)), strict=True))

    def _rows(self) -> dict[int, int]:
        """id -> row of the store, kept up to date by whoever writes."""
        if self._row_epoch != self.store.epoch:
            live = np.flatnonzero(self.store.ids != DEAD)
            self._row_of = dict(zip(self.store.ids[live].tolist(), live.tolist(), strict=True))
            self._row_epoch = self.store.epoch
        return self._row_of
