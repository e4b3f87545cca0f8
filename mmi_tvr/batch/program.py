"""What the scripts of this room share: their common options, which engine runs, and the words at the end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import yaml

from .. import plugins
from ..config import Section
from ..errors import UsageError
from ..utils.progress import Progress, Silent
from . import extract, infer, ray_engine, stopping
from .folder import Folder, State
from .supervise import FAILED, STOPPED, Place, Told, supervise, watch_parent
from .worker import Task, Worker, WorkerFailed

_SHOWN = 20  # quarantined items that are named
_WORKER = "--worker"  # what a supervised worker's command line ends with


def add_options(parser: argparse.ArgumentParser, shard: int) -> None:
    """The options that do not say what is done, but how."""
    parser.add_argument("--output", type=Path, required=True, help="folder of the results, shared by all processes")
    parser.add_argument("--column", help="which column of a list to read")
    parser.add_argument("--id-column", help="which column holds the ids")
    parser.add_argument("--shard", type=int, default=shard, help="items in a file of results")
    parser.add_argument("--engine", choices=("processes", "ray"), default="processes")
    parser.add_argument("--workers", type=int, help="of --engine ray: how many (default: one a GPU, else CPUs / 2)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--retry", action="store_true", help="try quarantined items again")
    parser.add_argument(_WORKER, action="store_true", help=argparse.SUPPRESS)


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


def run(folder: Folder, args: argparse.Namespace, progress: Progress, trec: Path | None = None) -> State:
    """Work on a folder by the engine that was asked for, until every shard is finished."""
    place = Place.here()
    if not speaks():
        progress = Silent()
    task(folder, args.device, trec)  # what cannot work says so before anything is started
    if args.retry and not place.rank:
        folder.reopen()
    if args.engine == "ray":
        make = partial(task, device=args.device)
        ray_engine.run(folder, make, Told(folder, progress), args.workers, gpu=args.device in ("auto", "cuda"))
        Worker(folder, task(folder, args.device, trec)).finish()
    else:
        supervise(folder, [sys.executable, *sys.argv, _WORKER], progress)
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
        raise UsageError(f"--dataset {text}: no YAML: {' '.join(str(error).split())}") from error
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
