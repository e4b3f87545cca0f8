"""`open`: a hit of the last search, in a player at its second."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer
from rich.markup import escape

from ..desktop.players import launch, open_command
from ..errors import UsageError
from ..utils.printable import printable
from ._console import LibraryOption, say
from ._last_search import forget, remembered_hit


def register(app: typer.Typer) -> None:
    app.command("open")(open_hit)


def open_hit(
    number: Annotated[
        int | None, typer.Argument(metavar="N", help="of the last search's hits, as it counted them")
    ] = None,
    *,
    library: LibraryOption,
    print_: Annotated[bool, typer.Option("--print", help="print the command instead of running it")] = False,
    forget_: Annotated[bool, typer.Option("--forget", help="forget the last search of this library")] = False,
) -> None:
    """Open hit N of the last search in mpv or VLC, at its second, or else with the default application."""
    if forget_:
        if number is not None:
            raise UsageError("--forget forgets all hits; leave out N")
        say("forgotten" if forget(library) else "nothing was remembered of this library")
        return
    if number is None:
        raise UsageError("which hit? mmi-tvr open 1")
    hit = remembered_hit(library, number)
    path = hit.path
    command = open_command(path, hit.second)
    if print_:
        typer.echo(shlex.join(command))
        return
    say(escape(f"{command[0]}: {printable(path)}"))
    launch(command)
