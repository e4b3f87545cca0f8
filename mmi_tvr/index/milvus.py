"""Milvus: a server or cluster (`uri: http://...`), or Milvus Lite, its one-process stand-in on a local path.

One collection holds one library; `_milvus_schema` has its form. Where `uri` is set, the name in the options is an
alias. The vectors lie in a collection NAME_FOLDER, called after the last part of the index's path, so that a second one
can be filled while the first answers; `publish` gives it the index of its size and then the alias, in one step. Whoever
opens the name without that folder gets what the alias means.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
from pydantic import Field, field_validator

from ..errors import MmiTvrError, UsageError
from ..plugins import BaseOptions
from ..types import Filter, FloatArray, IdArray
from ..utils.environment import MILVUS_TOKEN
from ..utils.installation import require
from ..utils.wording import counted
from . import _exact
from ._common import (
    checked_ids,
    checked_limit,
    checked_pairs,
    checked_queries,
    in_use,
    merge,
    nothing_found,
    nothing_there,
    refuse_foreign,
    refuse_other_index,
)
from ._milvus_client import connect, disconnect, is_remote, milvus_errors
from ._milvus_folder import NOTE, read_note, write_note
from ._milvus_plan import IndexType, MilvusPlan, choose_milvus_plan, effort, milvus_plan
from ._milvus_schema import create_collection, filter_expression, index_params, maker, to_rows, unless_one

_WINDOW = 16_384  # Milvus returns at most so many rows at once
_SEND_ROWS, _SEND_BYTES = 10_000, 32 << 20  # in one message; gRPC stops at 64 MiB
_PAGE, _QUERIES = 1_000, 256
_PATIENCE = 600.0  # seconds in which an index that is being built must have grown, and one more for
_SLOWEST = 100  # vectors that wait: it grows by whole segments, which may have millions


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
            raise ValueError(f"credentials do not belong into a uri that is stored: put them into ${MILVUS_TOKEN}")
        return uri


def build(options: Options, *, path: Path, dim: int, fingerprint: str, create: bool = True) -> MilvusIndex:
    """Return the open collection, made where `create` is true. Errors as `index.open_index`.

    Raises MmiTvrError where no server answers.
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
        self.path = path
        self.uri = options.uri or str(path / "milvus.db")
        self.collection = options.collection  # or, where uri is set, the one that belongs to the folder
        self._index_type, self._cells = "FLAT", 1
        self._written = False  # whether anything is to be sealed
        refuse_other_index(path, NOTE if options.uri else "milvus.db")
        self._client = connect(self.uri, options.timeout, create)
        try:
            with milvus_errors(self.uri):
                self._open(create)
        except BaseException:
            self.close()
            raise

    def add(self, ids: IdArray, vectors: FloatArray) -> None:
        """Store new vectors (N, dim). UsageError, and nothing is stored, where one of the ids is known."""
        new_ids, new_vectors = checked_pairs(ids, vectors, self.dim)
        known = self._known(new_ids)
        if len(known):
            raise in_use(int(known[0]))
        self._write(new_ids, new_vectors, self._client.insert)

    def upsert(self, ids: IdArray, vectors: FloatArray) -> None:
        """Store vectors (N, dim), instead of those that the ids had before."""
        self._write(*checked_pairs(ids, vectors, self.dim), self._client.upsert)

    def delete(self, ids: IdArray) -> int:
        """Forget ids and return how many of them were known."""
        known = self._known(checked_ids(ids))  # Milvus itself counts unknown ids as deleted
        with milvus_errors(self.uri):
            for first in range(0, len(known), _PAGE):
                self._client.delete(self.collection, ids=known[first : first + _PAGE].tolist())
                self._written = True
        return len(known)

    def search(self, queries: FloatArray, limit: int, where: Filter | None = None) -> tuple[FloatArray, IdArray]:
        """Return scores and ids (N, k), best first, ties by smaller id, padded with -inf and -1 (`protocols.Index`)."""
        queries, limit = checked_queries(queries, self.dim), checked_limit(limit, self.count)
        best = nothing_found(len(queries), limit)
        for first in range(0, len(queries), _QUERIES):
            batch = slice(first, first + _QUERIES)
            answer = self._search(queries[batch], min(limit, _WINDOW), where)
            # A filtered graph may find fewer than there are, and no search returns more than a window: scan then.
            fewest = int((answer[1] >= 0).sum(axis=1).min())
            if fewest < limit and fewest < self.count(where):
                answer = self._scan(queries[batch], limit, where)
            width = answer[0].shape[1]
            best[0][batch, :width], best[1][batch, :width] = answer
        return best

    def search_exact(self, queries: FloatArray, limit: int, where: Filter | None = None) -> tuple[FloatArray, IdArray]:
        """Search all vectors that pass the filter (`protocols.ExactIndex`); beyond FLAT, they are all fetched."""
        if self._index_type == "FLAT":
            return self.search(queries, limit, where)
        return self._scan(checked_queries(queries, self.dim), checked_limit(limit, self.count), where)

    def get(self, ids: IdArray) -> FloatArray:
        """Return the vectors (N, dim) of ids. KeyError for an unknown one."""
        numbers = [int(id_) for id_ in np.asarray(ids)]
        vectors: dict[int, Any] = {}
        with milvus_errors(self.uri):
            for first in range(0, len(numbers), _PAGE):
                page = numbers[first : first + _PAGE]
                rows = self._client.get(self.collection, ids=page, output_fields=["id", "vector"])
                vectors.update((row["id"], row["vector"]) for row in rows)
        return np.array([vectors[id_] for id_ in numbers], np.float32).reshape(-1, self.dim)

    def ids(self) -> IdArray:
        """Return every id, ascending."""
        pages = [page[0] for page in self._pages(None, ["id"])]
        return np.sort(np.concatenate([np.empty(0, np.int64), *pages]))

    def count(self, where: Filter | None = None) -> int:
        """Return how many vectors pass the filter."""
        with milvus_errors(self.uri):
            rows = self._client.query(self.collection, filter_expression(where), ["count(*)"])
            return int(rows[0]["count(*)"])

    def flush(self) -> None:
        """Seal what Milvus Lite has in memory. A server does that by itself, and limits how often one may ask."""
        if not is_remote(self.uri):
            with milvus_errors(self.uri):
                self._client.flush(self.collection)

    def publish(self) -> None:
        """Everything is in: seal it once, give it the index of its size, and have the name mean it.

        A collection that has its name already keeps its index, but for FLAT, which it may outgrow: searches fail for as
        long as the new index is built. Whatever the name meant before is left as it is; see `index.discard`.
        """
        with milvus_errors(self.uri):
            if self._written:
                self._client.flush(self.collection)
                self._written = False
            named = self._named_collection()
            if named != self.collection or self._index_type == "FLAT":
                self._replace_index(self._suitable_plan(self.count()))
            self._wait_for_index()
            if self.options.uri and named != self.collection:
                self._refuse_taken_name(named)
                change_alias = self._client.alter_alias if named else self._client.create_alias
                change_alias(self.collection, self.options.collection)

    def close(self) -> None:
        """Disconnect; the last to close a Milvus Lite database in this process also frees it for others."""
        if self._client is not None:
            disconnect(self._client, self.uri)
            self._client = None

    # Collection and name

    def _open(self, create: bool) -> None:
        """Look the collection up, or make it, and load it."""
        name, client = self.options.collection, self._client
        if self.options.uri:
            self.collection = f"{name}_{re.sub(r'[^A-Za-z0-9_]', '_', self.path.name)}"[:255]
        if not client.has_collection(self.collection):
            named = self._named_collection()
            if create:
                self._refuse_taken_name(named)
                if self.options.uri:  # before there is anything to forget
                    write_note(self.path, self.uri, self.collection)
                create_collection(client, self.collection, self.dim, self.fingerprint, self.options.shards)
            elif named is None:
                raise nothing_there(f"{self.uri}, collection {name}")
            else:
                self.collection = named
        self._check_maker()
        self._load_collection()
        self._read_index_state()

    def _load_collection(self) -> None:
        self._client.load_collection(self.collection, **unless_one(replica_number=self.options.replicas))

    def _named_collection(self) -> str | None:
        """Return the collection that the name of the options stands for; None where it stands for none."""
        name = self.options.collection
        if not self.options.uri:
            return self.collection
        try:
            return str(self._client.describe_alias(name)["collection_name"])
        except require("pymilvus", "milvus").MilvusException:
            return None

    def _refuse_taken_name(self, named: str | None) -> None:
        """Raise UsageError where the name is not free and stands for no collection of this library."""
        name = self.options.collection
        if self.options.uri and named is None and self._client.has_collection(name):
            raise UsageError(
                f"{self.uri}: there is a collection {name} already; choose another name (index.collection)"
            )
        if named in (None, self.collection):
            return
        library_collections = {read_note(note.parent)[1] for note in self.path.parent.glob(f"*/{NOTE}")}
        if named not in library_collections:
            raise UsageError(
                f"{self.uri}: collection {name} belongs to another library; choose another name (index.collection)"
            )

    def _check_maker(self) -> None:
        """Raise UsageError where the package did not make the collection, IndexMismatch where another model did."""
        stored = maker(self._client.describe_collection(self.collection))
        if stored is None:
            raise UsageError(f"{self.uri}: collection {self.collection} is not one of ours; choose another name")
        refuse_foreign(f"{self.uri}, collection {self.collection}", stored, (self.fingerprint, self.dim))

    # Index of the vectors

    def _suitable_plan(self, count: int) -> MilvusPlan:
        """Return the index for so many vectors: that of the options, or for `auto` one of their number's size."""
        index_type = self.options.index_type
        if index_type != "auto":
            return milvus_plan(index_type, count, self.dim)
        if not is_remote(self.uri):
            return milvus_plan("FLAT", count, self.dim)
        return choose_milvus_plan(count, self.dim, self.options.memory_gb * 1e9)

    def _replace_index(self, plan: MilvusPlan) -> None:
        """Replace the index of the vectors, if it is another one."""
        if plan.index_type == self._index_type:
            return
        client, collection = self._client, self.collection
        client.release_collection(collection)
        for name in client.list_indexes(collection, field_name="vector"):
            client.drop_index(collection, name)
        client.create_index(collection, index_params(client, plan), sync=False)
        self._read_index_state()
        self._wait_for_index()
        self._load_collection()

    def _read_index_state(self) -> None:
        state = self._describe_index()
        index_type, rows = state["index_type"], int(state.get("total_rows") or 0)
        self._index_type = index_type
        self._cells = int(state.get("nlist") or milvus_plan(index_type, rows, self.dim).build.get("nlist", 1))

    def _describe_index(self) -> dict[str, Any]:
        name = self._client.list_indexes(self.collection, field_name="vector")[0]
        state: dict[str, Any] = self._client.describe_index(self.collection, name)
        return state

    def _wait_for_index(self) -> None:
        """Wait until every sealed vector is in the index. MmiTvrError where it has not grown for a long time."""
        before, since = -1, time.monotonic()
        while True:
            state = self._describe_index()
            pending = int(state.get("pending_index_rows") or 0)
            if not pending:
                return
            if pending != before:
                before, since = pending, time.monotonic()
            elif (waited := time.monotonic() - since) > _PATIENCE + pending / _SLOWEST:
                reason = state.get("index_state_fail_reason") or f"{counted(pending, 'vector')} for {waited:.0f} s"
                raise MmiTvrError(f"{self.uri}, collection {self.collection}: its index does not grow ({reason})")
            time.sleep(0.5)

    # Rows

    def _write(self, ids: IdArray, vectors: FloatArray, write: Callable[..., object]) -> None:
        """Send rows, in messages that a server takes."""
        height = max(1, min(_SEND_ROWS, _SEND_BYTES // (4 * self.dim)))
        with milvus_errors(self.uri):
            for first in range(0, len(ids), height):
                write(self.collection, to_rows(ids[first : first + height], vectors[first : first + height]))
                self._written = True

    def _known(self, ids: IdArray) -> IdArray:
        """Return those of the ids that are stored."""
        known = []
        with milvus_errors(self.uri):
            for first in range(0, len(ids), _PAGE):
                page = ids[first : first + _PAGE].tolist()
                known += [row["id"] for row in self._client.get(self.collection, ids=page, output_fields=["id"])]
        return np.array(known, np.int64)

    def _search(self, queries: FloatArray, limit: int, where: Filter | None) -> tuple[FloatArray, IdArray]:
        """Return Milvus's own answer, scores and ids (N, limit), padded where it has fewer."""
        params = effort(self._index_type, limit, self.options.ef_search, self._cells, self.options.probe)
        with milvus_errors(self.uri):
            answers = self._client.search(
                self.collection,
                data=list(queries),
                filter=filter_expression(where),
                limit=limit,
                output_fields=["id"],  # without it, the vectors come back, too
                search_params={"metric_type": "IP", "params": params},
                consistency_level=self.options.consistency,
            )
        query_rows = np.repeat(np.arange(len(queries)), [len(hits) for hits in answers])
        scores = np.array([hit["distance"] for hits in answers for hit in hits], np.float32)
        ids = np.array([hit["id"] for hits in answers for hit in hits], np.int64)
        return merge(nothing_found(len(queries), limit), query_rows, scores, ids)

    def _scan(self, queries: FloatArray, limit: int, where: Filter | None) -> tuple[FloatArray, IdArray]:
        """Search exactly through everything that passes the filter, a page at a time."""
        best = nothing_found(len(queries), limit)
        for ids, vectors in self._pages(where, ["id", "vector"]):
            page = _exact.search(vectors, ids, queries, limit)
            best = merge(best, np.repeat(np.arange(len(queries)), limit), page[0].ravel(), page[1].ravel())
        return best

    def _pages(self, where: Filter | None, fields: list[str]) -> Iterator[tuple[IdArray, FloatArray]]:
        """Yield ids, and vectors if `fields` names them, of all that passes the filter."""
        size = _PAGE if "vector" in fields else _WINDOW
        with milvus_errors(self.uri):
            pages = self._client.query_iterator(
                self.collection, batch_size=size, filter=filter_expression(where), output_fields=fields
            )
            try:
                while rows := pages.next():
                    ids = np.array([row["id"] for row in rows], np.int64)
                    yield ids, np.array([row.get("vector", []) for row in rows], np.float32)
            finally:
                pages.close()
