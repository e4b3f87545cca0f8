"""`data make`: a generated data set as files. `data check`: what is there of a benchmark. `data convert-frozen` and
`data convert-clip-vip`: checkpoints that others published as pickles."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from enum import Enum
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from .. import config, plugins
from ..errors import UsageError
from ..utils import files
from ..utils.tables import text_table
from ..utils.wording import counted
from ._console import JsonOption, out, print_json, say, show_progress

if TYPE_CHECKING:
    from ..datasets import BenchmarkCheck, SplitCheck

group = typer.Typer(help="Data sets as files.", no_args_is_help=True)
_MAX_NAMED = 5  # videos
_CAST_PAGE = "page.html"

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
    moving_faces = "moving_faces"


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="data")


@group.command()
def make(
    name: Annotated[Generated, typer.Argument(help="which data set", metavar="moving_shapes|moving_faces")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="where it goes; one split per folder")],
    split: Annotated[
        str, typer.Option(help="train, val, test; or a contrast set of moving_shapes: order, direction, ...")
    ] = "test",
    limit: Annotated[int | None, typer.Option(min=1, help="only the first so many videos")] = None,
    size: Annotated[
        int | None,
        typer.Option(min=32, max=1024, help="width and height in pixels, an even number; default: 96, of faces 64"),
    ] = None,
    fps: Annotated[int, typer.Option(min=1, max=60, help="frames per second")] = 10,
    workers: Annotated[int | None, typer.Option(min=1, help="processes; default: one per processor")] = None,
) -> None:
    """Write videos, their annotation in MSR-VTT's layout, and captions.tsv. Run it again to go on where it stopped."""
    options = {"split": split, "fps": fps} | ({} if size is None else {"size": size})
    dataset = plugins.build("datasets", name.value, options)
    with show_progress() as progress:
        rendered = dataset.export(
            folder, limit, workers, lambda total: progress.begin("rendering", total), progress.advance
        )
    total = min(len(dataset.items), limit or len(dataset.items))
    say(
        f"{counted(total, 'video')} in {escape(str(folder))} ({rendered} new); "
        f"try: mmi-tvr evaluate {escape(shlex.quote(str(folder)))}"
    )


@group.command()
def check(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="a benchmark, such as msrvtt, or webvid, cc3m, hgr; a wrong one names all"),
    ],
    root: Annotated[Path, typer.Option(metavar="DIR", help="the folder of the videos; sub-folders count")],
    annotations: AnnotationsOption = None,
    option: DataOption = None,
    probe: Annotated[bool, typer.Option(help="open every video, to find those that cannot be read")] = True,
    as_json: JsonOption = False,
) -> None:
    """Show what is there of a benchmark: splits with their official sizes, missing and unreadable videos, overlaps."""
    from .. import datasets

    with show_progress() as progress:
        result = datasets.check_benchmark(
            benchmark_name(name),
            benchmark_options(root, annotations, option),
            lambda total: progress.begin("opening", total),
            progress.advance,
            opening=probe,
        )
    if as_json:
        print_json(result.as_dict())
    else:
        out.print("\n".join(_report(result)), markup=False)


@group.command("build-cia")
def build_cia(
    clips: Annotated[Path, typer.Argument(metavar="CLIPS", help="film clips, such as Hollywood2's AVIClips")],
    cast: Annotated[Path, typer.Argument(metavar="CAST", help="pictures of actors: <film>/<actor>/*.jpg")],
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="gets cia.json and a page to check it by")],
    encoder: Annotated[str, typer.Option(metavar="NAME", help="who finds and describes faces: sface, dlib")] = "sface",
    threshold: Annotated[
        float | None,
        typer.Option(min=-1, max=1, help="least cosine of a face with an actor; default: the encoder's"),
    ] = None,
    films: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="clip, tab, film a line; default: a clip's folder is its film, else any"),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="only the first so many clips")] = None,
    as_json: JsonOption = False,
) -> None:
    """Name the actor of each clip by pictures of the cast (CiA). Run it again to go on where it stopped."""
    from ..datasets.cia import CAST_FILE
    from ..people.cia_build import CiaOptions, build_cia
    from ..report import casting_page

    folder = output.expanduser()
    files.check_folder(folder)
    if folder.is_dir():
        files.check_output(folder / _CAST_PAGE, files.PAGE_MARK)
    options = CiaOptions(clips.expanduser(), cast.expanduser(), folder, threshold, films, limit)
    with show_progress() as progress:
        result = build_cia(options, plugins.build("people.faces", encoder, {}), progress)
    page = casting_page(result.clips, result.set_aside, options.clips, f"Who is in {options.clips.name}")
    files.write_output(folder / _CAST_PAGE, page.encode(), files.PAGE_MARK)
    if as_json:
        print_json({"clips": len(result.clips), "named": len(result.named), "set_aside": dict(result.set_aside)})
        return
    counts = f"{len(result.named):,} with an actor, {len(result.set_aside):,} set aside"
    out.print(f"{counted(len(result.clips), 'clip')}: {counts}", markup=False)
    say(f"written: {escape(str(folder / CAST_FILE))}, {escape(str(folder / _CAST_PAGE))} to check by eye")


