"""Certified search against brute force, for a model of four blocks whose first goes through a sigmoid (MCSAN's form).

Each query has unit blocks, but for the first, which is `length` long; videos are random. Brute force scores every video
exactly, from the vectors in memory, and takes the best.
"""

from __future__ import annotations

import statistics
import tempfile
from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from mmi_tvr.index import open_index
from mmi_tvr.protocols import Index
from mmi_tvr.scoring.blocks import similarities
from mmi_tvr.scoring.candidates import Candidates, CandidateSearch
from mmi_tvr.types import Block, Scoring, row_ids

from .timing import rounds, table

TOP, FETCHED = 10, 100  # what a search for ten hits fetches first
BLOCKS, WIDTH = 4, 64
CASES = ((2.0, -1.0), (8.0, -2.0), (16.0, -4.0), (16.0, 0.0), (16.0, 8.0), (30.0, -10.0))  # length and offset


def run(args: Namespace) -> Iterator[str]:
    for size, queries in ((2_000, 3),) if args.small else ((20_000, 20), (200_000, 20)):
        with tempfile.TemporaryDirectory() as folder:
            yield from _compare(size, queries, args.repeats, Path(folder))


def _compare(size: int, queries: int, repeats: int, folder: Path) -> Iterator[str]:
    rng = np.random.default_rng(0)
    vectors = _units(rng, size) / np.float32(BLOCKS**0.5)
    index = open_index("flat", path=folder, dim=BLOCKS * WIDTH, fingerprint="bench")
    index.add(np.concatenate([row_ids(number, 0) for number in range(size)]), vectors)
    index.flush()
    for length, squash in CASES:
        scoring = Scoring(blocks=_blocks(squash))
        query_vectors = _units(rng, queries)
        query_vectors[:, :WIDTH] *= length
        yield from _case(
            index, vectors, query_vectors, scoring, repeats, f"{size:,} videos, |u| {length:g}, b {squash:g}"
        )
    index.close()


def _case(
    index: Index, vectors: np.ndarray, queries: np.ndarray, scoring: Scoring, repeats: int, title: str
) -> Iterator[str]:
    truth = [frozenset(_brute_force(vectors, query, scoring).tolist()) for query in queries]
    search = CandidateSearch(index, scoring)
    certified = [_certified(search, query) for query in queries]
    nearest = [search.nearest(query[None], FETCHED)[0].numbers for query in queries]
    wrong = sum(not best <= top.numbers for best, top in zip(truth, certified, strict=True))
    recall = statistics.mean(len(best & numbers) / TOP for best, numbers in zip(truth, nearest, strict=True))
    scored = sorted(top.scored for top in certified)
    contenders = {
        "certified": lambda: [_certified(search, query) for query in queries],
        "not certified": lambda: [search.nearest(query[None], FETCHED) for query in queries],
        "brute force": lambda: [_brute_force(vectors, query, scoring) for query in queries],
    }
    seconds = {
        name: [taken / len(queries) for taken in times] for name, times in rounds(contenders, repeats, False).items()
    }
    yield from table(f"top {TOP} of {title}, a query", seconds, "certified")
    yield (
        f"  videos scored: median {statistics.median(scored):g}, at most {scored[-1]} (fetched first: {FETCHED}); "
        f"wrong: {wrong} of {len(queries)}; recall@{TOP} without a certificate {recall:.3f}"
    )


def _certified(search: CandidateSearch, query: np.ndarray) -> Candidates:
    return search.certified(query, TOP, FETCHED, _no_moments)


def _no_moments(numbers: Iterable[int]) -> dict[int, int]:
    return dict.fromkeys(numbers, 0)


def _brute_force(vectors: np.ndarray, query: np.ndarray, scoring: Scoring) -> np.ndarray:
    scores = similarities(query[None], vectors, scoring)[0]
    best = np.argpartition(scores, -TOP)[-TOP:]
    return best[np.lexsort((best, -scores[best]))]


def _blocks(squash: float) -> tuple[Block, ...]:
    first, *rest = (Block(f"block {number}", WIDTH, 1 / BLOCKS, 1 / BLOCKS) for number in range(BLOCKS))
    return (Block(first.name, WIDTH, 1 / BLOCKS, 1 / BLOCKS, squash), *rest)


def _units(rng: np.random.Generator, count: int) -> np.ndarray:
    """Vectors (count, BLOCKS * WIDTH) of unit blocks."""
    blocks = rng.standard_normal((count, BLOCKS, WIDTH), dtype=np.float32)
    return (blocks / np.linalg.norm(blocks, axis=2, keepdims=True)).reshape(count, -1)
