"""Milvus: a server or cluster (`uri: http://...`), or Milvus Lite, its one-process stand-in on a local path.

The collection has the fields id (primary), video, moment (-1: the whole video) and vector; who made the vectors
stands in its properties and its description, as not every Milvus keeps both. One collection holds one library.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, SecretStr, field_validator

from ..errors import LibraryBusy, MmiTvrError, UsageError
from ..plugins import BaseOptions, require
from ..types import Filter, FloatArray, IdArray, moment_of, video_of
from . import _exact
from ._common import (
    checked_ids,
    checked_kind,
    checked_limit,
    checked_pairs,
    checked_vectors,
    in_use,
    merge,
    nothing_found,
    nothing_there,
    refuse_foreign,
    refuse_other_kind,
)

_PROPERTY = "mmi_tvr.fingerprint"
_WINDOW = 16_384  # Milvus returns at most so many rows at once
_SEND_BYTES = 8 << 20  # of vectors in one message; gRPC stops at 64 MiB
_PAGE, _QUERIES = 1_000, 256
_open_lite: Counter[str] = Counter()  # Milvus Lite databases that this process holds, by path


class Options(BaseOptions):
    """Where Milvus is, and how it searches."""

    uri: str | None = Field(None, description="http(s)://host:port, or a path ending in .db (default: in the library)")
    token: SecretStr | None = Field(None, description="user:password or API key (default: $MILVUS_TOKEN)")
    collection: str = Field(
        "mmi_tvr", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="one collection per library", max_length=255
    )
    index_type: Literal["auto", "FLAT", "HNSW", "AUTOINDEX"] = Field(
        "auto", description="auto: FLAT, which is exact, in Milvus Lite; HNSW on a server"
    )
    ef_search: int = Field(256, ge=8, description="HNSW's beam width while searching: search time against recall")
    timeout: float = Field(30, gt=0, description="seconds to wait for an answer")

    @field_validator("uri")
    @classmethod
    def _known_kind(cls, uri: str | None) -> str | None:
        if uri is not None and not uri.startswith(("http://", "https://")) and not uri.endswith(".db"):
            raise ValueError("a Milvus uri starts with http:// or https://, or is a path that ends in .db")
        return uri

    @property
    def remote(self) -> bool:
        return bool(self.uri and "://" in self.uri)


def build(options: Options, *, path: Path, dim: int, fingerprint: str, create: bool = True) -> MilvusIndex:
    """Open the collection, or make it; UsageError if it is absent and `create` is false.

    Raises LibraryBusy where another process holds a Milvus Lite database, MmiTvrError where no server answers.
    """
    return MilvusIndex(options, Path(path), dim, fingerprint, create)


class MilvusIndex:
    """See `mmi_tvr.protocols.Index`. Equal scores at the end of an answer are Milvus's to choose between.

    An acknowledged write is already in the log of Milvus, so it survives without `flush`, too.
    """

    def __init__(self, options: Options, path: Path, dim: int, fingerprint: str, create: bool = True) -> None:
        self.options = options
        self.dim = dim
        self.fingerprint = fingerprint
        self.collection = options.collection
        self.uri = options.uri or str(path / "milvus.db")
        refuse_other_kind(path, "milvus.db")
        self._client = self._connect(create)
        try:
            with self._one_line():
                if not self._client.has_collection(self.collection):
                    if not create:
                        raise nothing_there(f"{self.uri}, collection {self.collection}")
                    self._make_collection()
                self._check_maker()
                self._client.load_collection(self.collection)
                name = self._client.list_indexes(self.collection, field_name="vector")[0]
                self._index_type = self._client.describe_index(self.collection, name)["index_type"]
        except BaseException:
            self.close()
            raise

    def add(self, ids: IdArray, vectors: FloatArray) -> None:
        new, rows = checked_pairs(ids, vectors, self.dim)
        if len(present := self._present(new)):
            raise in_use(int(present[0]))
        self._send(new, rows)

    def upsert(self, ids: IdArray, vectors: FloatArray) -> None:
        self._send(*checked_pairs(ids, vectors, self.dim))

    def delete(self, ids: IdArray) -> int:
        present = self._present(checked_ids(ids))  # Milvus itself counts unknown ids as deleted
        with self._one_line():
            for first in range(0, len(present), _PAGE):
                self._client.delete(self.collection, ids=present[first : first + _PAGE].tolist())
        return len(present)

    def search(self, queries: FloatArray, limit: int, where: Filter | None = None) -> tuple[FloatArray, IdArray]:
        queries, limit = checked_vectors(queries, self.dim), checked_limit(limit)
        best = nothing_found(len(queries), limit)
        for first in range(0, len(queries), _QUERIES):
            some = slice(first, first + _QUERIES)
            part = self._search(queries[some], min(limit, _WINDOW), where)
            # A filtered graph may find fewer than there are, and no search returns more than a window: scan then.
            if (short := int((part[1] >= 0).sum(axis=1).min())) < limit and short < self.count(where):
                part = self._scan(queries[some], limit, where)
            width = part[0].shape[1]
            best[0][some, :width], best[1][some, :width] = part
        return best

    def get(self, ids: IdArray) -> FloatArray:
        wanted = [int(id_) for id_ in np.asarray(ids)]
        found: dict[int, Any] = {}
        with self._one_line():
            for first in range(0, len(wanted), _PAGE):
                page = wanted[first : first + _PAGE]
                rows = self._client.get(self.collection, ids=page, output_fields=["id", "vector"])
                found.update((row["id"], row["vector"]) for row in rows)
        return np.array([found[id_] for id_ in wanted], np.float32).reshape(-1, self.dim)

    def ids(self) -> IdArray:
        pages = [page[0] for page in self._pages(None, ["id"])]
        return np.sort(np.concatenate([np.empty(0, np.int64), *pages]))

    def count(self, where: Filter | None = None) -> int:
        with self._one_line():
            return int(self._client.query(self.collection, _expression(where), ["count(*)"])[0]["count(*)"])

    def flush(self) -> None:
        """Seal what Milvus Lite has in memory. A server does that by itself, and limits how often one may ask."""
        if not self.options.remote:
            with self._one_line():
                self._client.flush(self.collection)

    def close(self) -> None:
        """Disconnect; the last to close a Milvus Lite database in this process also frees it for others."""
        if self._client is None:
            return
        self._client.close()
        self._client = None
        if not self.options.remote:
            key = os.path.abspath(self.uri)
            _open_lite[key] -= 1
            if _open_lite[key] <= 0:
                require("milvus_lite.server_manager", "milvus").server_manager_instance.release_server(self.uri)

    def _connect(self, create: bool) -> Any:
        pymilvus = require("pymilvus", "milvus")
        if self.options.remote:
            token = self.options.token.get_secret_value() if self.options.token else os.environ.get("MILVUS_TOKEN", "")
            with self._one_line():
                return pymilvus.MilvusClient(self.uri, token=token, timeout=self.options.timeout)
        require("milvus_lite", "milvus")
        local = Path(self.uri)
        if not create and not local.exists():
            raise nothing_there(local)
        local.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _quiet():
                client = pymilvus.MilvusClient(self.uri)
        except pymilvus.exceptions.ConnectionConfigException as error:  # it carries no reason
            raise LibraryBusy(
                f"{local}: Milvus Lite cannot open it; another process probably holds it, as it serves one at a time: "
                "wait for that one, or use a Milvus server"
            ) from error
        _open_lite[os.path.abspath(self.uri)] += 1
        return client

    def _make_collection(self) -> None:
        pymilvus = require("pymilvus", "milvus")
        kinds = pymilvus.DataType
        schema = self._client.create_schema(
            auto_id=False, enable_dynamic_field=False, description=f"{_PROPERTY}={self.fingerprint}"
        )
        schema.add_field("id", kinds.INT64, is_primary=True)
        schema.add_field("video", kinds.INT64)
        schema.add_field("moment", kinds.INT32)
        schema.add_field("vector", kinds.FLOAT_VECTOR, dim=self.dim)
        index = self._client.prepare_index_params()
        kind = self.options.index_type
        if kind == "auto":
            kind = "HNSW" if self.options.remote else "FLAT"
        build = {"M": 32, "efConstruction": 120} if kind == "HNSW" else {}
        index.add_index("vector", index_type=kind, metric_type="IP", params=build)
        self._client.create_collection(
            self.collection,
            schema=schema,
            index_params=index,
            properties={_PROPERTY: self.fingerprint},
            consistency_level="Strong",  # a search right after a write, in any process, sees it
        )

    def _check_maker(self) -> None:
        found = self._client.describe_collection(self.collection)
        _, ours, written = found.get("description", "").partition(f"{_PROPERTY}=")
        made_by = found.get("properties", {}).get(_PROPERTY) or (ours and written)
        dims = [field["params"].get("dim") for field in found["fields"] if field["name"] == "vector"]
        if not made_by or not dims:
            raise UsageError(f"{self.uri}: collection {self.collection} is not one of ours; choose another name")
        place, asked = f"{self.uri}, collection {self.collection}", (self.fingerprint, self.dim)
        if self.options.remote:  # a rebuilt library has new folders, but a server keeps its collections
            refuse_foreign(place, (made_by, int(dims[0])), asked, fix="name another collection (index.collection)")
        refuse_foreign(place, (made_by, int(dims[0])), asked)

    def _send(self, ids: IdArray, vectors: FloatArray) -> None:
        height = max(1, min(_PAGE, _SEND_BYTES // (4 * self.dim)))
        videos, moments = video_of(ids), moment_of(ids)
        with self._one_line():
            for first in range(0, len(ids), height):
                rows = [
                    {
                        "id": int(ids[row]),
                        "video": int(videos[row]),
                        "moment": int(moments[row]),
                        "vector": vectors[row],
                    }
                    for row in range(first, min(first + height, len(ids)))
                ]
                self._client.upsert(self.collection, rows)

    def _present(self, ids: IdArray) -> IdArray:
        """Those of the ids that are stored."""
        found = []
        with self._one_line():
            for first in range(0, len(ids), _PAGE):
                page = ids[first : first + _PAGE].tolist()
                found += [row["id"] for row in self._client.get(self.collection, ids=page, output_fields=["id"])]
        return np.array(found, np.int64)

    def _search(self, queries: FloatArray, limit: int, where: Filter | None) -> tuple[FloatArray, IdArray]:
        params = {"ef": max(self.options.ef_search, limit)} if self._index_type == "HNSW" else {}
        with self._one_line():
            found = self._client.search(
                self.collection,
                data=list(queries),
                filter=_expression(where),
                limit=limit,
                output_fields=["id"],  # without it, the vectors come back, too
                search_params={"metric_type": "IP", "params": params},
            )
        owner = np.repeat(np.arange(len(queries)), [len(hits) for hits in found])
        scores = np.array([hit["distance"] for hits in found for hit in hits], np.float32)
        ids = np.array([hit["id"] for hits in found for hit in hits], np.int64)
        return merge(nothing_found(len(queries), limit), owner, scores, ids)

    def _scan(self, queries: FloatArray, limit: int, where: Filter | None) -> tuple[FloatArray, IdArray]:
        """Exact search over everything that passes the filter, a page at a time."""
        best = nothing_found(len(queries), limit)
        for ids, vectors in self._pages(where, ["id", "vector"]):
            page = _exact.search(vectors, ids, queries, limit)
            best = merge(best, np.repeat(np.arange(len(queries)), limit), page[0].ravel(), page[1].ravel())
        return best

    def _pages(self, where: Filter | None, fields: list[str]) -> Iterator[tuple[IdArray, FloatArray]]:
        """Ids, and vectors if `fields` names them, of all that passes the filter."""
        size = _PAGE if "vector" in fields else _WINDOW
        with self._one_line():
            pages = self._client.query_iterator(
                self.collection, batch_size=size, filter=_expression(where), output_fields=fields
            )
            try:
                while rows := pages.next():
                    ids = np.array([row["id"] for row in rows], np.int64)
                    yield ids, np.array([row.get("vector", []) for row in rows], np.float32)
            finally:
                pages.close()

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        """What Milvus complains about, as one line of ours."""
        failures = require("pymilvus", "milvus").MilvusException
        try:
            with _quiet():
                yield
        except failures as error:
            reason = " ".join(str(error.message).split())
            raise MmiTvrError(f"{self.uri}: Milvus says: {reason}; check uri, token, and that it runs") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """pymilvus and Milvus Lite log a traceback of what they raise."""
    loggers = [logging.getLogger("pymilvus"), logging.getLogger("milvus_lite")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _expression(where: Filter | None) -> str:
    """A filter in the language of Milvus; empty for all."""
    parts = []
    if where is not None and (kind := checked_kind(where)) is not None:
        parts.append("moment < 0" if kind == "video" else "moment >= 0")
    if where is not None and where.videos is not None:
        parts.append(f"video in {sorted(where.videos)}")
    return " and ".join(parts)
