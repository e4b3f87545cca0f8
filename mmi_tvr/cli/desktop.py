"""`desktop`: the library in the search box of GNOME, KDE or another desktop."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ..desktop import installing
from ..desktop.page import page_url
from ..desktop.players import default_command, launch
from ..library import Library
from ..serve.shared import SharedLibrary
from ..utils.environment import LIBRARY
from ..utils.installation import require
from ..utils.printable import printable
from ._console import ForceOption, JsonOption, LibraryOption, out, print_json, say

group = typer.Typer(help="The library in the search box of a desktop (D-Bus).", no_args_is_help=True)
NOT_INSTALLED = 1


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="desktop")


@group.command()
def install(
    *,
    library: Annotated[
        Path | None,
        typer.Option("--library", "-l", help=f"what is searched; default: what ${LIBRARY} says in the session"),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Have the desktop search this library: writes files below $XDG_DATA_HOME, and no others."""
    require("dbus_fast", "desktop")
    for path in installing.install(library, force):
        out.print(printable(path), markup=False)
    if library is None and LIBRARY in os.environ:
        say(f"{LIBRARY} counts where your session has it, too (not in this shell alone); else name it: --library")
    for note in installing.check(True).notes:
        say(escape(note))


@group.command()
def uninstall() -> None:
    """Remove what `install` wrote."""
    removed = installing.uninstall()
    for path in removed:
        out.print(printable(path), markup=False)
    if not removed:
        say("nothing is installed here")


@group.command()
def check(*, as_json: JsonOption = False) -> None:
    """Say what is installed, and what is missing. Exit code 1: it does not work yet."""
    report = installing.check(Library(installing.searched_library()).exists)
    if as_json:
        print_json(report.as_dict())
    else:
        for path, state in report.files.items():
            out.print(f"{state:<9} {printable(path)}", markup=False)
        out.print(f"searches  {printable(report.library)}", markup=False)
        for line in (*report.problems, *report.notes):
            say(escape(line))
    if report.problems:
        raise typer.Exit(NOT_INSTALLED)


@group.command()
def run(
    *,
    library: LibraryOption,
    idle_exit: Annotated[
        float, typer.Option("--idle-exit", metavar="SECONDS", min=0.1, help="end when so long nobody searched")
    ] = 300.0,
) -> None:
    """Answer the desktop until nobody searches any more; the desktop starts this by itself."""
    require("dbus_fast", "desktop")
    from ..desktop import running

    running.run(Library(library), idle_exit, lambda: say("ready"))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # a search that is under way has nobody left to answer, and nothing that it could lose


@group.command()
def show(*, library: LibraryOption) -> None:
    """Show the library's page in a browser; starts `mmi-tvr serve` where it does not run."""
    launch(default_command(page_url(SharedLibrary(Library(library)))))
