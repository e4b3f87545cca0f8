"""`data make`: a generated data set as files."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from .. import plugins
from ._console import Watch, say

group = typer.Typer(help="Data sets as files.", no_args_is_help=True)


class Generated(str, Enum):
    """Data sets that are made, not found."""

    moving_shapes = "moving_shapes"


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="data")


@group.command()
def make(
    name: Annotated[Generated, typer.Argument(help="which data set", metavar="moving_shapes")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="where it goes; one split per folder")],
    split: Annotated[str, typer.Option(help="train, val, test; or a contrast set: order, direction, ...")] = "test",
    limit: Annotated[int | None, typer.Option(min=1, help="only the first so many videos")] = None,
    size: Annotated[int, typer.Option(help="width and height in pixels")] = 96,
    fps: Annotated[int, typer.Option(help="frames per second")] = 10,
    workers: Annotated[int | None, typer.Option(min=1, help="processes; default: one per processor")] = None,
) -> None:
    """Write videos, their annotation in MSR-VTT's layout, and captions.tsv. Run it again to go on where it stopped."""
    dataset = plugins.build("datasets", name.value, {"split": split, "size": size, "fps": fps})
    with Watch() as watch:
        made = dataset.export(folder, limit, workers, lambda total: watch.begin("rendering", total), watch.advance)
    total = min(len(dataset.items), limit or len(dataset.items))
    say(f"{total} videos in {escape(str(folder))} ({made} new); try: mmi-tvr evaluate {escape(str(folder))}")
