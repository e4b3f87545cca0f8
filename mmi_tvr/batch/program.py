"""What the commands of this room share: how a batch is run, which engine runs it, and the words at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import yaml

from .. import plugins
from ..config import Section
from ..errors import UsageError, one_line
from ..utils.progress import Progress, Silent
from . import extract, infer, ray_engine, stopping
from .folder import Folder, State
from .supervise import FAILED, STOPPED, Place, Told, supervise, watch_parent
from .worker import Task, Worker, WorkerFailed

_SHOWN = 20  # quarantined items that are named


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a batch is run, whatever it does."""

    device: str = "auto"
    retry: bool = False  # try quarantined items again
    engine: Literal["processes", "ray"] = "processes"
    workers: int | None = None  # of ray: how many; default: one a GPU, else CPUs / 2


def task(folder: Folder, device: str, trec: Path | None = None) -> Task:
    """What is to be done in a folder."""
    if folder.manifest["job"] == infer.JOB:
        return infer.Infer(folder, device, trec)
    return extract.Extract(folder, device)


def work(path: Path, device: str, trec: Path | None, say: Callable[[str], None]) -> None:
    """A supervised worker's whole life."""
    watch_parent()
    folder, place = Folder(path), Place.here()
    try:
        with stopping.installed():
            Worker(folder, task(folder, place.device(device), trec)).run(place.rank / place.world)
    except WorkerFailed as error:
        say(str(error))
        raise SystemExit(FAILED) from error
    except SystemExit:
        raise SystemExit(STOPPED) from None


def run(
    folder: Folder,
    options: RunOptions,
    progress: Progress,
    worker_command: Sequence[str],
    trec: Path | None = None,
) -> State:
    """Work on a folder by the engine of `options`, until every shard is finished.

    Args:
        folder: what is to be done.
        options: how.
        progress: hears how many items all processes together have finished.
        worker_command: starts a process that calls `work` on this folder; the engine `processes` runs it.
        trec: where a TREC run is written when all is done.

    Returns:
        The folder's state at the end.
    """
    place = Place.here()
    if not speaks():
        progress = Silent()
    task(folder, options.device, trec)  # what cannot work says so before anything is started
    if options.retry and not place.rank:
        folder.reopen()
    if options.engine == "ray":
        make = partial(task, device=options.device)
        gpu = options.device in ("auto", "cuda")
        ray_engine.run(folder, make, Told(folder, progress), options.workers, gpu=gpu)
        Worker(folder, task(folder, options.device, trec)).finish()
    else:
        supervise(folder, worker_command, progress)
    return folder.state()


def speaks() -> bool:
    """Whether this is the process that tells people what happens: the first of its machine."""
    return not Place.here().local


def section(text: str | None) -> Section | None:
    """A data set as --dataset names it.

    >>> section("{name: moving_shapes, split: val}").options
    {'split': 'val'}
    """
    if text is None:
        return None
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--dataset {text}: no YAML: {one_line(error, limit=None)}") from error
    values = {"name": found} if isinstance(found, str) else found
    if not isinstance(values, dict) or not isinstance(values.get("name"), str):
        raise UsageError(f"--dataset takes a name, or {{name: NAME, OPTION: VALUE}}, not {text!r}")
    chosen = Section(**values)
    plugins.options("datasets", chosen.name, chosen.options)
    return chosen


def summary(folder: Folder, state: State) -> str:
    """What became of all items, for a person."""
    lines = [f"{state.good} of {state.items} items in {state.shards} shards: {folder.path}"]
    if state.quarantined:
        found = folder.quarantined()
        lines.append(f"{len(found)} quarantined (--retry tries them again):")
        lines += [f"  {name}: {reason}" for name, reason in found[:_SHOWN]]
        if len(found) > _SHOWN:
            lines.append(f"  and {len(found) - _SHOWN} more: the lines of {folder.path}/done/ that have a reason")
    return "\n".join(lines)
