"""Milvus: a server or cluster (`uri: http://...`), or Milvus Lite, its one-process stand-in on a local path.

A collection has the fields id (primary), video, moment (-1: the whole video) and vector; who made the vectors
stands in its properties and its description, as not every Milvus keeps both. One collection holds one library.

Where `uri` is set, the name in the options is an alias. The vectors lie in a collection NAME_FOLDER, called after the
last part of the index's path, so that a second one can be filled while the first answers; `publish` gives it the index
of its size and then the alias, in one step. Whoever opens the name without that folder gets what the alias means.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
from pydantic import Field, field_validator

from ..errors import MmiTvrError, UsageError
from ..plugins import BaseOptions, require
from ..types import Filter, FloatArray, IdArray, moment_of, video_of
from ..utils.files import write_atomically
from . import _exact
from ._common import (
    checked_ids,
    checked_level,
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
from ._milvus_client import TOKEN, connect, disconnect, one_line, remote
from ._milvus_plan import IndexType, Plan, choose, effort, plan

_PROPERTY = "mmi_tvr.fingerprint"
_NOTE = "milvus.json"  # in the index's folder: which collection, where, belongs to it
_WINDOW = 16_384  # Milvus returns at most so many rows at once
_SEND_ROWS, _SEND_BYTES = 10_000, 32 << 20  # in one message; gRPC stops at 64 MiB
_PAGE, _QUERIES = 1_000, 256
_DISCARD_TIMEOUT = 10.0  # seconds
_PATIENCE = 600.0  # seconds in which an index that is being built must have grown


class Options(BaseOptions):
    """Where Milvus is, and how it searches. Credentials stand in $MILVUS_TOKEN alone (user:password, or an API key)."""

    uri: str | None = Field(None, description="http(s)://host:port, or a path ending in .db (default: in the library)")
    collection: str = Field(
        "mmi_tvr", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="its name: one per library", max_length=200
    )
    index_type: IndexType | Literal["auto"] = Field(
        "auto", description="auto: on a server by size (docs/scale.md), in Milvus Lite FLAT, which is exact"
    )
    memory_gb: float = Field(64, gt=0, description="memory of the query nodes for this collection; what 'auto' may use")
    ef_search: int = Field(256, ge=8, description="beam of HNSW and DISKANN: search time against recall")
    probe: float = Field(1 / 16, gt=0, le=1, description="share of an IVF index's cells that a search looks through")
    consistency: Literal["Strong", "Session", "Bounded", "Eventually"] = Field(
        "Strong", description="of a search; Bounded answers sooner, and may miss the writes of the last seconds"
    )
    shards: int = Field(1, ge=1, le=64, description="of a new collection on a server: writes in parallel")
    replicas: int = Field(1, ge=1, description="copies in memory on a server: queries in parallel")
    timeout: float = Field(30, gt=0, description="seconds to wait for an answer")

    @field_validator("uri")
    @classmethod
    def _known_kind(cls, uri: str | None) -> str | None:
        if uri is None or uri.endswith(".db"):
            return uri
        if not uri.startswith(("http://", "https://")):
            raise ValueError("a Milvus uri starts with http:// or https://, or is a path that ends in .db")
        if urlsplit(uri).username is not None:
            raise ValueError(f"credentials do not belong into a uri that is stored: put them into ${TOKEN}")
        return uri


def build(options: Options, *, path: Path, dim: int, fingerprint: str, create: bool = True) -> MilvusIndex:
    """Open the collection, or make it; UsageError if it is absent and `create` is false.

    Raises LibraryBusy where another process holds a Milvus Lite database, MmiTvrError where no server answers.
    """
    return MilvusIndex(options, Path(path), dim, fingerprint, create)


def discard(path: Path) -> None:
    """Drop the collection that belongs to the index in this folder, if it has one outside of it."""
    if not (path / _NOTE).is_file():
        return
    uri, collection = _noted(path)
    client = connect(uri, _DISCARD_TIMEOUT, create=False)
    try:
        with one_line(uri):
            if client.has_collection(collection):
                for alias in client.list_aliases(collection)["aliases"]:
                    client.drop_alias(alias)
                client.drop_collection(collection)
    finally:
        disconnect(client, uri)


class MilvusIndex:
    """See `mmi_tvr.protocols.Index`. Equal scores at the end of an answer are Milvus's to choose between.

    An acknowledged write is already in the log of Milvus, so it survives without `flush`, too.
    """

    def __init__(self, options: Options, path: Path, dim: int, fingerprint: str, create: bool = True) -> None:
        self.options = options
        self.dim = dim
        self.fingerprint = fingerprint
        self.path = path
        self.uri = options.uri or str(path / "milvus.db")
        self.collection = options.collection  # or, where uri is set, the one that belongs to the folder
        self._index_type, self._cells = "FLAT", 1
        self._written = False  # whether anything is to be sealed
        refuse_other_kind(path, _NOTE if options.uri else "milvus.db")
        self._client = connect(self.uri, options.timeout, create)
        try:
            with one_line(self.uri):
                self._open(create)
        except BaseException:
            self.close()
            raise

    def add(self, ids: IdArray, vectors: FloatArray) -> None:
        new, rows = checked_pairs(ids, vectors, self.dim)
        if len(present := self._present(new)):
            raise in_use(int(present[0]))
        self._send(new, rows, self._client.insert)

    def upsert(self, ids: IdArray, vectors: FloatArray) -> None:
        self._send(*checked_pairs(ids, vectors, self.dim), self._client.upsert)

    def delete(self, ids: IdArray) -> int:
        present = self._present(checked_ids(ids))  # Milvus itself counts unknown ids as deleted
        with one_line(self.uri):
            for first in range(0, len(present), _PAGE):
                self._client.delete(self.collection, ids=present[first : first + _PAGE].tolist())
                self._written = True
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
        with one_line(self.uri):
            for first in range(0, len(wanted), _PAGE):
                page = wanted[first : first + _PAGE]
                rows = self._client.get(self.collection, ids=page, output_fields=["id", "vector"])
                found.update((row["id"], row["vector"]) for row in rows)
        return np.array([found[id_] for id_ in wanted], np.float32).reshape(-1, self.dim)

    def ids(self) -> IdArray:
        pages = [page[0] for page in self._pages(None, ["id"])]
        return np.sort(np.concatenate([np.empty(0, np.int64), *pages]))

    def count(self, where: Filter | None = None) -> int:
        with one_line(self.uri):
            return int(self._client.query(self.collection, _expression(where), ["count(*)"])[0]["count(*)"])

    def flush(self) -> None:
        """Seal what Milvus Lite has in memory. A server does that by itself, and limits how often one may ask."""
        if not remote(self.uri):
            with one_line(self.uri):
                self._client.flush(self.collection)

    def publish(self) -> None:
        """Everything is in: seal it once, give it the index of its size, and have the name mean it.

        A collection that has its name already keeps its index, but for FLAT, which it may outgrow: searches fail for as
        long as the new index is built. Whatever the name meant before is left as it is; see `discard`.
        """
        with one_line(self.uri):
            if self._written:
                self._client.flush(self.collection)
                self._written = False
            meant = self._meant()
            if meant != self.collection or self._index_type == "FLAT":
                self._reindex(self._suitable(self.count()))
            self._wait_for_index()
            if self.options.uri and meant != self.collection:
                self._refuse_taken_name(meant)
                change = self._client.alter_alias if meant else self._client.create_alias
                change(self.collection, self.options.collection)

    def close(self) -> None:
        """Disconnect; the last to close a Milvus Lite database in this process also frees it for others."""
        if self._client is not None:
            disconnect(self._client, self.uri)
            self._client = None

    def _open(self, create: bool) -> None:
        """Find the collection, or make it, and load it."""
        name, client = self.options.collection, self._client
        if self.options.uri:
            self.collection = f"{name}_{re.sub(r'[^A-Za-z0-9_]', '_', self.path.name)}"[:255]
        if not client.has_collection(self.collection):
            meant = self._meant()
            if create:
                self._refuse_taken_name(meant)
                self._make_collection()
            elif meant is None:
                raise nothing_there(f"{self.uri}, collection {name}")
            else:
                self.collection = meant
        self._check_maker()
        client.load_collection(self.collection, **_beyond_one(replica_number=self.options.replicas))
        self._see_index()

    def _meant(self) -> str | None:
        """The collection that the name of the options stands for."""
        name = self.options.collection
        if not self.options.uri:
            return self.collection
        try:
            return str(self._client.describe_alias(name)["collection_name"])
        except require("pymilvus", "milvus").MilvusException:
            return None

    def _refuse_taken_name(self, meant: str | None) -> None:
        """One name is for one library: raise UsageError where it is not free, and means nothing of this one's."""
        name = self.options.collection
        if self.options.uri and meant is None and self._client.has_collection(name):
            raise UsageError(
                f"{self.uri}: there is a collection {name} already; choose another name (index.collection)"
            )
        if meant in (None, self.collection):
            return
        ours = {_noted(note.parent)[1] for note in self.path.parent.glob(f"*/{_NOTE}")}
        if meant not in ours:
            raise UsageError(
                f"{self.uri}: collection {name} belongs to another library; choose another name (index.collection)"
            )

    def _make_collection(self) -> None:
        """An empty collection. It is FLAT, which costs nothing while it grows, until it is published."""
        kinds = require("pymilvus", "milvus").DataType
        schema = self._client.create_schema(
            auto_id=False, enable_dynamic_field=False, description=f"{_PROPERTY}={self.fingerprint}"
        )
        schema.add_field("id", kinds.INT64, is_primary=True)
        schema.add_field("video", kinds.INT64)
        schema.add_field("moment", kinds.INT32)
        schema.add_field("vector", kinds.FLOAT_VECTOR, dim=self.dim)
        if self.options.uri:  # before there is anything to forget
            self.path.mkdir(parents=True, exist_ok=True)
            note = {"uri": self.uri, "collection": self.collection}
            write_atomically(self.path / _NOTE, json.dumps(note).encode())
        self._client.create_collection(
            self.collection,
            schema=schema,
            index_params=self._index_params(plan("FLAT", 0, self.dim)),
            properties={_PROPERTY: self.fingerprint},
            consistency_level="Strong",  # a search right after a write, in any process, sees it
            **_beyond_one(num_shards=self.options.shards),
        )

    def _index_params(self, chosen: Plan) -> Any:
        found = self._client.prepare_index_params()
        found.add_index("vector", index_type=chosen.index_type, metric_type="IP", params=dict(chosen.build))
        return found

    def _suitable(self, count: int) -> Plan:
        wanted = self.options.index_type
        if wanted != "auto":
            return plan(wanted, count, self.dim)
        if not remote(self.uri):
            return plan("FLAT", count, self.dim)
        return choose(count, self.dim, self.options.memory_gb * 1e9)

    def _reindex(self, chosen: Plan) -> None:
        """Replace the index of the vectors, if it is another one."""
        if chosen.index_type == self._index_type:
            return
        client, collection = self._client, self.collection
        client.release_collection(collection)
        for name in client.list_indexes(collection, field_name="vector"):
            client.drop_index(collection, name)
        client.create_index(collection, self._index_params(chosen), sync=False)
        self._see_index()
        self._wait_for_index()
        client.load_collection(collection, **_beyond_one(replica_number=self.options.replicas))

    def _see_index(self) -> None:
        found = self._describe_index()
        self._index_type = found["index_type"]
        rows = int(found.get("total_rows") or 0)
        self._cells = int(found.get("nlist") or plan(found["index_type"], rows, self.dim).build.get("nlist", 1))

    def _describe_index(self) -> dict[str, Any]:
        name = self._client.list_indexes(self.collection, field_name="vector")[0]
        found: dict[str, Any] = self._client.describe_index(self.collection, name)
        return found

    def _wait_for_index(self) -> None:
        """Until every sealed vector is in the index, as long as it goes on."""
        before, since = -1, time.monotonic()
        while (left := int((found := self._describe_index()).get("pending_index_rows") or 0)) > 0:
            if left != before:
                before, since = left, time.monotonic()
            elif time.monotonic() - since > _PATIENCE:
                reason = found.get("index_state_fail_reason") or f"{left} vectors for {_PATIENCE:.0f} s"
                raise MmiTvrError(f"{self.uri}, collection {self.collection}: its index does not grow ({reason})")
            time.sleep(0.5)

    def _check_maker(self) -> None:
        found = self._client.describe_collection(self.collection)
        _, ours, written = found.get("description", "").partition(f"{_PROPERTY}=")
        made_by = found.get("properties", {}).get(_PROPERTY) or (ours and written)
        dims = [field["params"].get("dim") for field in found["fields"] if field["name"] == "vector"]
        if not made_by or not dims:
            raise UsageError(f"{self.uri}: collection {self.collection} is not one of ours; choose another name")
        place, asked = f"{self.uri}, collection {self.collection}", (self.fingerprint, self.dim)
        refuse_foreign(place, (made_by, int(dims[0])), asked)

    def _send(self, ids: IdArray, vectors: FloatArray, write: Callable[..., object]) -> None:
        height = max(1, min(_SEND_ROWS, _SEND_BYTES // (4 * self.dim)))
        videos, moments = video_of(ids), moment_of(ids)
        with one_line(self.uri):
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
                write(self.collection, rows)
                self._written = True

    def _present(self, ids: IdArray) -> IdArray:
        """Those of the ids that are stored."""
        found = []
        with one_line(self.uri):
            for first in range(0, len(ids), _PAGE):
                page = ids[first : first + _PAGE].tolist()
                found += [row["id"] for row in self._client.get(self.collection, ids=page, output_fields=["id"])]
        return np.array(found, np.int64)

    def _search(self, queries: FloatArray, limit: int, where: Filter | None) -> tuple[FloatArray, IdArray]:
        params = effort(self._index_type, limit, self.options.ef_search, self._cells, self.options.probe)
        with one_line(self.uri):
            found = self._client.search(
                self.collection,
                data=list(queries),
                filter=_expression(where),
                limit=limit,
                output_fields=["id"],  # without it, the vectors come back, too
                search_params={"metric_type": "IP", "params": params},
                consistency_level=self.options.consistency,
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
        with one_line(self.uri):
            pages = self._client.query_iterator(
                self.collection, batch_size=size, filter=_expression(where), output_fields=fields
            )
            try:
                while rows := pages.next():
                    ids = np.array([row["id"] for row in rows], np.int64)
                    yield ids, np.array([row.get("vector", []) for row in rows], np.float32)
            finally:
                pages.close()


def _expression(where: Filter | None) -> str:
    """A filter in the language of Milvus; empty for all."""
    parts = []
    if where is not None and (kind := checked_level(where)) is not None:
        parts.append("moment < 0" if kind == "video" else "moment >= 0")
    if where is not None and where.videos is not None:
        parts.append(f"video in {sorted(where.videos)}")
    return " and ".join(parts)


def _beyond_one(**counts: int) -> dict[str, int]:
    """Numbers that are said only where they are not the default."""
    return {name: count for name, count in counts.items() if count > 1}


def _noted(path: Path) -> tuple[str, str]:
    """Address and name of the collection that belongs to a folder."""
    try:
        note = json.loads((path / _NOTE).read_text(encoding="utf-8"))
        return str(note["uri"]), str(note["collection"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path / _NOTE}: not readable ({error})") from error
