"""`evaluate`, `compare` and `table`: how well captions find their videos, and which of several runs does it better."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..errors import UsageError
from ..evaluation.evaluate import MAX_UNREADABLE, pair_scores
from ..evaluation.query_report import QueryReport
from ..evaluation.report import Report
from ..protocols import DatasetWithFeatures, QueryDataset
from ..utils.tables import bounds
from ..utils.wording import counted
from . import _reranking
from ._console import (
    ConfigOption,
    DownloadOption,
    ForceOption,
    JsonOption,
    ModelOption,
    SetOption,
    announce,
    out,
    print_json,
    show_progress,
)
from ._evaluation_data import (
    DataChoice,
    EvaluationData,
    EvaluationModel,
    ModelChoice,
    load_data,
    load_generated,
    load_model,
    require_generated,
)
from ._evaluation_options import (
    AnswerRows,
    AnswerRowsOption,
    CaptionsOption,
    CheckpointOption,
    ColumnOption,
    GeneratedArgument,
    LimitOption,
    MaxUnreadableOption,
    MergeCaptionsOption,
    MomentsOption,
    OutputOption,
    PeopleCueOption,
    RerankOption,
    SkipMissingOption,
    SplitOption,
    TargetArgument,
    TransductiveOption,
    TrecOption,
)
from ._evaluation_output import Outputs, ReportFolder
from ._pools import PoolsOption
from ._query_evaluation import PersonCue
from ._retrieval_evaluation import Measurements, caption_report, query_report
from .data import AnnotationsOption, DataOption, RootOption

_SIMILARITIES = "--similarities"


class EvaluateGroup(TyperGroup):
    """`evaluate NAME` is `evaluate retrieval NAME`; a folder called as a command is written `./contrast`.

    `evaluate [NAME] --similarities FILE...` is `evaluate similarities FILE... [--dataset NAME]`.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put a command in front of words that name none."""
        place = next((place for place, word in enumerate(args) if word.split("=")[0] == _SIMILARITIES), None)
        if place is not None:
            before, after = args[:place], args[place + 1 :]
            if "=" in args[place]:
                after = [args[place].split("=", 1)[1], *after]
            if before and not before[0].startswith("-"):
                before = ["--dataset", *before]
            args = ["similarities", *before, *after]
        elif not args or args[0] not in self.commands:
            args = ["retrieval", *args]
        return super().parse_args(ctx, args)


group = typer.Typer(cls=EvaluateGroup, help="How well captions find their videos.")


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="evaluate")
    app.command()(compare)
    app.command()(table)


@group.command()
def retrieval(
    target: TargetArgument,
    root: RootOption = None,
    annotations: AnnotationsOption = None,
    option: DataOption = None,
    captions: CaptionsOption = None,
    column: ColumnOption = None,
    split: SplitOption = "test",
    limit: LimitOption = None,
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    download: DownloadOption = False,
    transductive: TransductiveOption = None,
    rerank: RerankOption = False,
    pools: PoolsOption = None,
    merge_captions: MergeCaptionsOption = False,
    people: PeopleCueOption = PersonCue.both,
    moments: MomentsOption = False,
    output: OutputOption = None,
    trec: TrecOption = None,
    force: ForceOption = False,
    skip_missing: SkipMissingOption = False,
    max_unreadable: MaxUnreadableOption = MAX_UNREADABLE,
    settings: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
    contrast_kind: Annotated[str | None, typer.Option("--contrast", hidden=True)] = None,
    with_answers: Annotated[bool, typer.Option("--answers", hidden=True)] = False,
) -> None:
    """Rank every caption among all videos and every video among all captions, with 95 % intervals.

    A data set with queries of its own (moving_faces, moving_things, cip, ...) is measured by them: mAP, R@1 and R@5.

    Other measurements: evaluate contrast --help (videos that differ in one thing), evaluate answers --help,
    evaluate similarities --help (scores that other systems saved).
    """
    model_choice = ModelChoice.of_command(target, model, checkpoint, download, settings, set_)
    if rerank or with_answers:
        model_choice = model_choice.with_pools(pools)
    if with_answers:
        _answers(target, contrast_kind or split, limit, model_choice, as_json)
        return
    if contrast_kind is not None:
        _contrast(target, contrast_kind, limit, model_choice, as_json)
        return
    data = DataChoice(target, root, annotations, option or (), captions, column, split, limit, skip_missing)
    normalisations = [normalisation.value for normalisation in transductive or ()]
    measurements = Measurements(max_unreadable, normalisations, rerank, moments, merge_captions, people)
    outputs = Outputs(ReportFolder(output, force) if output else None, trec, force)
    _retrieval(data, model_choice, measurements, outputs, as_json)


@group.command()
def similarities(
    matrices: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help=".npy: a row for each caption, a column for each video")
    ],
    ground_truth: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=".npy: the right column of each row, or booleans; default: the diagonal"),
    ] = None,
    dataset: Annotated[str | None, typer.Option(metavar="NAME", help="a data set whose captions are the rows")] = None,
    root: RootOption = None,
    annotations: AnnotationsOption = None,
    option: DataOption = None,
    captions: CaptionsOption = None,
    column: Annotated[str | None, typer.Option(help="which column of the table holds the captions; * for all")] = None,
    split: SplitOption = "test",
    limit: LimitOption = None,
    trec: TrecOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure scores that any systems saved: recalls, paired comparison with the first, and all of them fused.

    The weights of the fusion are chosen on one half of the videos and measured on the other, both ways.
    """
    from ._matrix_evaluation import TruthChoice, matrix_report

    data = None
    if dataset is not None:
        data = DataChoice(dataset, root, annotations, option or (), captions, column, split, limit)
    else:
        _refuse_without_dataset(
            {
                "--root": root,
                "--annotations": annotations,
                "--option": option,
                "--captions": captions,
                "--column": column,
                "--limit": limit,
                "--split": split if split != "test" else None,
            }
        )
    with show_progress() as progress:
        report, truth = matrix_report(matrices, TruthChoice(ground_truth, data), trec, force, progress)
    if as_json:
        print_json({**report.as_dict(), "ground_truth": truth, "files": list(map(str, matrices))})
    else:
        out.print(report.table(), markup=False)


