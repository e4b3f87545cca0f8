"""Approximate search for large collections on one machine: an HNSW graph over the store of the flat index.

Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small
World graphs", TPAMI 2020, as implemented by faiss. The flat store stays the truth, so a flat index upgrades in
place, and back. The graph covers the first rows of one generation of the store; the rows behind it are searched
exactly, and so is whatever a filter makes too rare for the graph. A flush brings the graph up to date.

With fewer `bits` the graph holds codes instead of vectors (faiss's scalar quantiser). They propose `oversample` times
as many rows as are wanted, which are then scored exactly from the store.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..plugins import BaseOptions
from ..types import Filter, FloatArray, IdArray
from ..utils.files import change_stamp, publish
from . import _exact
from ._common import checked_limit, checked_queries, merge, nothing_found
from .flat import FlatIndex

_EXACT_ROWS = 8_192  # so few allowed rows are searched exactly in about a millisecond
_MAX_EF = 4_096  # a wider beam costs more than exact search
_TAIL_SHARE = 0.05  # rows behind the graph, as a share of it, that are worth writing the graph file again
_TRAINING_ROWS = 100_000  # that the ranges of codes are learned from
_ADD = 10_000  # rows inserted between two chances to interrupt


class Options(BaseOptions):
    """Settings of the graph; see the paper for what they trade."""

    m: int = Field(32, ge=4, le=128, description="links per vector and layer: memory against recall")
    ef_construction: int = Field(120, ge=8, description="beam width while building: building time against recall")
    ef_search: int = Field(256, ge=8, description="beam width while searching: search time against recall")
    threads: int | None = Field(None, ge=1, description="OpenMP threads, for the whole process (default: faiss's own)")
    graph_from: int = Field(10_000, ge=1, description="fewer vectors than this are searched exactly, without a graph")
    bits: Literal[32, 16, 8] = Field(32, description="of each number in the graph: 16 and 8 take less memory")
    oversample: int = Field(4, ge=1, description="with fewer bits: so many times the wanted rows are scored exactly")


def build(options: Options, *, path: Path, dim: int, fingerprint: str, create: bool = True) -> FaissIndex:
    """Return the index in the folder `path`, made there where `create` is true. Errors as `index.open_index`."""
    return FaissIndex(options, Path(path), dim, fingerprint, create)


def built(options: Options) -> str:
    """Return what distinguishes a graph from those that other options build: a part of its file's name."""
    codes = "" if options.bits == 32 else f"-b{options.bits}"
    return f"m{options.m}-ef{options.ef_construction}{codes}"


