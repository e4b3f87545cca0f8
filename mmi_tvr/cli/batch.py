"""`batch extract` and `batch search`: long work in shards, by any number of processes (docs/batch.md)."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import config, models
from ..evaluation.trec import RUN_MARK
from ..queries import parse_where
from ..utils import files
from ._console import (
    MIN_SCORE_NOTICE,
    ConfigOption,
    ForceOption,
    MinScoreOption,
    SetOption,
    WhereOption,
    out,
    say,
    show_progress,
)
from ._filters import (
    InOption,
    KindOption,
    LongerOption,
    NotOption,
    PlaceOption,
    ShorterOption,
    SinceOption,
    UntilOption,
    filter_keywords,
)

if TYPE_CHECKING:  # what a search need not wait for is imported by the commands that use it
    from ..batch.folder import BatchFolder
    from ..batch.program import RunOptions

group = typer.Typer(help="Long work in shards: many processes, many machines.", no_args_is_help=True)


class Engine(str, Enum):
    """Who starts the workers."""

    processes = "processes"
    ray = "ray"


class Part(str, Enum):
    """What `extract` writes."""

    features = "features"
    embeddings = "embeddings"


class Format(str, Enum):
    """Of the files of hits."""

    jsonl = "jsonl"
    parquet = "parquet"


OutputOption = Annotated[Path, typer.Option("--output", help="folder of the results, shared by all processes")]
ColumnOption = Annotated[str | None, typer.Option("--column", help="which column of a list to read")]
IdColumnOption = Annotated[str | None, typer.Option("--id-column", help="which column holds the ids")]
ShardOption = Annotated[int, typer.Option("--shard", help="items in a file of results")]
EngineOption = Annotated[Engine, typer.Option("--engine")]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", help="of --engine ray: how many (default: one a GPU, else CPUs / 2)")
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps")]
RetryOption = Annotated[bool, typer.Option("--retry", help="try quarantined items again")]


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="batch")


@group.command()
def extract(
    source: Annotated[
        Path | None, typer.Argument(help="folder of videos, or a list (txt, csv, tsv, jsonl, parquet)")
    ] = None,
    *,
    output: OutputOption,
    dataset: Annotated[
        str | None,
        typer.Option(metavar="YAML", help="a data set instead: NAME, or {name: ..., split: ..., ...}"),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="folder that a list's paths are relative to; default: the list's own")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="NAME, NAME:CHECKPOINT, or a checkpoint's folder or hub name; default: auto"),
    ] = None,
    settings: ConfigOption = None,
    set_: SetOption = None,
    only: Annotated[Part | None, typer.Option(help="write one of the two")] = None,
    features: Annotated[
        Path | None, typer.Option(help="feature cache to read and write; default: OUTPUT/features")
    ] = None,
    column: ColumnOption = None,
    id_column: IdColumnOption = None,
    shard: ShardOption = 256,
    engine: EngineOption = Engine.processes,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    retry: RetryOption = False,
) -> None:
    """Videos -> vision features and embeddings, by any number of processes: docs/batch.md."""
    from ..batch import extract as extraction
    from ..batch import program

    both: tuple[extraction.Output, ...] = ("features", "embeddings")
    run_settings = config.load(settings, set_ or (), model_is_named=model is not None)
    folder = extraction.create(
        output,
        source,
        dataset=program.dataset_section(dataset),
        column=column,
        id_column=id_column,
        root=root,
        model=models.changed(models.section(model), run_settings.model) if model is not None else None,
        settings=run_settings,
        outputs=both if only is None else tuple(name for name in both if name == only.value),
        features=features,
        shard_size=shard,
    )
    _run(folder, program.RunOptions(device, retry, engine.value, workers))


@group.command()
def search(
    queries: Annotated[Path, typer.Argument(help="txt (one a line), csv, tsv, jsonl or parquet")],
    source: Annotated[Path, typer.Argument(help="a library, or what `batch extract` wrote")],
    *,
    output: OutputOption,
    top: Annotated[int, typer.Option(min=1, help="hits of each query")] = 10,
    min_relevance: Annotated[float, typer.Option(min=0, max=1, help="drop hits of smaller relevance (0..1)")] = 0.0,
    min_score: MinScoreOption = None,
    rerank: Annotated[bool, typer.Option("--rerank", help="re-rank the best, as the library does")] = False,
    format: Annotated[Format, typer.Option(help="of the files of hits")] = Format.jsonl,
    where: WhereOption = None,
    without: NotOption = None,
    kind: KindOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    folder: InOption = None,
    longer: LongerOption = None,
    shorter: ShorterOption = None,
    place: PlaceOption = None,
    trec: Annotated[Path | None, typer.Option(metavar="FILE", help="write a TREC run, too")] = None,
    force: ForceOption = False,
    settings: ConfigOption = None,
    set_: SetOption = None,
    column: ColumnOption = None,
    id_column: IdColumnOption = None,
    shard: ShardOption = 1000,
    engine: EngineOption = Engine.processes,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    retry: RetryOption = False,
) -> None:
    """Queries -> ranked hits of a library or of embeddings, by any number of processes: docs/batch.md."""
    from ..batch import infer, program

    if min_score is not None:
        say(MIN_SCORE_NOTICE)
        min_relevance = min_relevance or min_score
    if trec is not None:
        files.check_output(trec, RUN_MARK, force)
    work = infer.create(
        output,
        queries,
        source,
        column=column,
        id_column=id_column,
        top=top,
        min_relevance=min_relevance,
        rerank=rerank,
        output_format=format.value,
        where=parse_where(where or ()),
        without=without or (),
        items=filter_keywords(kind, since, until, folder, longer, shorter, place),
        settings=config.load(settings, set_ or ()),
        shard_size=shard,
    )
    _run(work, program.RunOptions(device, retry, engine.value, workers), trec)


@group.command(hidden=True)
def worker(
    folder: Path, device: DeviceOption = "auto", trec: Annotated[Path | None, typer.Option("--trec")] = None
) -> None:
    """Work on a folder that `extract` or `search` began; they start this, and start it again when it dies."""
    from ..batch import program

    program.run_worker(folder, device, trec, say)


def worker_command(folder: Path, device: str, trec: Path | None) -> list[str]:
    """Return the words that start a worker: this interpreter, which finds modules where this process finds them.

    So it works from a wheel, from a checkout, and in a working folder that has modules of its own.
    """
    program_text = f"import sys; sys.path[:] = {sys.path!r}; from mmi_tvr.cli import main; main()"
    words = [sys.executable, "-c", program_text, "batch", "worker", "--device", device]
    if trec is not None:
        words += ["--trec", str(trec)]
    return [*words, "--", str(folder)]


def _run(folder: BatchFolder, options: RunOptions, trec: Path | None = None) -> None:
    from ..batch import program

    with show_progress() as progress:
        command = worker_command(folder.path, options.device, trec)
        state = program.run(folder, options, progress, command, trec)
    if program.is_first_of_machine():
        out.print(program.summary(folder, state), markup=False)
