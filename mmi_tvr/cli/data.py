"""`data make`: a generated data set as files. `data check`: what is there of a benchmark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from .. import config, plugins
from ..errors import UsageError
from ..utils.tables import text_table
from ._console import JsonOption, ProgressBars, out, print_json, say

group = typer.Typer(help="Data sets as files.", no_args_is_help=True)
_SHOWN = 5

RootOption = Annotated[Path | None, typer.Option(metavar="DIR", help="of a benchmark: the folder of its videos")]
AnnotationsOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="of a benchmark: its annotation files; default: annotations in root, else root"),
]
DataOption = Annotated[
    list[str] | None,
    typer.Option("--option", "-o", metavar="KEY=VALUE", help="of a benchmark, such as protocol=7k or language=zh"),
]


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
    with ProgressBars() as progress:
        made = dataset.export(
            folder, limit, workers, lambda total: progress.begin("rendering", total), progress.advance
        )
    total = min(len(dataset.items), limit or len(dataset.items))
    say(f"{total} videos in {escape(str(folder))} ({made} new); try: mmi-tvr evaluate {escape(str(folder))}")


@group.command()
def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="msrvtt, msvd, lsmdc, didemo, activitynet or vatex")],
    root: Annotated[Path, typer.Option(metavar="DIR", help="the folder of the videos; sub-folders count")],
    annotations: AnnotationsOption = None,
    option: DataOption = None,
    probe: Annotated[bool, typer.Option(help="open every video, to find those that cannot be read")] = True,
    as_json: JsonOption = False,
) -> None:
    """What is there of a benchmark: its splits with their official sizes, missing and unreadable videos, overlaps."""
    from ..datasets import _benchmarks

    with ProgressBars() as progress:
        found = _benchmarks.check(
            benchmark(name),
            benchmark_values(root, annotations, option),
            lambda total: progress.begin("opening", total),
            progress.advance,
            opening=probe,
        )
    if as_json:
        print_json(found.as_dict())
    else:
        out.print("\n".join(_screen(found)), markup=False)


def benchmark(name: str) -> str:
    """The name of a benchmark; UsageError, with the names that there are, for any other."""
    from ..datasets import _benchmarks

    if name not in (known := _benchmarks.benchmarks()):
        raise UsageError(f"no benchmark is called {name!r}; there are: {', '.join(known)}")
    return name


def benchmark_values(root: Path, annotations: Path | None, option: list[str] | None) -> dict[str, Any]:
    """Its options, as the command line gives them."""
    more = config.read(config.Section, None, option or ()).options
    return {"root": root, **({"annotations": annotations} if annotations else {}), **more}


def _screen(found: Any) -> Iterator[str]:
    opened = "" if found.probed is None else f", {found.probed:,} opened"
    yield f"{found.title}: {found.files:,} files{opened}"
    many = len({each.variant for each in found.splits}) > 1
    rows = [["split", "videos", "official", "captions", "official", "missing", "unreadable"]]
    for each in found.splits:
        title = f"{each.variant} {each.split}" if many else each.split
        if each.error:
            rows.append([title, *["-"] * 6])
            continue
        official = ["-" if size is None else f"{size:,}" for size in (each.official.videos, each.official.captions)]
        unreadable = "-" if found.probed is None else f"{len(each.unreadable):,}"
        rows.append(
            [
                title,
                f"{each.videos:,}",
                official[0],
                f"{each.captions:,}",
                official[1],
                f"{len(each.missing):,}",
                unreadable,
            ]
        )
    yield from text_table(rows)
    yield from _remarks(found.splits)
    for each in found.overlaps:
        where = f"{each.variant}: " if many else ""
        yield (
            f"overlap: {where}{each.ids:,} videos of {each.one} are in {each.other}, too; {each.sources:,} are cut "
            f"from a video that {each.other} uses, {each.stretches:,} share a stretch of it"
        )
    if not found.overlaps:
        yield "overlap: none between splits"
    yield f"protocol: {found.protocol}"
    yield f"validation: {found.validation}"


def _remarks(splits: Any) -> Iterator[str]:
    """What is said of several splits is printed once; a few names for each kind of trouble."""
    said = [(text, each.split) for each in splits for text in (*each.notes, *([each.error] if each.error else []))]
    for text in dict.fromkeys(text for text, _ in said):
        yield f"note: {text} ({', '.join(dict.fromkeys(split for words, split in said if words == text))})"
    gone = dict.fromkeys(name for each in splits for name in each.missing)
    if gone:
        yield f"missing: {_some(gone)}"
    bad: Mapping[str, str] = {name: reason for each in splits for name, reason in each.unreadable.items()}
    for reason, names in groupby(sorted(bad, key=lambda name: bad[name]), key=lambda name: bad[name]):
        yield f"unreadable, {reason}: {_some(list(names))}"


def _some(names: Any) -> str:
    listed = list(names)
    return ", ".join(listed[:_SHOWN]) + (
        f", ... ({len(listed):,} in all; --json lists them)" if len(listed) > _SHOWN else ""
    )