class FaissIndex(FlatIndex):
    """A flat index with a graph. Scores are exact; which rows are returned is approximate."""

    def __init__(self, options: Options, path: Path, dim: int, fingerprint: str, create: bool = True) -> None:
        super().__init__(path, dim, fingerprint, create)
        self.options = options
        self._graph: Any = None  # faiss.IndexHNSWFlat whose labels are rows of the store
        self._graph_path: Path | None = None  # where it was looked for or written to
        self._graph_stamp: tuple[int, ...] | None = None  # of that file, as it was read or written
        self._growable = False  # a graph on a memory map is open at once and costs no memory, but cannot grow

    def search(self, queries: FloatArray, limit: int, where: Filter | None = None) -> tuple[FloatArray, IdArray]:
        """Return scores and ids (N, k) as `FlatIndex.search`, from the graph where that is faster."""
        store, allowed = self.store, self.allowed(where)
        queries, limit = checked_queries(queries, self.dim), checked_limit(limit, lambda: store.live)
        graph = self._read_graph()
        covered = min(graph.ntotal, store.rows) if graph is not None else 0
        allowed_covered = covered if allowed is None else int(np.count_nonzero(allowed[:covered]))
        beam = self._beam(limit, covered, allowed_covered)
        if allowed_covered <= _EXACT_ROWS or beam is None:
            return _exact.search(store.vectors, store.ids, queries, limit, allowed)
        best = self._search_graph(graph, queries, limit, beam, _node_mask(allowed, covered, graph.ntotal))
        incomplete = np.flatnonzero(best[1][:, min(limit, allowed_covered) - 1] < 0)
        if len(incomplete):  # the walk got stuck among rows that are not allowed
            covered_mask = None if allowed is None else allowed[:covered]
            best[0][incomplete], best[1][incomplete] = _exact.search(
                store.vectors[:covered], store.ids[:covered], queries[incomplete], limit, covered_mask
            )
        tail_mask = None if allowed is None else allowed[covered:]
        tail = _exact.search(store.vectors[covered:], store.ids[covered:], queries, limit, tail_mask)
        return merge(best, np.repeat(np.arange(len(queries)), limit), tail[0].ravel(), tail[1].ravel())

    def is_outdated(self) -> bool:
        """Return whether another process has written since this was opened, vectors or a graph."""
        return super().is_outdated() or (
            self._graph_path is not None and self._graph_stamp != change_stamp(self._path())
        )

    def flush(self) -> None:
        """Commit the store, then build or extend the graph where enough rows are behind it (minutes per million)."""
        store = self.store
        store.commit()
        if store.rows < self.options.graph_from:
            self._remove_graphs(self._path())
            return
        graph = self._read_graph()
        covered = graph.ntotal if graph is not None else 0
        if store.rows - covered > max(_EXACT_ROWS, _TAIL_SHARE * covered) or not covered:
            self._grow_graph(graph)

    def close(self) -> None:
        """Commit the store and let go of the files. The graph is built by `flush` alone, as it takes long."""
        super().close()
        self._graph = self._graph_path = None

    def _beam(self, limit: int, covered: int, allowed: int) -> int | None:
        """Return how many nodes a walk keeps in sight; None where exact search costs less.

        Args:
            limit: rows to return.
            covered: nodes of the graph.
            allowed: how many of them pass the filter.
        """
        # Of a beam of ef nodes about ef * allowed / covered are allowed.
        beam = int(max(self.options.ef_search, 2 * limit) * covered / max(allowed, 1))
        return beam if beam <= _MAX_EF else None

    def _search_graph(
        self, graph: Any, queries: FloatArray, limit: int, beam: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[FloatArray, IdArray]:
        """Return the graph's answer, scored exactly.

        Args:
            graph: the faiss index; its labels are rows of the store.
            queries: (N, D).
            limit: how many rows to return for each query.
            beam: how many nodes the walk keeps in sight.
            allowed: mask of the graph's nodes; None: all.

        Returns:
            Scores and ids (N, limit), padded where the walk reached fewer.
        """
        store = self.store
        labels = self._propose(graph, queries, limit, beam, allowed)
        query_rows, ranks = np.nonzero(labels >= 0)
        rows = labels[query_rows, ranks]
        scores = _exact.dots(store.vectors, rows, queries, query_rows)
        return merge(nothing_found(len(queries), limit), query_rows, scores, store.ids[rows])

    def _propose(
        self, graph: Any, queries: FloatArray, limit: int, beam: int, allowed: NDArray[np.bool_] | None
    ) -> NDArray[np.int64]:
        """Return the rows (N, limit or more) that are scored exactly, -1 where there are fewer; see `_search_graph`."""
        faiss = self._faiss()
        proposed = limit if self.options.bits == 32 else limit * self.options.oversample
        # A selector keeps no bitmap of its own: `bits` must outlive the search.
        bits = None if allowed is None else np.packbits(allowed, bitorder="little")
        selector = None if bits is None else faiss.IDSelectorBitmap(bits)
        settings = faiss.SearchParametersHNSW(efSearch=max(beam, proposed), sel=selector)
        labels: NDArray[np.int64] = graph.search(queries, proposed, params=settings)[1]
        return labels

    def _grow_graph(self, graph: Any) -> None:
        """Add the rows behind the graph to it, or build one where it is None, and write its file."""
        faiss, store = self._faiss(), self.store
        if graph is None:
            graph = self._new_graph(faiss)
        elif not self._growable:
            graph = faiss.read_index(str(self._path()))
        for first in range(graph.ntotal, store.rows, _ADD):
            graph.add(np.ascontiguousarray(store.vectors[first : first + _ADD]))
        path = self._path()
        draft = path.with_name(path.name + ".tmp")
        faiss.write_index(graph, str(draft))
        publish(draft, path)
        self._remove_graphs(path)
        self._graph, self._graph_path, self._growable = graph, path, True
        self._graph_stamp = change_stamp(path)

    def _new_graph(self, faiss: Any) -> Any:
        """Return an empty graph, of codes whose ranges are learned from the first rows."""
        metric, bits = faiss.METRIC_INNER_PRODUCT, self.options.bits
        if bits == 32:
            graph = faiss.IndexHNSWFlat(self.dim, self.options.m, metric)
        else:
            code = faiss.ScalarQuantizer.QT_fp16 if bits == 16 else faiss.ScalarQuantizer.QT_8bit
            graph = faiss.IndexHNSWSQ(self.dim, code, self.options.m, metric)
            graph.train(self._training_rows())
        graph.hnsw.efConstruction = self.options.ef_construction
        return graph

    def _training_rows(self) -> FloatArray:
        """Return vectors that the ranges of codes are learned from."""
        rows: FloatArray = np.ascontiguousarray(self.store.vectors[:_TRAINING_ROWS])
        return rows

    def _read_graph(self) -> Any:
        """Return the graph of the store's present generation, from memory or disk; None if there is none."""
        path = self._path()
        if self._graph_path != path:
            self._graph, self._graph_stamp = None, change_stamp(path)
            if self._graph_stamp is not None:
                # One that cannot be read is as good as none: it can always be built again from the store.
                with suppress(RuntimeError):
                    faiss = self._faiss()
                    self._graph = faiss.read_index(str(path), getattr(faiss, "IO_FLAG_MMAP_IFC", 0))
            self._graph_path, self._growable = path, False
        return self._graph

    def _path(self) -> Path:
        """Return the graph's file. A graph of another generation, or built otherwise, has another name."""
        return self.store.folder / f"graph-{self.store.generation}-{built(self.options)}.faiss"

    def _faiss(self) -> Any:
        import faiss  # at use: a collection below `graph_from` never needs it

        if self.options.threads:
            faiss.omp_set_num_threads(self.options.threads)
        return faiss


def _node_mask(allowed: NDArray[np.bool_] | None, covered: int, nodes: int) -> NDArray[np.bool_] | None:
    """Return the mask of the graph's nodes that may be returned; None: all.

    Another process may have grown the graph to more `nodes` than the `covered` rows that this one opened.
    """
    if allowed is None:
        return None if nodes == covered else np.ones(covered, bool)
    return allowed[:covered]
