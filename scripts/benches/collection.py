"""Dual-stage search over a million synthetic vectors: flat, faiss and Milvus Lite, each in processes of its own; flat
and faiss also by codes of fewer bits; and a Milvus server where MMI_TVR_MILVUS has its address.

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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmi_tvr import plugins
from mmi_tvr.index import discard, publish
from mmi_tvr.search import Searcher, VideoEntry
from mmi_tvr.types import Filter, Query, Scoring, row_ids

from .timing import peak

TOP, MOMENTS = 10, 9  # hits of a search; key images of a video, so that each has ten vectors
LIKE = 50  # videos around one centre, as there are of like things
SCORING = Scoring(moment_weight=0.5, top_moments=1)
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
_BLOCK = 50_000  # vectors in memory at once
_LITE_BYTES = 50  # of memory that Milvus Lite takes for each number of a vector while it is filled (measured)


def run(args: argparse.Namespace) -> Iterator[str]:
    size, query_count = (2_000, 4) if args.small else (1_000_000, 100)
    if unknown := set(args.engine or ()) - set(_engines()):
        raise SystemExit(f"no such engine: {', '.join(sorted(unknown))}; there are: {', '.join(_engines())}")
    engines = args.engine or list(_engines())
    for width in (args.width,) if args.width else (32,) if args.small else (192, 512):  # 192: the bundled model's
        with tempfile.TemporaryDirectory() as folder:
            yield from _compare(engines, size, width, query_count, Path(folder))


def _compare(engines: Sequence[str], size: int, width: int, query_count: int, folder: Path) -> Iterator[str]:
    yield (
        f"dual-stage search, {size:,} x {width} ({size // (MOMENTS + 1):,} videos of {MOMENTS + 1} vectors), "
        f"top {TOP}, {query_count} queries one by one"
    )
    yield (
        f"  {'engine':<13} {'vectors':>9} {'build s':>8} {'disk MB':>8} {'recall@10':>9} {'video@10':>8} {'p50 ms':>8} "
        f"{'p95 ms':>8} {'stage 1':>8} {'stage 2':>8} {'half':>8} {'build MB':>9} {'search MB':>9} {'mapped':>7}"
    )
    vectors = folder / "vectors.f32"
    _write(vectors, size, width)
    for name in engines:
        engine, _, most = _engines()[name]
        count = min(size, most, _fitting(width) if engine == "milvus" and name not in SERVER_ENGINES else size)
        queries = _queries(vectors, count, width, query_count)
        job = name, folder / name, vectors, count, width
        seconds, build_peak = _alone(_build, *job)
        disk = sum(path.stat().st_size for path in (folder / name).rglob("*") if path.is_file())
        result = _alone(_search, *job, queries)
        truth, nearest = _truth(vectors, count, width, queries)
        p50, p95 = np.percentile(np.array(result["total"]) * 1000, [50, 95])
        yield (
            f"  {name:<13} {count:9,} {seconds:8.1f} {disk / 1e6:8.0f} {_shared(result['hits'], truth):9.4f} "
            f"{_shared(result['videos'], nearest):8.4f} {p50:8.1f} {p95:8.1f} "
            f"{np.median(result['search']) * 1000:8.1f} {np.median(result['score']) * 1000:8.1f} "
            f"{np.median(result['half']) * 1000:8.1f} "
            f"{build_peak:9.0f} {result['peak']:9.0f} {result['mapped']:7.0f}"
        )
        discard(folder / name)
        if count < min(size, most):
            yield f"  {name}: Milvus Lite would take {size * width * _LITE_BYTES / 1e9:.0f} GB to be filled with all"


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


def _build(name: str, folder: Path, vectors: Path, count: int, width: int) -> tuple[float, float]:
    """Seconds, and peak MB."""
    started = time.perf_counter()
    index = _open(name, folder, width, create=True)
    for first, block in _blocks(vectors, count, width):
        index.add(_ids(first, len(block)), block)
    index.flush()
    publish(index)
    index.close()
    return time.perf_counter() - started, peak()


def _search(name: str, folder: Path, vectors: Path, count: int, width: int, queries: np.ndarray) -> dict[str, Any]:
    """Seconds of every query, whole and by stage; the videos that were hits, and the nearest by whole videos."""
    index = _open(name, folder, width, create=False)
    searcher = Searcher(_StoredQueries(queries), index, _lookup, _Certain())
    for number in range(3):
        searcher.search(str(number))
    results = [searcher.search(str(number), top=TOP) for number in range(len(queries))]
    videos = [index.search(query[None], TOP, Filter("video"))[1][0] >> 12 for query in queries]
    half, seconds = Filter("video", frozenset(range(0, count // (MOMENTS + 1), 2))), []
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
        "videos": [numbers.tolist() for numbers in videos],
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


def _lookup(numbers: Iterable[int]) -> Mapping[int, VideoEntry]:
    segments = np.arange(3 * MOMENTS, dtype=np.float64).reshape(MOMENTS, 3)
    return {number: VideoEntry((Path(str(number)),), segments) for number in numbers}


def _status(key: str) -> float:
    """MB that Linux keeps under a name in this process's status; 0 elsewhere."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else ()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(key)), 0.0)


