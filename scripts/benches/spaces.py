"""LaT's two spaces against one: the same library searched by v with G(t) and F(v) with t, and by the first alone."""

from __future__ import annotations

import tempfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mmi_tvr.index import open_index
from mmi_tvr.scoring.blocks import similarities
from mmi_tvr.scoring.bounds import probe
from mmi_tvr.types import Block, Scoring, row_ids

from .timing import rounds, table

VIDEO, TEXT = 192, 160  # widths of the bundled towers
TOP = 10
BOTH = "both spaces"


def run(args: Namespace) -> Iterator[str]:
    for size, queries in ((500, 3),) if args.small else ((20_000, 20), (200_000, 20)):
        with tempfile.TemporaryDirectory() as folder:
            yield from _compare(size, queries, args.repeats, Path(folder))


def _compare(size: int, queries: int, repeats: int, folder: Path) -> Iterator[str]:
    spaces = {
        BOTH: Scoring(blocks=(Block("video", VIDEO, 0.5, 0.5), Block("text", TEXT, 0.5, 0.5))),
        "space of videos": Scoring(blocks=(Block("video", VIDEO),)),
    }
    contenders, scored, sizes = {}, {}, {}
    for name, scoring in spaces.items():
        videos, texts = (_vectors(count, scoring, seed) for seed, count in enumerate((size, queries)))
        index = open_index("flat", path=folder / name, dim=videos.shape[1], fingerprint="bench")
        index.add(np.concatenate([row_ids(number, 0) for number in range(size)]), videos)
        index.flush()
        probes = probe(texts, scoring)
        contenders[name] = lambda index=index, probes=probes: [index.search(row[None], TOP) for row in probes]
        scored[name] = lambda scoring=scoring, videos=videos, texts=texts: similarities(texts, videos, scoring)
        sizes[name] = videos.nbytes / size
    for title, what in ((f"top {TOP} of {size:,} videos", contenders), (f"{size:,} videos scored", scored)):
        seconds = {name: [took / queries for took in times] for name, times in rounds(what, repeats).items()}
        yield from table(f"{title}, a query", seconds, BOTH)
    yield "  bytes a vector: " + ", ".join(f"{name} {count:.0f}" for name, count in sizes.items())


def _vectors(count: int, scoring: Scoring, seed: int) -> np.ndarray:
    """Vectors (count, D) of equally long blocks."""
    rng = np.random.default_rng(seed)
    blocks = [rng.standard_normal((count, block.width), dtype=np.float32) for block in scoring.blocks]
    units = [block / np.linalg.norm(block, axis=1, keepdims=True) for block in blocks]
    return np.concatenate(units, axis=1) / np.float32(len(blocks) ** 0.5)