def _refuse_without_dataset(options: Mapping[str, object]) -> None:
    """Raise UsageError where options that choose a part of a data set were given, and none is named."""
    if given := [name for name, value in options.items() if value]:
        raise UsageError(f"{', '.join(given)}: of which data set? name it with --dataset")


@group.command()
def contrast(
    target: GeneratedArgument,
    kind: Annotated[
        str, typer.Option(help="what differs within a pair: order, direction, relation, colour, shape, count, role")
    ],
    limit: LimitOption = None,
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    download: DownloadOption = False,
    settings: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count the captions that prefer their own video to one that differs in one thing; chance is 50 %."""
    choice = ModelChoice.of_command(target, model, checkpoint, download, settings, set_)
    _contrast(target, kind, limit, choice, as_json)


@group.command()
def answers(
    target: GeneratedArgument,
    split: SplitOption = "test",
    limit: LimitOption = None,
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    download: DownloadOption = False,
    pools: PoolsOption = None,
    by: AnswerRowsOption = AnswerRows.kind,
    settings: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put every question of the pools that has a true answer to each video and to its caption, and count."""
    choice = ModelChoice.of_command(target, model, checkpoint, download, settings, set_).with_pools(pools)
    _answers(target, split, limit, choice, as_json, by)


@group.command(name="facets")
def facet_precision(
    target: TargetArgument,
    root: RootOption = None,
    annotations: AnnotationsOption = None,
    option: DataOption = None,
    split: SplitOption = "test",
    limit: LimitOption = None,
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    download: DownloadOption = False,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="choose the thresholds on these videos, and write them to the model")
    ] = False,
    precision: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="with --calibrate: which the thresholds are to keep")
    ] = 0.9,
    settings: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count how often a model is right about what videos show: what `facets` lists and `search --where` looks among."""
    from ._facet_evaluation import measured

    choice = ModelChoice.of_command(target, model, checkpoint, download, settings, set_)
    data_choice = DataChoice(target, root, annotations, option or (), split=split, limit=limit)
    with show_progress() as progress:
        system = load_model(choice)
        dataset = load_data(data_choice, progress).dataset
        document, text = measured(system, dataset, f"{target} {split}", precision if calibrate else None, progress)
    _print(document, text, system, as_json)


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="what `evaluate --output A` wrote")],
    second: Annotated[Path, typer.Argument(metavar="B", help="the same of another model, on the same queries")],
    as_json: JsonOption = False,
) -> None:
    """Say by how much B is better than A, with intervals and p-values of a paired bootstrap."""
    from ..evaluation import compare as comparison

    result = comparison.compare(first, second)
    if as_json:
        print_json(result.as_dict())
    else:
        out.print(result.table(), markup=False)


def table(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[DIR]...", help="what `evaluate --output DIR` wrote, on one test set"),
    ] = None,
    quoted: Annotated[
        str | None, typer.Option(metavar="NAME", help="published numbers of a benchmark below, marked as quoted")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print several evaluations of one test set as one table (Markdown), with published numbers below."""
    from ..evaluation import number_tables, published

    folders = runs or []
    of_queries = number_tables.are_of_queries(folders)
    rows = published.measured([] if of_queries else folders) + (published.quoted(quoted) if quoted else [])
    tables = number_tables.measured(folders) if of_queries else []
    tables += number_tables.quoted(quoted) if quoted else []
    if as_json:
        print_json({"rows": [row.as_dict() for row in rows], "tables": [one.as_dict() for one in tables]})
        return
    parts = [published.table(rows)] if rows or not tables else []
    parts += [number_tables.text(tables)] if tables else []
    out.print("\n\n".join(parts), markup=False)


