"""The command line: one thin function per command. Answers go to stdout, everything else to stderr."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from ..device import calm_threads
from ..errors import MmiTvrError, UsageError
from ._console import say

_INTERRUPTED = 130  # what typer makes of Ctrl-C

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
    from . import data, demo, doctor, evaluation, searching

    calm_threads()
    for module in (searching, evaluation, data, doctor, demo):
        module.register(app)
    try:
        app()
    except MmiTvrError as error:
        _fail(str(error), 2 if isinstance(error, UsageError) else 1)
    except OSError as error:  # a full disk, a folder that may not be written
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), 1)
    except SystemExit as stop:
        if stop.code == _INTERRUPTED:
            say("interrupted: nothing is lost; run the same command again to go on")
        raise


def _fail(message: str, code: int) -> NoReturn:
    from rich.markup import escape

    say(f"[red]error:[/] {escape(message)}")
    sys.exit(code)
