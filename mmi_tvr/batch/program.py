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
from ..utils.interruption import Interrupted
from ..utils.printable import printable
from ..utils.progress import Progress, Silent
from ..utils.wording import counted
from . import extract, infer, ray_engine
from .folder import BatchFolder, BatchState
from .stopping import deferred_signals
from .supervise import FAILED, STOPPED, StatusReporter, WorkerSlot, supervise, watch_parent
from .worker import Task, Worker, WorkerFailed

_MAX_NAMED = 20  # quarantined items that are named


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a batch is run, whatever it does."""

    device: str = "auto"  # or cpu, cuda, cuda:N, mps
    retry: bool = False  # try quarantined items again
    engine: Literal["processes", "ray"] = "processes"
    workers: int | None = None  # of ray: how many; default: one a GPU, else CPUs / 2


def make_task(folder: BatchFolder, device: str, trec: Path | None = None) -> Task:
    """Return what is to be done in a folder."""
    if folder.manifest["job"] == infer.JOB:
        return infer.InferTask(folder, device, trec)
    return extract.ExtractTask(folder, device)


def run_worker(path: Path, device: str, trec: Path | None, say: Callable[[str], None]) -> None:
    """Be a supervised worker of a folder: work until every shard is finished, or exit with a code that says why not.

    Args:
        path: the folder.
        device: auto, cpu, cuda, cuda:N or mps.
        trec: of queries: the file of the TREC run.
        say: prints a line.
    """
    watch_parent()
    folder, slot = BatchFolder(path), WorkerSlot.from_environment()
    try:
        with deferred_signals():
            Worker(folder, make_task(folder, slot.device(device), trec)).run(slot.rank / slot.world)
    except WorkerFailed as error:
        say(str(error))
        raise SystemExit(FAILED) from error
    except Interrupted:
        raise SystemExit(STOPPED) from None


def run(
    folder: BatchFolder,
    options: RunOptions,
    progress: Progress,
    worker_command: Sequence[str],
    trec: Path | None = None,
) -> BatchState:
    """Work on a folder until every shard is finished.

    Args:
        folder: what is worked on.
        options: how.
        progress: hears how many items all workers have finished; only on the first process of each machine.
        worker_command: starts a process that calls `run_worker` for this folder; the engine `processes` runs it.
        trec: of queries: the file of the TREC run.
    Returns:
        How far the work is, which is to its end.
    """
    slot = WorkerSlot.from_environment()
    if not is_first_of_machine():
        progress = Silent()
    make_task(folder, options.device, trec)  # what cannot work says so before anything is started
    if options.retry and slot.rank == 0:
        folder.reopen()
    if options.engine == "ray":
        reporter = StatusReporter(folder, progress)
        gpu = options.device in ("auto", "cuda")
        ray_engine.run(folder, partial(make_task, device=options.device), reporter, options.workers, gpu)
        Worker(folder, make_task(folder, options.device, trec)).finish()
    else:
        supervise(folder, worker_command, progress)
    return folder.state()


def is_first_of_machine() -> bool:
    """Return whether this process is the one of its machine that tells people what happens."""
    return WorkerSlot.from_environment().local in (None, 0)


def dataset_section(text: str | None) -> Section | None:
    """Return the data set that --dataset names, its options checked.

    >>> dataset_section("{name: moving_shapes, split: val}").options
    {'split': 'val'}
    """
    if text is None:
        return None
    try:
        parsed = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"--dataset {text}: no YAML: {one_line(error, limit=None)}") from error
    values = {"name": parsed} if isinstance(parsed, str) else parsed
    if not isinstance(values, dict) or not isinstance(values.get("name"), str):
        raise UsageError(f"--dataset takes a name, or {{name: NAME, OPTION: VALUE}}, not {text!r}")
    section = Section(**values)
    plugins.options("datasets", section.name, section.options)
    return section


def summary(folder: BatchFolder, state: BatchState) -> str:
    """Say for a person what became of all items."""
    where = printable(folder.path)
    lines = [f"{state.succeeded} of {counted(state.items, 'item')} in {counted(state.shards, 'shard')}: {where}"]
    if state.quarantined:
        quarantined = folder.quarantined()
        lines.append(f"{len(quarantined)} quarantined (--retry tries them again):")
        lines += [f"  {printable(name)}: {printable(reason)}" for name, reason in quarantined[:_MAX_NAMED]]
        if hidden := len(quarantined[_MAX_NAMED:]):
            lines.append(f"  and {hidden} more: the lines of {where}/done/ that have a reason")
    return "\n".join(lines)
