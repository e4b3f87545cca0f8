"""The program: all commands, and how one of them is run in this process."""

from __future__ import annotations

from typing import Annotated, NoReturn

import typer

from .. import __version__
from ._console import command, invoke

app = typer.Typer(
    name="mmi-tvr",
    help="Describe a moment in a sentence; get the right video, at the right second.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(chosen: bool) -> None:
    if chosen:
        typer.echo(f"{app.info.name} {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


def run() -> NoReturn:
    """Run the command that the program's arguments name, and end with its exit code."""
    with command():
        from . import (
            batch,
            data,
            demo,
            describe,
            desktop,
            doctor,
            duplicates,
            evaluation,
            facets,
            gap,
            hub,
            library,
            mcp,
            models,
            open,
            people,
            probe,
            prompts,
            rerank,
            search,
            serve,
            training,
            transcribe,
            watch,
        )

        for module in (
            library,
            search,
            open,
            facets,
            duplicates,
            people,
            probe,
            transcribe,
            describe,
            evaluation,
            gap,
            prompts,
            rerank,
            data,
            training,
            batch,
            models,
            hub,
            serve,
            mcp,
            desktop,
            watch,
            doctor,
            demo,
        ):
            module.register(app)
        invoke(app, app.info.name)
