"""`serve`: a library behind HTTP, and one process that holds its model for every other door."""

from __future__ import annotations

import os
import sys
import webbrowser
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from ..library import Library
from ..utils.installation import require
from ..utils.wording import library_option
from ._console import JsonOption, LibraryOption, out, print_line, say

if TYPE_CHECKING:
    from ..serve.running import RunningService


def register(app: typer.Typer) -> None:
    app.command()(serve)


def serve(
    *,
    library: LibraryOption,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free")] = 0,
    host: Annotated[str, typer.Option(help="where to listen; beyond this machine, a token is needed")] = "127.0.0.1",
    open_: Annotated[bool, typer.Option("--open", help="show the page in a browser")] = False,
    idle_exit: Annotated[
        float | None, typer.Option("--idle-exit", metavar="SECONDS", min=0.1, help="end when so long nobody asked")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Serve a library: a page and an API on this machine, and quick commands. Ends with Ctrl-C.

    While it runs, `search`, `facets` and `status` of this library ask it and load no model themselves.
    """
    require("fastapi", "serve")
    require("uvicorn", "serve")
    from ..serve.running import ServiceOptions, run
    from ._resident import ResidentCommands
    from .app import app

    def ready(service: RunningService) -> None:
        if as_json:
            print_line(service.as_dict())
        else:
            out.print(service.url, markup=False)
        _say_exposure(service, host)
        if open_:
            webbrowser.open(service.url)

    opened = Library(library)
    if not opened.exists:
        say(f"no library is here yet; make one: mmi-tvr index DIR {escape(library_option(library))}")
    run(opened, ServiceOptions(host, port, idle_exit), ResidentCommands(app, opened), ready)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # a search that is under way has nobody left to answer, and nothing that it could lose


def _say_exposure(service: RunningService, host: str) -> None:
    """Say who can reach the service, and by what."""
    if service.needs_token:
        say(
            f"[yellow]whoever reaches {escape(host)} and has the token[/] in {escape(str(service.token_file))} can "
            "search this library, see and copy its files, and have it indexed; nothing is encrypted on the way"
        )
    if not service.has_socket:
        say("commands of this library work without this service: no socket can be made where it lies")
