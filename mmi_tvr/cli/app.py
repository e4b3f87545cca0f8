"""The program: all commands, and how one of them is run in this process."""

from __future__ import annotations

import importlib
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from .. import __version__
from ._console import command, invoke

# Command, in the order of --help -> the module of this package that registers it.
COMMANDS = {
    "index": "library",
    "status": "library",
    "remove": "library",
    "search": "search",
    "open": "open",
    "facets": "facets",
    "duplicates": "duplicates",
    "people": "people",
    "probe": "probe",
    "transcribe": "transcribe",
    "describe": "describe",
    "evaluate": "evaluation",
    "compare": "evaluation",
    "table": "evaluation",
    "gap": "gap",
    "prompts": "prompts",
    "rerank": "rerank",
    "data": "data",
    "train": "training",
    "batch": "batch",
    "models": "models",
    "hub": "hub",
    "serve": "serve",
    "mcp": "mcp",
    "desktop": "desktop",
    "watch": "watch",
    "doctor": "doctor",
    "demo": "demo",
}


class Commands(TyperGroup):
    """All commands; the module of one is imported when it is asked for, so that a search imports that of searches."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        # For an unknown name all of them: the parser looks for one that is spelled alike.
        for name in [cmd_name] if cmd_name in COMMANDS else COMMANDS:
            if name not in self.commands:
                self.commands.update(_registered_by(COMMANDS[name]))
        return super().get_command(ctx, cmd_name)


def _registered_by(module: str) -> dict[str, Any]:
    part = typer.Typer()
    importlib.import_module(f".{module}", __package__).register(part)
    return dict(typer.main.get_group(part).commands)


app = typer.Typer(
    name="mmi-tvr",
    help="Describe a moment in a sentence; get the right video, at the right second.",
    cls=Commands,
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
        invoke(app, app.info.name)
