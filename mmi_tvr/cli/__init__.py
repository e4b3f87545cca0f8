"""The command line: one thin function per command. Answers go to stdout, everything else to stderr."""

from __future__ import annotations

import typer

from ._console import command

app = typer.Typer(
    name="mmi-tvr",
    help="Describe a moment in a sentence; get the right video, at the right second.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run a command. Exit code 0: done; 1: failed; 2: wrong use; 130: interrupted."""
    with command():
        from . import batch, data, demo, doctor, evaluation, hub, probe, prompts, search, training

        for module in (search, probe, evaluation, prompts, data, training, batch, hub, doctor, demo):
            module.register(app)
        app()
