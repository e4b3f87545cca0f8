"""Search latency: our flat, faiss and milvus (Lite) against bare faiss and bare numpy, on clustered unit vectors."""

from __future__ import annotations

import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import faiss
import numpy as np

from mmi_tvr import plugins
from mmi_tvr.types import row_ids

from .timing import rounds, table

DIM, TOP, MOMENTS = 384, 10, 8
INDEXES = {"flat": {}, "faiss": {"graph_from": 1}, "milvus": {}}


def run(args: Namespace) -> Iterator[str]:
    for size, queries in ((900, 3), (1_800, 3)) if args.small else ((10_000, 20), (100_000, 5)):
        with tempfile.TemporaryDirectory() as folder:
            yield from _compare(size, queries, args.repeats, Path(folder))


def _compare(size: int, queries: int, repeats: int, folder: Path) -> Iterator[str]:
    vectors, query_vectors = _data(size, max(queries, 200))
    ids = np.concatenate([row_ids(video, MOMENTS) for video in range(size // (MOMENTS + 1) + 1)])[:size]
    built, seconds = {}, {}
    for name, options in INDEXES.items():
        started = time.perf_counter()
        index = plugins.build("index", name, options, path=folder / name, dim=DIM, fingerprint="bench")
        index.add(ids, vectors)
        index.flush()
        built[name], seconds[name] = index, time.perf_counter() - started
    yield f"stored {size:,} vectors: " + ", ".join(f"{name} {taken:.1f} s" for name, taken in seconds.items())
    bare = faiss.IndexFlatIP(DIM)
    bare.add(vectors)
    single = query_vectors[:queries]
    contenders: dict[str, Callable[[], object]] = {
        **{
            name: (lambda index=index: [index.search(query[None], TOP) for query in single])
            for name, index in built.items()
        },
        "bare faiss-cpu IndexFlatIP": lambda: [bare.search(query[None], TOP) for query in single],
        "bare numpy": lambda: [_numpy(vectors, query) for query in single],
    }
    title = f"search, {size:,} x {DIM}, top {TOP}, {queries} queries one by one"
    yield from table(title, rounds(contenders, repeats), "flat")
    batch = {
        "flat": lambda: built["flat"].search(query_vectors, TOP),
        "bare faiss-cpu IndexFlatIP": lambda: bare.search(query_vectors, TOP),
    }
    yield from table(
        f"search, {size:,} x {DIM}, top {TOP}, {len(query_vectors)} queries at once", rounds(batch, repeats), "flat"
    )
    exact, graph = built["flat"].search(query_vectors, TOP)[1], built["faiss"].search(query_vectors, TOP)[1]
    shared = sum(len(np.intersect1d(one, other)) for one, other in zip(exact, graph, strict=True))
    yield f"recall@{TOP} of faiss (HNSW) against flat: {shared / exact.size:.4f}"
    for index in built.values():
        index.close()


def _numpy(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    scores = vectors @ query
    best = np.argpartition(scores, -TOP)[-TOP:]
    return best[np.argsort(-scores[best])]


def _data(size: int, queries: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around a centre per 50, as pictures of like things have, and queries near some of them."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((size // 50 + 1, DIM), dtype=np.float32)
    vectors = centres[rng.integers(0, len(centres), size)] + rng.standard_normal((size, DIM), dtype=np.float32)
    query_vectors = vectors[rng.integers(0, size, queries)] + rng.standard_normal((queries, DIM), dtype=np.float32)
    return tuple(rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (vectors, query_vectors))
