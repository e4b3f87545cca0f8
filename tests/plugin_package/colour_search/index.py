"""Brute force over a dictionary, kept in one .npz file: for a few thousand vectors."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from pydantic import Field

from mmi_tvr import index
from mmi_tvr.plugins import BaseOptions
from mmi_tvr.types import Filter, FloatArray, IdArray
from mmi_tvr.utils.files import write_atomically

_FILE = "vectors.npz"


class Options(BaseOptions):
    compress: bool = Field(False, description="smaller, slower to write")


def build(options: Options, *, path: Path, dim: int, fingerprint: str, create: bool = True) -> MemoryIndex:
    """Open the index in the folder `path`, or make it there where `create` says so."""
    return MemoryIndex(Path(path) / _FILE, dim, fingerprint, create, options.compress)


class MemoryIndex:
    """See `mmi_tvr.protocols.Index`. What a process killed before `flush` added is lost."""

    def __init__(self, file: Path, dim: int, fingerprint: str, create: bool, compress: bool) -> None:
        self.dim, self.fingerprint = dim, fingerprint
        self._file, self._compress = file, compress
        self._vectors: dict[int, FloatArray] = {}
        if file.is_file():
            self._read()
        elif not create:
            raise index.nothing_there(file.parent)
        else:
            self.flush()

    def add(self, ids: IdArray, vectors: FloatArray) -> None:
        ids, vectors = index.checked_pairs(ids, vectors, self.dim)
        for id_ in ids.tolist():
            if id_ in self._vectors:
                raise index.in_use(id_)
        self.upsert(ids, vectors)

    def upsert(self, ids: IdArray, vectors: FloatArray) -> None:
        ids, vectors = index.checked_pairs(ids, vectors, self.dim)
        self._vectors.update(zip(ids.tolist(), vectors, strict=True))

    def delete(self, ids: IdArray) -> int:
        before = len(self._vectors)
        for id_ in index.checked_ids(ids).tolist():
            self._vectors.pop(id_, None)
        return before - len(self._vectors)

    def search(self, queries: FloatArray, limit: int, where: Filter | None = None) -> tuple[FloatArray, IdArray]:
        queries, limit = index.checked_queries(queries, self.dim), index.checked_limit(limit)
        scores, ids = index.nothing_found(len(queries), limit)
        allowed = self._allowed(where)
        vectors = self.get(allowed).astype(np.float64)
        for row, query in enumerate(queries.astype(np.float64)):
            products = (vectors @ query).astype(np.float32)
            best = np.lexsort((allowed, -products))[:limit]  # ties by smaller id
            scores[row, : len(best)], ids[row, : len(best)] = products[best], allowed[best]
        return scores, ids

    def search_exact(self, queries: FloatArray, limit: int, where: Filter | None = None) -> tuple[FloatArray, IdArray]:
        return self.search(queries, limit, where)

    def get(self, ids: IdArray) -> FloatArray:
        return np.array([self._vectors[int(id_)] for id_ in ids], np.float32).reshape(-1, self.dim)

    def ids(self) -> IdArray:
        return np.array(sorted(self._vectors), np.int64)

    def count(self, where: Filter | None = None) -> int:
        return len(self._allowed(where))

    def flush(self) -> None:
        ids, content = self.ids(), io.BytesIO()
        save = np.savez_compressed if self._compress else np.savez
        save(content, ids=ids, vectors=self.get(ids), maker=np.array([self.fingerprint, str(self.dim)]))
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._file, content.getvalue())

    def close(self) -> None:
        self.flush()

    def _allowed(self, where: Filter | None) -> IdArray:
        ids = self.ids()
        mask = index.matches(ids, where)
        return ids if mask is None else ids[mask]

    def _read(self) -> None:
        try:
            with np.load(self._file) as arrays:
                ids, vectors, (fingerprint, dim) = arrays["ids"], arrays["vectors"], arrays["maker"].tolist()
        except (OSError, ValueError, KeyError) as error:
            raise index.damaged(self._file, str(error)) from error
        index.refuse_foreign(self._file.parent, (fingerprint, int(dim)), (self.fingerprint, self.dim))
        self._vectors = dict(zip(ids.tolist(), vectors, strict=True))
