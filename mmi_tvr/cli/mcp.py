"""`mcp`: a library as tools of an assistant."""

from __future__ import annotations

from typing import Annotated

import typer

from ..library import Library
from ..serve.shared import SharedLibrary
from ..utils.installation import require
from ._console import LibraryOption


def register(app: typer.Typer) -> None:
    app.command()(mcp)


def mcp(
    *,
    library: LibraryOption,
    texts: Annotated[
        bool, typer.Option("--texts", help="let the assistant see what is said and written in hits, too")
    ] = False,
) -> None:
    """Answer an assistant on standard input and output (Model Context Protocol): search, moments, describe, status.

    It is started by the assistant, and reads the library alone.
    """
    require("mcp", "mcp")
    from ..serve import assistants

    shared = SharedLibrary(Library(library))
    try:
        assistants.run(shared, texts)
    finally:
        shared.close()
