"""Dual-stage search over a million synthetic vectors, or over those of a library: flat, faiss and Milvus Lite, each in
processes of its own; flat and faiss also by codes of fewer bits; and a Milvus server where MMI_TVR_MILVUS has its
address.

The product's own `Searcher` asks for candidates by whole videos and by key images, then scores those videos exactly
from their stored vectors. The truth is every video scored; recall@10 is the share of its ten best that are found.
Peak memory is that of the process that builds or searches, with what it has mapped of files: the operating system can
take that back.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmi_tvr import plugins
from mmi_tvr.index import discard, publish
from mmi_tvr.search import Searcher, VideoEntry
from mmi_tvr.types import MAX_MOMENTS, Filter, Query, video_of

from ._corpus import SCORING, TOP, Corpus, of_library, synthetic
from .timing import peak

# Name -> index, its options, and at most so many vectors. What Milvus Lite can hold compares its kinds of index.
ENGINES: dict[str, tuple[str, dict[str, Any], int]] = {
    "flat": ("flat", {}, 1_000_000),
    "flat, 16 bits": ("flat", {"bits": 16}, 1_000_000),
    "flat, 8 bits": ("flat", {"bits": 8}, 1_000_000),
    "flat, 1 bit": ("flat", {"bits": 1}, 1_000_000),
    "faiss": ("faiss", {"graph_from": 1}, 1_000_000),
    "faiss, 16 bits": ("faiss", {"graph_from": 1, "bits": 16}, 1_000_000),
    "faiss, 8 bits": ("faiss", {"graph_from": 1, "bits": 8}, 1_000_000),
    "Lite FLAT": ("milvus", {}, 1_000_000),
    "Lite HNSW": ("milvus", {"index_type": "HNSW"}, 100_000),
    "Lite SQ8": ("milvus", {"index_type": "IVF_SQ8"}, 100_000),
}
# Of a server, its own memory and disk are not measured.
SERVER_ENGINES: dict[str, tuple[str, dict[str, Any], int]] = {
    "server FLAT": ("milvus", {"index_type": "FLAT"}, 100_000),
    "server HNSW": ("milvus", {"index_type": "HNSW"}, 100_000),
    "server SQ8": ("milvus", {"index_type": "IVF_SQ8"}, 100_000),
}
_SERVER = "MMI_TVR_MILVUS"
_LITE_BYTES = 50  # of memory that Milvus Lite takes for each number of a vector while it is filled (measured)


def run(args: argparse.Namespace) -> Iterator[str]:
    size, query_count = (2_000, 4) if args.small else (1_000_000, 100)
    if unknown := set(args.engine or ()) - set(_engines()):
        raise SystemExit(f"no such engine: {', '.join(sorted(unknown))}; there are: {', '.join(_engines())}")
    engines = args.engine or list(_engines())
    if args.library:
        if args.queries is None:
            raise SystemExit("--library wants --queries FILE, too: a sentence a line")
        sentences = [line for line in args.queries.read_text(encoding="utf-8").splitlines() if line.strip()]
        with tempfile.TemporaryDirectory() as folder:
            yield from _compare(engines, of_library(Path(folder), args.library, sentences), query_count, Path(folder))
        return
    for width in (args.width,) if args.width else (32,) if args.small else (192, 512):  # 192: the bundled model's
        with tempfile.TemporaryDirectory() as folder:
            yield from _compare(engines, synthetic(Path(folder), size, width), query_count, Path(folder))


def _compare(engines: Sequence[str], corpus: Corpus, query_count: int, folder: Path) -> Iterator[str]:
    yield (
        f"dual-stage search, {corpus.count:,} x {corpus.width} ({len(corpus.videos()):,} videos), top {TOP}, "
        f"{query_count} queries one by one"
    )
    yield (
        f"  {'engine':<14} {'vectors':>9} {'build s':>8} {'disk MB':>8} {'recall@10':>9} {'video@10':>8} {'p50 ms':>8} "
        f"{'p95 ms':>8} {'stage 1':>8} {'stage 2':>8} {'half':>8} {'build MB':>9} {'search MB':>9} {'mapped':>7}"
    )
    for name in engines:
        engine, _, most = _engines()[name]
        is_lite = engine == "milvus" and name not in SERVER_ENGINES
        part = corpus.first(min(most, _fitting(corpus.width) if is_lite else most))
        queries = part.queries(query_count)
        seconds, build_peak = _alone(_build, name, folder / name, part)
        disk = sum(path.stat().st_size for path in (folder / name).rglob("*") if path.is_file())
        result = _alone(_search, name, folder / name, part, queries)
        truth, nearest = part.truth(queries)
        p50, p95 = np.percentile(np.array(result["total"]) * 1000, [50, 95])
        yield (
            f"  {name:<14} {part.count:9,} {seconds:8.1f} {disk / 1e6:8.0f} {_shared(result['hits'], truth):9.4f} "
            f"{_shared(result['videos'], nearest):8.4f} {p50:8.1f} {p95:8.1f} "
            f"{np.median(result['search']) * 1000:8.1f} {np.median(result['score']) * 1000:8.1f} "
            f"{np.median(result['half']) * 1000:8.1f} "
            f"{build_peak:9.0f} {result['peak']:9.0f} {result['mapped']:7.0f}"
        )
        discard(folder / name)
        if part.count < min(corpus.count, most):
            needed = corpus.count * corpus.width * _LITE_BYTES / 1e9
            yield f"  {name}: Milvus Lite would take {needed:.0f} GB to be filled with all"


def _engines() -> dict[str, tuple[str, dict[str, Any], int]]:
    return {**ENGINES, **SERVER_ENGINES} if _SERVER in os.environ else ENGINES


def _alone(work: Any, *arguments: Any) -> Any:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def _fitting(width: int) -> int:
    """How many vectors Milvus Lite can be filled with in half of the memory that is free."""
    lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else ()
    free = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), 8 << 30)
    return max(1_000, free // 2 // (width * _LITE_BYTES) // 50_000 * 50_000)


# In a process of its own


def _open(name: str, folder: Path, width: int, create: bool) -> Any:
    engine, options, _ = _engines()[name]
    if name in SERVER_ENGINES:
        options = {
            **options,
            "uri": os.environ[_SERVER],
            "collection": f"bench_{options['index_type']}",
            "timeout": 300,
        }
    return plugins.build("index", engine, options, path=folder, dim=width, fingerprint="bench", create=create)


def _build(name: str, folder: Path, corpus: Corpus) -> tuple[float, float]:
    """Seconds, and peak MB."""
    started = time.perf_counter()
    index = _open(name, folder, corpus.width, create=True)
    for ids, block in corpus.blocks():
        index.add(ids, block)
    index.flush()
    publish(index)
    index.close()
    return time.perf_counter() - started, peak()


def _search(name: str, folder: Path, corpus: Corpus, queries: np.ndarray) -> dict[str, Any]:
    """Seconds of every query, whole and by stage; the videos that were hits, and the nearest by whole videos."""
    index = _open(name, folder, corpus.width, create=False)
    searcher = Searcher(_StoredQueries(queries), index, _lookup(corpus), _Certain())
    for number in range(3):
        searcher.search(str(number))
    results = [searcher.search(str(number), top=TOP) for number in range(len(queries))]
    videos = [index.search(query[None], TOP, Filter("video"))[1][0] for query in queries]
    half, seconds = Filter("video", frozenset(corpus.videos()[::2].tolist())), []
    for query in queries[:20]:
        started = time.perf_counter()
        index.search(query[None], TOP, half)
        seconds.append(time.perf_counter() - started)
    mapped = _status("RssFile")
    index.close()
    return {
        **{stage: [result.seconds[stage] for result in results] for stage in ("total", "search", "score")},
        "half": seconds,
        "hits": [[int(hit.path.name) for hit in result] for result in results],
        "videos": [video_of(ids).tolist() for ids in videos],
        "peak": peak(),
        "mapped": mapped,
    }


class _StoredQueries:
    """A model whose queries are numbers of vectors that were made before."""

    name = "stored queries"
    reads = frozenset({"text"})
    scoring = SCORING

    def __init__(self, queries: np.ndarray) -> None:
        self._queries = queries

    def embed_queries(self, queries: Sequence[Query]) -> np.ndarray:
        return self._queries[[int(query.text) for query in queries]]


class _Certain:
    def relevance(self, scores: np.ndarray, query: np.ndarray) -> np.ndarray:
        return np.ones(len(scores))


def _lookup(corpus: Corpus) -> Callable[[Iterable[int]], Mapping[int, VideoEntry]]:
    """Return what knows how many key images a video has."""
    counts = corpus.vectors_by_video() - 1
    segments = np.arange(3 * MAX_MOMENTS, dtype=np.float64).reshape(MAX_MOMENTS, 3)
    return lambda numbers: {number: VideoEntry((Path(str(number)),), segments[: counts[number]]) for number in numbers}


def _status(key: str) -> float:
    """MB that Linux keeps under a name in this process's status; 0 elsewhere."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else ()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(key)), 0.0)


def _shared(hits: Sequence[Sequence[int]], truth: np.ndarray) -> float:
    return sum(len(np.intersect1d(one, other)) for one, other in zip(hits, truth, strict=True)) / truth.size
