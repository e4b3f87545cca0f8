"""`train`: a model from a settings file (docs/training.md)."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..config import Section
from ..train.options import DISTILL, SKELETON
from ..utils import array_cache
from ..utils.interruption import Interrupted
from ..utils.wording import counted
from ._console import SetOption, out, show_progress
from ._pools import PoolsOption, settings_with_pools

if TYPE_CHECKING:
    from ..train.loop import Outcome

_OF_THE_TRAINING = {"split", "limit", "missing", "allowed", "hold_out"}  # options of data that a test has otherwise


def register(app: typer.Typer) -> None:
    app.command()(train)


def train(
    settings: Annotated[Path, typer.Option("--config", help="settings file with `data` and `train`")],
    output: Annotated[Path, typer.Option("--output", help="folder of the run")],
    set_: SetOption = None,
    pools: PoolsOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the newest checkpoint")] = False,
    cpu: Annotated[bool, typer.Option("--cpu", help="leave accelerators alone")] = False,
) -> None:
    """Train a model. Several processes: accelerate launch -m mmi_tvr.cli train --config FILE --output RUN."""
    from ..train import settings as training

    options = training.load(settings, set_ or ())
    if pools is not None or {SKELETON, DISTILL}.intersection(options.train.terms()):
        options = settings_with_pools(options, pools)
    from ..train.run import run
    from ..utils import distributed

    try:
        with show_progress() as progress:
            outcome = run(
                options,
                output,
                cache=array_cache.folder() / "features",
                resume=resume,
                cpu=cpu,
                progress=progress,
            )
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted: with --resume it goes on from the newest checkpoint: {output}") from None
    is_first = distributed.rank() == 0
    if is_first and outcome.finished:
        _say_outcome(outcome, options.data.train, output)
    distributed.leave_group()
    if is_first and not outcome.finished:
        raise Interrupted(f"stopped at step {outcome.step}; go on with --resume: {output}")


def _say_outcome(outcome: Outcome, data: Section, output: Path) -> None:
    """Print how a finished run ended, and what to do next."""
    best = f", best validation {outcome.best.value:.1f} at step {outcome.best.step}" if outcome.best else ""
    words = [*_data_words(data), "--model", str(output / "model")]
    hint = f"try: mmi-tvr evaluate {shlex.join(words)}"
    out.print(f"{counted(outcome.step, 'step')}{best}; {hint}", markup=False)


def _data_words(data: Section) -> list[str]:
    """Return a data set as `evaluate` names it. Its test split has the folders and the options of the training data."""
    values = {name: str(value) for name, value in data.options.items() if name not in _OF_THE_TRAINING}
    if data.name == "folder":
        return [values["root"]]
    if "root" not in values:
        return [data.name]
    folders = [word for name in ("root", "annotations") if name in values for word in (f"--{name}", values.pop(name))]
    return [data.name, *folders, *(word for pair in values.items() for word in ("--option", "=".join(pair)))]
