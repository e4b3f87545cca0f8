"""`data make`: a generated data set as files. `data check`: what is there of a benchmark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from .. import config, plugins
from ..errors import UsageError
from ..utils.tables import text_table
from ._console import JsonOption, ProgressBars, out, print_json, say

if TYPE_CHECKING:
    from ..datasets._benchmarks.check import Check, SplitCheck

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
    """Data sets that are rendered."""

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
        rendered = dataset.export(
            folder, limit, workers, lambda total: progress.begin("rendering", total), progress.advance
        )
    total = min(len(dataset.items), limit or len(dataset.items))
    say(f"{total} videos in {escape(str(folder))} ({rendered} new); try: mmi-tvr evaluate {escape(str(folder))}")


@group.command()
def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="msrvtt, msvd, lsmdc, didemo, activitynet or vatex")],
    root: Annotated[Path, typer.Option(metavar="DIR", help="the folder of the videos; sub-folders count")],
    annotations: AnnotationsOption = None,
    option: DataOption = None,
    probe: Annotated[bool, typer.Option(help="open every video, to find those that cannot be read")] = True,
    as_json: JsonOption = False,
) -> None:
    """Show what is there of a benchmark: splits with their official sizes, missing and unreadable videos, overlaps."""
    from ..datasets import _benchmarks

    with ProgressBars() as progress:
        report = _benchmarks.check(
            benchmark(name),
            benchmark_values(root, annotations, option),
            lambda total: progress.begin("opening", total),
            progress.advance,
            opening=probe,
        )
    if as_json:
        print_json(report.as_dict())
    else:
        out.print("\n".join(_check_lines(report)), markup=False)


def benchmark(name: str) -> str:
    """Return the name of a benchmark; raise UsageError, with the names that there are, for any other."""
    from ..datasets import _benchmarks

    if name not in (known := _benchmarks.benchmarks()):
        raise UsageError(f"no benchmark is called {name!r}; there are: {', '.join(known)}")
    return name


def benchmark_values(root: Path, annotations: Path | None, option: list[str] | None) -> dict[str, Any]:
    """Return the options of a benchmark, as the command line gives them."""
    values: dict[str, Any] = {"root": root}
    if annotations:
        values["annotations"] = annotations
    return values | config.read(config.Section, None, option or ()).options


def _check_lines(report: Check) -> Iterator[str]:
    """Yield what `data check` prints."""
    opened = "" if report.probed is None else f", {report.probed:,} opened"
    yield f"{report.title}: {report.files:,} files{opened}"
    several_variants = len({split.variant for split in report.splits}) > 1
    rows = [["split", "videos", "official", "captions", "official", "missing", "unreadable"]]
    rows += [_split_row(split, several_variants, report.probed is not None) for split in report.splits]
    yield from text_table(rows)
    yield from _remarks(report.splits)
    for overlap in report.overlaps:
        variant = f"{overlap.variant}: " if several_variants else ""
        yield (
            f"overlap: {variant}{overlap.ids:,} videos of {overlap.one} are in {overlap.other}, too; "
            f"{overlap.sources:,} are cut from a video that {overlap.other} uses, "
            f"{overlap.stretches:,} share a stretch of it"
        )
    if not report.overlaps:
        yield "overlap: none between splits"
    yield f"protocol: {report.protocol}"
    yield f"validation: {report.validation}"


def _split_row(split: SplitCheck, with_variant: bool, probed: bool) -> list[str]:
    """Return the cells of one split: counts of what is there beside the official ones."""
    title = f"{split.variant} {split.split}" if with_variant else split.split
    if split.error:
        return [title, *["-"] * 6]
    official = ["-" if size is None else f"{size:,}" for size in (split.official.videos, split.official.captions)]
    return [
        title,
        f"{split.videos:,}",
        official[0],
        f"{split.captions:,}",
        official[1],
        f"{len(split.missing):,}",
        f"{len(split.unreadable):,}" if probed else "-",
    ]


def _remarks(splits: Sequence[SplitCheck]) -> Iterator[str]:
    """Yield each note once, with the splits that it is about, then a few names for each kind of trouble."""
    splits_of_note: dict[str, list[str]] = {}
    for split in splits:
        for note in (*split.notes, *([split.error] if split.error else [])):
            splits_of_note.setdefault(note, []).append(split.split)
    for note, names in splits_of_note.items():
        yield f"note: {note} ({', '.join(dict.fromkeys(names))})"
    missing = list(dict.fromkeys(name for split in splits for name in split.missing))
    if missing:
        yield f"missing: {_first_names(missing)}"
    names_of_reason: dict[str, list[str]] = {}
    for name, reason in {name: reason for split in splits for name, reason in split.unreadable.items()}.items():
        names_of_reason.setdefault(reason, []).append(name)
    for reason in sorted(names_of_reason):
        yield f"unreadable, {reason}: {_first_names(names_of_reason[reason])}"


def _first_names(names: Sequence[str]) -> str:
    listed = ", ".join(names[:_SHOWN])
    return listed if len(names) <= _SHOWN else f"{listed}, ... ({len(names):,} in all; --json lists them)"