@group.command("convert-frozen")
def convert_frozen(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a checkpoint of Frozen in Time, such as *.pth.tar")],
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="a new folder")],
    tokenizer: Annotated[
        str, typer.Option(metavar="NAME", help="folder or hub name of the DistilBERT that its text tower began as")
    ] = "distilbert/distilbert-base-uncased",
) -> None:
    """Write a checkpoint of Frozen in Time as safetensors, for LaT. Nothing in the file is run."""
    from ..encoders import hub
    from ..encoders.frozen_in_time import convert

    conversion = convert(file.expanduser(), folder.expanduser(), hub.locate(tokenizer))
    video, text = conversion.sizes.video, conversion.sizes.text
    say(
        f"{escape(str(folder))}: video tower of {video.layers} x {video.width}, {counted(video.frames, 'picture')} of "
        f"{video.image_size} pixels; text tower of {text.n_layers} x {text.dim}; "
        f"common space: {conversion.sizes.projection or 'none'}"
    )
    if conversion.left_out:
        some = ", ".join(conversion.left_out[:_MAX_NAMED]) + (", ..." if len(conversion.left_out) > _MAX_NAMED else "")
        say(f"left out, {counted(len(conversion.left_out), 'entry', 'entries')} that the model has not: {escape(some)}")
    if conversion.sizes.projection:
        say(
            "Frozen as it is: mmi-tvr evaluate ... --set model.name=lat --set model.translator.kind=none "
            f"--set model.space=joint --set model.checkpoint={escape(shlex.quote(str(folder)))}"
        )


@group.command("convert-clip-vip")
def convert_clip_vip(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a checkpoint, such as pretrain_clipvip_base_32.pt")],
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="a new folder")],
    clip: Annotated[
        str, typer.Option(metavar="NAME", help="folder or hub name of the CLIP that it began as")
    ] = "openai/clip-vit-base-patch32",
) -> None:
    """Write a published checkpoint of CLIP-ViP as safetensors, for clip4clip. Nothing in the file is run."""
    from ..encoders import hub
    from ..encoders.clip_vip_file import convert

    additions = convert(file.expanduser(), folder.expanduser(), hub.locate(clip))
    frames, proxies = additions["temporal_size"], 1 + additions["add_cls_num"]
    say(f"{escape(str(folder))}: {counted(frames, 'place')} in time, {counted(proxies, 'proxy', 'proxies')} of a video")
    say(f"to use it: --model {escape(shlex.quote(str(folder)))}")


def benchmark_name(name: str) -> str:
    """Return the name of a benchmark; UsageError, with the names that there are, for any other."""
    from .. import datasets

    known = datasets.benchmark_names()
    if name not in known:
        raise UsageError(f"no benchmark is called {name!r}; there are: {', '.join(known)}")
    return name


def benchmark_options(root: Path, annotations: Path | None, option: Sequence[str] | None) -> dict[str, Any]:
    """Return a benchmark's options, as the command line gives them."""
    values: dict[str, Any] = {"root": root}
    if annotations:
        values["annotations"] = annotations
    return {**values, **config.read(config.Section, None, option or ()).options}


def _report(result: BenchmarkCheck) -> Iterator[str]:
    """Yield the lines of a check for a person."""
    opened = "" if result.probed is None else f", {result.probed:,} opened"
    yield f"{result.title}: {counted(result.files, result.unit)}{opened}"
    several_variants = len({split.variant for split in result.splits}) > 1
    header = ["split", "videos", "official", "captions", "official", "missing", "unreadable"]
    rows = [_cells(split, several_variants, result.probed is not None) for split in result.splits]
    yield from text_table([header, *rows])
    yield from _problems(result.splits)
    for overlap in result.overlaps:
        where = f"{overlap.variant}: " if several_variants else ""
        yield (
            f"overlap: {where}{overlap.ids:,} videos of {overlap.split} are in {overlap.other_split}, too; "
            f"{overlap.sources:,} are cut from a video that {overlap.other_split} uses, "
            f"{overlap.stretches:,} share a stretch of it"
        )
    if not result.overlaps:
        yield "overlap: none between splits"
    yield f"protocol: {result.protocol}"
    yield f"validation: {result.validation}"


def _cells(split: SplitCheck, with_variant: bool, probed: bool) -> list[str]:
    """Return a split's row of the table."""
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


def _problems(splits: Sequence[SplitCheck]) -> Iterator[str]:
    """Yield a line for each kind of trouble, with the splits or a few of the videos that have it."""
    by_remark: dict[str, list[str]] = {}
    for split in splits:
        for remark in (*split.remarks, *([split.error] if split.error else [])):
            by_remark.setdefault(remark, []).append(split.split)
    for remark, names in by_remark.items():
        yield f"note: {remark} ({', '.join(dict.fromkeys(names))})"
    if missing := list(dict.fromkeys(id_ for split in splits for id_ in split.missing)):
        yield f"missing: {_first_names(missing)}"
    unreadable = {id_: reason for split in splits for id_, reason in split.unreadable.items()}
    by_reason: dict[str, list[str]] = {}
    for id_, reason in sorted(unreadable.items(), key=itemgetter(1)):
        by_reason.setdefault(reason, []).append(id_)
    for reason, ids in by_reason.items():
        yield f"unreadable, {reason}: {_first_names(ids)}"


def _first_names(names: Sequence[str]) -> str:
    more = f", ... ({len(names):,} in all; --json lists them)" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + more
