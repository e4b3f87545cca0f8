"""Predictions for this machine against runs on it, at three sizes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log2
from pathlib import Path

import numpy as np

from ... import plugins
from ...index import milvus_plan
from ...types import FloatArray
from .model import GRAPH_DIM, GRAPH_VECTORS, ID_BYTES, exact_seconds, graph_build_seconds, graph_seconds


@dataclass(frozen=True, slots=True)
class Comparison:
    """One quantity at one size. `ratio` is measured / predicted."""

    what: str
    unit: str
    vectors: int
    predicted: float
    measured: float

    @property
    def ratio(self) -> float:
        return self.measured / self.predicted


def check(
    sizes: Sequence[int] = (160_000, 240_000, 320_000),
    dim: int = GRAPH_DIM,
    probes: tuple[int, int] = (50_000, 100_000),
    queries: int = 20,
) -> list[Comparison]:
    """Build and search indexes of these sizes, and compare with what runs at two smaller ones predict for them.

    Times are of all cores together, so that whatever else runs on the machine counts little. Vectors are random units
    around one centre per 500. The bytes on disk are predicted without any run.
    """
    low, high = probes
    before, first = (_measure(probe, dim, queries) for probe in probes)
    growth = log2(first["graph build"] / before["graph build"]) / log2(high / low)
    rate = {
        "scan": high * dim * 4 / first["exact search"],
        "graph_growth": growth,
        "graph_build": first["graph build"] * (GRAPH_VECTORS / high) ** growth * GRAPH_DIM / dim,
        "graph_search": first["graph search"] * log2(GRAPH_VECTORS) / log2(high) * GRAPH_DIM / dim,
    }
    graph = milvus_plan("HNSW", 0, dim).memory - milvus_plan("FLAT", 0, dim).memory  # the links alone
    formulas: dict[str, tuple[str, Callable[[int], float]]] = {
        "exact search": ("core s per query", lambda size: exact_seconds(size, dim, rate)),
        "graph build": ("core s", lambda size: graph_build_seconds(size, dim, rate)),
        "graph search": ("core s per query", lambda size: graph_seconds(size, dim, rate)),
        "exact bytes": ("MB on disk", lambda size: size * (4 * dim + ID_BYTES) / 1e6),
        "graph bytes": (
            "MB on disk",
            lambda size: size * (2 * 4 * dim + ID_BYTES + graph) / 1e6,
        ),  # vectors in both files
    }
    found = []
    for size in sizes:
        measured = _measure(size, dim, queries)
        found += [
            Comparison(what, unit, size, formula(size), measured[what]) for what, (unit, formula) in formulas.items()
        ]
    return found


def _measure(size: int, dim: int, queries: int) -> dict[str, float]:
    rng = np.random.default_rng(size)
    centres = rng.standard_normal((size // 500 + 1, dim), dtype=np.float32)
    vectors = _unit(centres[rng.integers(0, len(centres), size)] + rng.standard_normal((size, dim), dtype=np.float32))
    asked = _unit(vectors[:queries] + rng.standard_normal((queries, dim), dtype=np.float32) / np.float32(dim) ** 0.5)
    found = {}
    for name, index, options in (("exact", "flat", {}), ("graph", "faiss", {"graph_from": 1})):
        with tempfile.TemporaryDirectory() as folder:
            made = plugins.build("index", index, options, path=Path(folder) / index, dim=dim, fingerprint="scale")
            made.add(np.arange(size), vectors)
            started = time.process_time()
            made.flush()
            found[f"{name} build"] = time.process_time() - started
            made.search(asked[:1], 10)
            started = time.process_time()
            for query in asked:
                made.search(query[None], 10)
            found[f"{name} search"] = (time.process_time() - started) / queries
            made.close()
            found[f"{name} bytes"] = (
                sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 1e6
            )
    return found


def _unit(rows: FloatArray) -> FloatArray:
    unit: FloatArray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


# Tables
