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

from .. import plugins
from . import stopping
from .folder import Folder
from .supervise import FAILED, Told
from .worker import Task, Worker, WorkerFailed

_CPUS = 0.5  # of each worker: one that asks for a whole processor can wait for ever for the stage that feeds it
_MOST_BLOCKS = 10_000


class Shards:
    """What Ray makes one of for each worker: takes batches of shard names."""

    def __init__(self, folder: str, make: Callable[[Folder], Task]) -> None:
        found = Folder(Path(folder))
        self._worker = Worker(found, make(found))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        for shard in batch["shard"]:
            try:
                self._worker.shard(str(shard))
            except WorkerFailed:
                os._exit(FAILED)  # it is noted; Ray starts a fresh process, as after any death
        return batch


def run(
    folder: Folder, make: Callable[[Folder], Task], told: Told, workers: int | None = None, gpu: bool = True
) -> None:
    """Work on every open shard. `workers`: how many processes (default: one a GPU, else one for every two CPUs);
    `gpu`: whether they want one each where the cluster has any."""
    shards = folder.open_shards()
    if not shards:
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = plugins.require("ray", "ray")
    data = plugins.require("ray.data", "ray")
    own = not ray.is_initialized()
    if own:
        ray.init(log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it would announce its plans
    there = ray.cluster_resources()
    gpus = int(there.get("GPU", 0)) if gpu else 0
    size = workers or gpus or max(1, int(there.get("CPU", 2)) // 2)
    done = data.from_items(
        [{"shard": shard} for shard in shards], override_num_blocks=min(len(shards), _MOST_BLOCKS)
    ).map_batches(
        Shards,
        fn_constructor_args=(str(folder.path.absolute()), make),
        batch_size=1,
        compute=data.ActorPoolStrategy(size=min(size, len(shards))),
        num_cpus=_CPUS,
        num_gpus=1 if gpus else 0,
    )
    try:
        with stopping.installed(), stopping.allowed():
            for _ in done.iter_rows():
                told.look()
    except BaseException:
        if own:
            ray.shutdown()
        folder.forgive()  # Ray ends workers without a word, and those who were at work are not to blame
        raise
    if own:
        ray.shutdown()
