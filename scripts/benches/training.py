"""Training with the bundled model: a step with and without gradient caching, features cached or made every epoch.

Every measurement of a step is a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benches import timing

CONFIG = Path(__file__).parents[2] / "configs" / "moving_shapes.yaml"
PLAIN = "plain"


def run(args: argparse.Namespace) -> Iterator[str]:
    batch, chunk, videos = (16, 4, 16) if args.small else (512, 64, 512)
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        yield from _features(cache, videos, args.repeats)
        yield from _steps(cache, batch, chunk, max(1, args.repeats if args.small else min(3, args.repeats)))


def _steps(cache: Path, batch: int, chunk: int, repeats: int) -> Iterator[str]:
    contenders = {f"cached gradient, {chunk} at a time": chunk, PLAIN: None}
    ours = next(iter(contenders))
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    memory: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, size in contenders.items():
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                took, used = pool.apply(_step, (cache, batch, size))
            seconds[name].append(took)
            memory[name].append(used)
    yield from timing.table(f"training: one step of {batch} pairs, contrastive", seconds, ours)
    for name, used in memory.items():
        yield f"  {name:<28} {statistics.median(used):10.0f} MB above the loaded model and batch"


def _features(cache: Path, videos: int, repeats: int) -> Iterator[str]:
    """An epoch's features: read from the cache, or decoded and encoded again; then embeddings from features."""
    from mmi_tvr.features.cache import FeatureCache
    from mmi_tvr.features.lazy import stored_features

    model, paths, method, _ = _parts(videos)
    stored = stored_features(paths, model, method, FeatureCache(cache))

    def read() -> object:
        return stored_features(paths, model, method, FeatureCache(cache))[:]

    def decode() -> object:
        with tempfile.TemporaryDirectory() as other:
            return stored_features(paths, model, method, FeatureCache(Path(other)))[:]

    seconds = timing.rounds({"cached": read, "decoded again": decode}, min(repeats, 3))
    yield from timing.table(f"training: features of {videos} videos", seconds, "cached")
    features = stored[:]
    started = time.perf_counter()
    model.embed_videos(features)
    yield f"  embedding from features: {videos / (time.perf_counter() - started):.0f} videos/s"
    rate = videos / statistics.median(seconds["decoded again"])
    yield f"  decoding, key images and vision tower: {rate:.0f} videos/s"


def _parts(videos: int) -> tuple[Any, list[Any], Any, Any]:
    from mmi_tvr import models, plugins
    from mmi_tvr.train.settings import load

    settings = load(CONFIG)
    dataset = plugins.build("datasets", "moving_shapes", {"split": "train", "count": videos})
    dataset.generate()
    model = models.trainable(settings.model, "cpu")
    method = plugins.build("keyimages", settings.keyimages.name, settings.keyimages.options)
    return model, [sample.video for sample in dataset.samples()[:]], method, dataset


def _step(cache: Path, batch: int, chunk: int | None) -> tuple[float, float]:
    """Seconds of the second step, and the peak memory over what was there before the first."""
    import torch

    from mmi_tvr.features.cache import FeatureCache
    from mmi_tvr.features.lazy import stored_features
    from mmi_tvr.nn.losses import Temperature
    from mmi_tvr.train.objective import Objective
    from mmi_tvr.train.pairs import PairBatches

    model, videos, method, dataset = _parts(batch)
    features = stored_features(videos, model, method, FeatureCache(cache))
    data = PairBatches(model, dataset.samples(), features, range(len(videos)), dataset.groups(), batch=batch, seed=0)
    held = next(data.epoch(0))
    model.network.train()
    objective = Objective(model.network, Temperature(), chunk=chunk, bf16=False, device=torch.device("cpu"))
    before = timing.peak()
    objective.backward(held, {"contrastive": 1.0})
    started = time.perf_counter()
    objective.backward(held, {"contrastive": 1.0})
    return time.perf_counter() - started, timing.peak() - before
