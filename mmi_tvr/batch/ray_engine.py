"""The workers of `worker`, started and fed by Ray Data: on a cluster that is there, or on this machine.

Ray hands out shards and starts a new worker where one dies; leases, journals and quarantine are as ever, so a folder
that one engine has begun can be finished by another.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..utils.installation import require
from .folder import BatchFolder
from .stopping import deferred_signals, interruptible
from .supervise import FAILED, StatusReporter
from .worker import Task, Worker, WorkerFailed

_CPUS = 0.5  # of each worker: one that asks for a whole processor can wait for ever for the stage that feeds it
_MAX_BLOCKS = 10_000
TaskFactory = Callable[[BatchFolder], Task]


class RayWorker:
    """What Ray makes one of for each worker: takes batches of shard names."""

    def __init__(self, path: str, make_task: TaskFactory) -> None:
        folder = BatchFolder(Path(path))
        self._worker = Worker(folder, make_task(folder))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        for shard in batch["shard"]:
            try:
                self._worker.run_shard(str(shard))
            except WorkerFailed:
                os._exit(FAILED)  # it is noted; Ray starts a fresh process, as after any death
        return batch


def run(
    folder: BatchFolder,
    make_task: TaskFactory,
    reporter: StatusReporter,
    workers: int | None = None,
    gpu: bool = True,
) -> None:
    """Work on every open shard.

    Args:
        folder: what is worked on.
        make_task: makes the task of each worker, in the worker's process.
        reporter: is updated as shards are finished.
        workers: how many processes; default: one a GPU, else one for every two CPUs.
        gpu: whether they want a GPU each where the cluster has any.
    """
    shards = folder.open_shards()
    if not shards:
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = require("ray", "ray")
    starts_ray = not ray.is_initialized()
    if starts_ray:
        ray.init(log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    finished_shards = _mapped(folder, make_task, shards, workers, gpu)
    try:
        with deferred_signals(), interruptible():
            for _ in finished_shards.iter_rows():
                reporter.update()
    except BaseException:
        if starts_ray:
            ray.shutdown()
        folder.withdraw_crashed_tries()  # Ray ends workers without a word, and what they worked on is not to blame
        raise
    if starts_ray:
        ray.shutdown()


def _mapped(folder: BatchFolder, make_task: TaskFactory, shards: list[str], workers: int | None, gpu: bool) -> Any:
    """Return the data set of finished shards, which Ray works on while it is read."""
    ray, data = require("ray", "ray"), require("ray.data", "ray")
    data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it would announce its plans
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0)) if gpu else 0
    pool_size = workers or gpus or max(1, int(resources.get("CPU", 2)) // 2)
    listed = data.from_items([{"shard": shard} for shard in shards], override_num_blocks=min(len(shards), _MAX_BLOCKS))
    return listed.map_batches(
        RayWorker,
        fn_constructor_args=(str(folder.path.absolute()), make_task),
        batch_size=1,
        compute=data.ActorPoolStrategy(size=min(pool_size, len(shards))),
        num_cpus=_CPUS,
        num_gpus=1 if gpus else 0,
    )