def _retrieval(
    data_choice: DataChoice,
    model_choice: ModelChoice,
    measurements: Measurements,
    outputs: Outputs,
    as_json: bool,
) -> None:
    """Measure retrieval, write and print it, and then draw it.

    Args:
        data_choice: the test set.
        model_choice: the model.
        measurements: what is measured.
        outputs: what is written.
        as_json: whether a document is printed.
    """
    folder = outputs.folder
    outputs.check(measurements.rerank)
    with show_progress() as progress:
        data = load_data(data_choice, progress)
        target = data_choice.target
        people: dict[str, str] = {}
        report: Report | QueryReport
        if isinstance(data.dataset, QueryDataset):
            if outputs.trec is not None:
                raise UsageError(f"{target} has queries of its own, not captions: leave out --trec")
            system, report = query_report(target, data, model_choice, measurements, progress)
            people = {"people": measurements.people.value}
        else:
            system, report = caption_report(target, data, model_choice, measurements, progress)
        document = {**report.as_dict(), "config": config_document(data_choice, data, system) | people}
        if folder:
            folder.write(report, document)
        outputs.write_runs(report)
    _print(document, report.table(), system, as_json)
    if folder:
        folder.draw(report, document, data.dataset)


def _contrast(target: str, kind: str, limit: int | None, choice: ModelChoice, as_json: bool) -> None:
    """Measure one contrast set, and print it."""
    from ..datasets.moving_shapes import contrast_accuracy

    require_generated(target, "pairs that differ in one thing")
    with show_progress() as progress:
        dataset = load_generated(kind, limit, progress)
        system = load_model(choice)
        embed = system.embedder(dataset, target, progress)
        accuracy = contrast_accuracy(pair_scores(system.model, dataset.samples(), embed))
    document = {"contrast": kind, **accuracy.as_dict()}
    text = f"{kind}: {document['accuracy']:.1f} {bounds(*document['ci95'])} of {counted(document['n'], 'pair')}"
    _print(document, text, system, as_json)


def _answers(
    target: str, split: str, limit: int | None, choice: ModelChoice, as_json: bool, by: AnswerRows = AnswerRows.kind
) -> None:
    """Measure how often questions are answered right, and print it."""
    require_generated(target, "true answers")
    with show_progress() as progress:
        dataset = load_generated(split, limit, progress)
        system = load_model(choice)
        document, text = _reranking.answers(system.settings, dataset, system.model, system.method, progress, by)
    _print(document, text, system, as_json)


def config_document(choice: DataChoice, data: EvaluationData, system: EvaluationModel) -> dict[str, Any]:
    """Return what a report says of how it was made."""
    options = {name: str(value) for name, value in data.options.items()}
    document: dict[str, Any] = {"target": choice.target, "split": choice.split, "dataset": options}
    if isinstance(data.dataset, DatasetWithFeatures):
        document["features"] = data.dataset.vision  # in place of key images
    return document | system.settings.model_dump(mode="json", exclude={"data", "train"})


def _print(document: Mapping[str, Any], text: str, system: EvaluationModel, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        announce(system.model.name)
        out.print(text, markup=False)