# Data and truth


def _ids(first: int, count: int) -> np.ndarray:
    each = MOMENTS + 1
    return np.concatenate([row_ids(video, MOMENTS) for video in range(first // each, (first + count) // each)])


def _write(path: Path, size: int, width: int) -> None:
    """Videos around centres, key images around videos, and the mean of these as the video's own vector, first."""
    rng = np.random.default_rng(0)
    videos = size // (MOMENTS + 1)
    centres = rng.standard_normal((videos // LIKE + 1, width), dtype=np.float32)
    with path.open("wb") as stream:
        for first in range(0, videos, _BLOCK // (MOMENTS + 1)):
            count = min(_BLOCK // (MOMENTS + 1), videos - first)
            bases = centres[rng.integers(0, len(centres), count)] + rng.standard_normal(
                (count, width), dtype=np.float32
            )
            moments = bases[:, None] + 0.7 * rng.standard_normal((count, MOMENTS, width), dtype=np.float32)
            moments = _unit(moments)
            stream.write(np.concatenate([_unit(moments.mean(axis=1, keepdims=True)), moments], axis=1).tobytes())


def _blocks(path: Path, count: int, width: int) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, rows), read and not mapped, so that they leave memory again."""
    with path.open("rb") as stream:
        for first in range(0, count, _BLOCK):
            rows = min(_BLOCK, count - first)
            yield first, np.fromfile(stream, np.float32, rows * width).reshape(rows, width)


def _queries(path: Path, count: int, width: int, query_count: int) -> np.ndarray:
    """Vectors near some key images."""
    rng = np.random.default_rng(1)
    rows = np.sort(rng.choice(count, query_count, replace=False))
    key_images = np.array(np.memmap(path, np.float32, "r", shape=(count, width))[rows])
    noise = rng.standard_normal((query_count, width), dtype=np.float32)
    return _unit(key_images + noise / np.sqrt(np.float32(width)))


def _truth(path: Path, count: int, width: int, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The TOP best videos for each query when every one is scored, and when only its own vector counts."""
    scores: list[list[np.ndarray]] = [[], []]
    for _, block in _blocks(path, count, width):
        cosines = (block @ queries.T).reshape(-1, MOMENTS + 1, len(queries))
        best = cosines[:, 1:].max(axis=1)
        scores[0].append((1 - SCORING.moment_weight) * cosines[:, 0] + SCORING.moment_weight * best)
        scores[1].append(cosines[:, 0])
    ranked = [np.argsort(-np.concatenate(each), axis=0, kind="stable")[:TOP].T for each in scores]
    return ranked[0], ranked[1]


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def _shared(hits: Sequence[Sequence[int]], truth: np.ndarray) -> float:
    return sum(len(np.intersect1d(one, other)) for one, other in zip(hits, truth, strict=True)) / truth.size
