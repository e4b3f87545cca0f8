"""`train`: a model from a settings file (docs/training.md)."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ..utils import array_cache
from ..utils.wording import counted
from ._console import SetOption, out, say, show_progress
from ._pools import PoolsOption, settings_with_pools


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
    if pools is not None or "skeleton" in options.train.terms():
        options = settings_with_pools(options, pools)
    from ..train.run import run
    from ..utils import distributed

    with show_progress() as progress:
        outcome = run(
            options,
            output,
            cache=array_cache.folder() / "features",
            resume=resume,
            cpu=cpu,
            progress=progress,
        )
    if outcome.finished:
        best = f", best validation {outcome.best.value:.1f} at step {outcome.best.step}" if outcome.best else ""
        data = options.data.train
        target = data.options["root"] if data.name == "folder" else data.name
        hint = f"try: mmi-tvr evaluate {shlex.quote(str(target))} --model {shlex.quote(str(output / 'model'))}"
        out.print(f"{counted(outcome.step, 'step')}{best}; {hint}", markup=False)
    else:
        say(f"stopped at step {outcome.step}; go on with --resume: {escape(str(output))}")
    distributed.leave_group()
