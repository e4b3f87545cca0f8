"""Ranks of 10,000 captions among 10,000 videos, both directions: from blocks, against argsort of the full matrix.

Every run is a process of its own; its memory is its peak over what it held with the inputs loaded.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Iterator

import numpy as np

from benches import timing
from mmi_tvr.evaluation import metrics
from mmi_tvr.utils.tables import bounds

OURS = "blocks"
CONTENDERS = (OURS, "blocks + intervals", "full-matrix argsort")
WIDTH = 512
BLOCK = 256


def run(args: argparse.Namespace) -> Iterator[str]:
    count = 1000 if args.small else 10_000
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    memory: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    means = set()
    for number in range(args.repeats):
        turn = number % len(CONTENDERS)
        for name in CONTENDERS[turn:] + CONTENDERS[:turn]:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                took, peak, mean_ranks = pool.apply(_measure, (name, count))
            seconds[name].append(took)
            memory[name].append(peak)
            means.add(mean_ranks)
    if len(means) != 1:
        raise SystemExit(f"the contenders disagree about the mean ranks: {sorted(means)}")
    yield from timing.table(f"metrics: ranks of {count} x {count}, {WIDTH}-d, both directions", seconds, OURS)
    for name in CONTENDERS:
        low, middle, high = min(memory[name]), statistics.median(memory[name]), max(memory[name])
        yield f"  {name:<28} {middle:10.0f} MB over the inputs {bounds(low, high, digits=0)}"


def _inputs(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of videos, and of captions near them; made in place, so that nothing but them sets the peak."""
    rng = np.random.default_rng(0)
    videos = rng.standard_normal((count, WIDTH), dtype=np.float32)
    captions = rng.standard_normal((count, WIDTH), dtype=np.float32)
    captions *= 5
    captions += videos
    for vectors in (videos, captions):
        vectors /= np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None]
    return captions, videos


def _from_blocks(captions: np.ndarray, videos: np.ndarray, intervals: bool) -> tuple[float, float]:
    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, len(captions), BLOCK):
            yield captions[start : start + BLOCK] @ videos.T

    ranks = metrics.both_directions(blocks, [{place} for place in range(len(captions))])
    resamples = 1000 if intervals else 0
    sides = [metrics.summary(side, resamples=resamples) for side in (ranks.t2v, ranks.v2t)]
    return sides[0].mnr, sides[1].mnr


def _by_argsort(captions: np.ndarray, videos: np.ndarray) -> tuple[float, float]:
    scores = captions @ videos.T
    return _argsort_ranks(scores), _argsort_ranks(scores.T)


def _argsort_ranks(scores: np.ndarray) -> float:
    order = np.argsort(-scores, axis=1)
    return float((np.argmax(order == np.arange(len(scores))[:, None], axis=1) + 1).mean())


def _measure(name: str, count: int) -> tuple[float, float, tuple[float, float]]:
    """Seconds, MB over the inputs, and the mean ranks of one contender."""
    inputs = _inputs(count)
    before = timing.peak()
    started = time.perf_counter()
    mean_ranks = (
        _by_argsort(*inputs) if name == CONTENDERS[-1] else _from_blocks(*inputs, intervals="intervals" in name)
    )
    return time.perf_counter() - started, timing.peak() - before, mean_ranks
