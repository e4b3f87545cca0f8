"""Predictions for this machine against runs on it, at three sizes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log2
from pathlib import Path

import numpy as np

from ... import plugins
from ...index import milvus_plan
from ...types import FloatArray
from .model import GRAPH_DIM, GRAPH_VECTORS, ID_BYTES, exact_seconds, graph_build_seconds, graph_seconds


@dataclass(frozen=True, slots=True)
class RateCheck:
    """One quantity at one size, predicted and measured."""

    quantity: str
    unit: str
    vectors: int
    predicted: float
    measured: float

    @property
    def ratio(self) -> float:
        """Measured / predicted."""
        return self.measured / self.predicted


def check(
    sizes: Sequence[int] = (160_000, 240_000, 320_000),
    dim: int = GRAPH_DIM,
    probes: tuple[int, int] = (50_000, 100_000),
    queries: int = 20,
) -> list[RateCheck]:
    """Build and search indexes, and compare with what runs at two smaller sizes predict for them.

    Times are of all cores together, so that whatever else runs on the machine counts little. Vectors are random units
    around one centre per 500. The bytes on disk are predicted without any run.

    Args:
        sizes: vectors of the indexes that are predicted.
        dim: numbers per vector.
        probes: vectors of the two smaller indexes, smaller one first.
        queries: searches that are timed.
    """
    formulas = _formulas(dim, _measured_rates(dim, probes, queries))
    checks = []
    for size in sizes:
        measured = _measure(size, dim, queries)
        for quantity, (unit, formula) in formulas.items():
            checks.append(RateCheck(quantity, unit, size, formula(size), measured[quantity]))
    return checks


def _measured_rates(dim: int, probes: tuple[int, int], queries: int) -> dict[str, float]:
    """Return this machine's rates, by the names of `model.RATES`, from runs at two sizes."""
    low, high = probes
    smaller, larger = (_measure(probe, dim, queries) for probe in probes)
    growth = log2(larger["graph build"] / smaller["graph build"]) / log2(high / low)
    return {
        "scan": high * dim * 4 / larger["exact search"],
        "graph_growth": growth,
        "graph_build": larger["graph build"] * (GRAPH_VECTORS / high) ** growth * GRAPH_DIM / dim,
        "graph_search": larger["graph search"] * log2(GRAPH_VECTORS) / log2(high) * GRAPH_DIM / dim,
    }


def _formulas(dim: int, rate: Mapping[str, float]) -> dict[str, tuple[str, Callable[[int], float]]]:
    """Return of each quantity its unit, and its prediction for so many vectors."""
    link_bytes = milvus_plan("HNSW", 0, dim).memory - milvus_plan("FLAT", 0, dim).memory  # of a vector in the graph
    exact_bytes = 4 * dim + ID_BYTES
    graph_bytes = 2 * 4 * dim + ID_BYTES + link_bytes  # vectors lie in both files
    return {
        "exact search": ("core s per query", lambda size: exact_seconds(size, dim, rate)),
        "graph build": ("core s", lambda size: graph_build_seconds(size, dim, rate)),
        "graph search": ("core s per query", lambda size: graph_seconds(size, dim, rate)),
        "exact bytes": ("MB on disk", lambda size: size * exact_bytes / 1e6),
        "graph bytes": ("MB on disk", lambda size: size * graph_bytes / 1e6),
    }


def _measure(size: int, dim: int, queries: int) -> dict[str, float]:
    """Build and search an exact and a graph index of so many vectors; core seconds and MB by quantity."""
    rng = np.random.default_rng(size)
    centres = rng.standard_normal((size // 500 + 1, dim), dtype=np.float32)
    vectors = _unit(centres[rng.integers(0, len(centres), size)] + rng.standard_normal((size, dim), dtype=np.float32))
    noise = rng.standard_normal((queries, dim), dtype=np.float32) / np.float32(dim) ** 0.5
    query_vectors = _unit(vectors[:queries] + noise)
    measured = {}
    for name, room_name, options in (("exact", "flat", {}), ("graph", "faiss", {"graph_from": 1})):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / room_name
            index = plugins.build("index", room_name, options, path=path, dim=dim, fingerprint="scale")
            index.add(np.arange(size), vectors)
            started = time.process_time()
            index.flush()
            measured[f"{name} build"] = time.process_time() - started
            index.search(query_vectors[:1], 10)
            started = time.process_time()
            for query in query_vectors:
                index.search(query[None], 10)
            measured[f"{name} search"] = (time.process_time() - started) / queries
            index.close()
            files = [path for path in Path(folder).rglob("*") if path.is_file()]
            measured[f"{name} bytes"] = sum(path.stat().st_size for path in files) / 1e6
    return measured


def _unit(rows: FloatArray) -> FloatArray:
    unit: FloatArray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit
