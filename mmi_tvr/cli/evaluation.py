"""`evaluate`, `compare` and `table`: how well captions find their videos, and which of several runs does it better."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import config, models, plugins
from ..errors import MediaError, UsageError
from ..evaluation.evaluate import MAX_UNREADABLE, evaluate_model, pair_scores
from ..evaluation.report import Report
from ..protocols import IncompleteDataset
from ..types import Embeddings, Video
from ..utils import array_cache
from ..utils.files import write_atomically
from . import _reranking
from ._console import (
    DownloadOption,
    JsonOption,
    ModelOption,
    ProgressBars,
    announce,
    chosen_model,
    out,
    print_json,
    say,
)
from .data import AnnotationsOption, DataOption, RootOption, benchmark_name, benchmark_options

_GENERATED = "moving_shapes"


class Normalisation(str, Enum):
    """Scores that look at all test queries together."""

    dual_softmax = "dual-softmax"
    query_bank = "query-bank"


def register(app: typer.Typer) -> None:
    app.command()(evaluate)
    app.command()(compare)
    app.command()(table)


def evaluate(
    target: Annotated[
        str, typer.Argument(metavar="DIR|NAME", help="folder of videos with captions; moving_shapes; or a benchmark")
    ],
    root: RootOption = None,
    annotations: AnnotationsOption = None,
    option: DataOption = None,
    captions: Annotated[Path | None, typer.Option(help="the table (.tsv with a header, or .jsonl)")] = None,
    column: Annotated[str | None, typer.Option(help="which column holds the captions; * for all")] = None,
    split: Annotated[str, typer.Option(help="of a data set: val, test")] = "test",
    contrast: Annotated[
        str | None, typer.Option(help="a contrast set: order, direction, relation, colour, shape, count")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="of a data set: the first so many videos")] = None,
    model: ModelOption = None,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="DIR", help="a model folder that training wrote (RUN/model)")
    ] = None,
    download: DownloadOption = False,
    transductive: Annotated[
        list[Normalisation] | None, typer.Option(help="show this normalisation beside; may be repeated")
    ] = None,
    rerank: Annotated[
        bool, typer.Option("--rerank/--no-rerank", help="re-rank the best by the joint score, and say what that adds")
    ] = False,
    answers: Annotated[
        bool, typer.Option("--answers", help="of a data set: how often questions are answered right, by kind")
    ] = False,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="write report.json (for compare), report.html, heatmap.png")
    ] = None,
    skip_missing: Annotated[bool, typer.Option("--skip-missing", help="leave out files that are not there")] = False,
    max_unreadable: Annotated[float, typer.Option(help="share of videos that may be unreadable")] = MAX_UNREADABLE,
    settings: Annotated[Path | None, typer.Option("--config", help="settings file (YAML)")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="A.B=C", help="change one setting")] = None,
    as_json: JsonOption = False,
) -> None:
    """Rank every caption among all videos and every video among all captions, with 95 % intervals.

    With --contrast: the share of captions that prefer their own video to one that differs in one thing.
    With --answers: every question of the pools that has a true answer, put to each video and to its caption.
    """
    from ..features.cache import FeatureCache
    from ..features.embed import embed_all, embedding_fingerprint

    wanted = config.load(settings, set_ or ())
    with ProgressBars() as progress:
        if (contrast or answers) and target != _GENERATED:
            needed, of = ("--contrast", "such pairs") if contrast else ("--answers", "true answers")
            raise UsageError(f"{needed} goes with a data set that has {of}: {_GENERATED}")
        told: dict[str, Any] = {}
        if root or annotations or option or not (Path(target).is_dir() or target == _GENERATED):
            if captions or column:
                raise UsageError("--captions and --column go with a folder; a benchmark has annotations of its own")
            told = _benchmark_options(target, root, annotations, option, split, limit, skip_missing)
            dataset = plugins.build("datasets", target, told)
            gone = dataset.missing
        elif Path(target).is_dir():
            dataset = _folder(Path(target), captions, column, skip_missing)
            gone = dataset.missing
        else:
            dataset, gone = _generated(contrast or split, limit, progress), ()
        section = _section(model, checkpoint, wanted, download)
        made = models.make(section, wanted.device)
        images = models.key_images(section) if "keyimages" not in wanted.model_fields_set else None
        wanted = wanted.model_copy(update={"model": section, "keyimages": images or wanted.keyimages})
        method = plugins.build("keyimages", wanted.keyimages.name, wanted.keyimages.options)

        def embed(videos: Sequence[Video]) -> Sequence[Embeddings | MediaError]:
            return embed_all(videos, made, method, FeatureCache(array_cache.folder() / "features"), progress)

        if answers:
            document, text = _reranking.answers(wanted, dataset, made, method, progress)
        elif contrast:
            document = _contrast(contrast, pair_scores(made, dataset.samples(), embed))
            text = f"{contrast}: {document['accuracy']:.1f} {document['ci95']} of {document['n']} pairs"
        else:
            fingerprint = embedding_fingerprint(made, method)
            report = evaluate_model(
                made,
                dataset.samples(),
                embed,
                fingerprint=fingerprint,
                max_unreadable=max_unreadable,
                transductive=[each.value for each in transductive or ()],
                rerank=_reranking.reranking(wanted, made, method, progress) if rerank else None,
            )
            remarks = dataset.remarks if isinstance(dataset, IncompleteDataset) else ()
            report = replace(report, model=models.spelled(section), missing=gone, remarks=remarks)
            about = {
                **{"target": target, "split": split, "dataset": {key: str(value) for key, value in told.items()}},
                **wanted.model_dump(mode="json", exclude={"data", "train"}),
            }
            document, text = {**report.as_dict(), "config": about}, report.table()
            if output:
                _write(output, report, document)
    if as_json:
        print_json(document)
    else:
        announce(made.name)
        out.print(text, markup=False)


def compare(
    one: Annotated[Path, typer.Argument(metavar="A", help="what `evaluate --output A` wrote")],
    other: Annotated[Path, typer.Argument(metavar="B", help="the same of another model, on the same queries")],
    as_json: JsonOption = False,
) -> None:
    """By how much B is better than A, with intervals and p-values of a paired bootstrap."""
    from ..evaluation.compare import compare as compared

    found = compared(one, other)
    if as_json:
        print_json(found.as_dict())
    else:
        out.print(found.table(), markup=False)


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
    """Several evaluations of one test set in one table (Markdown), with published numbers to hold against them."""
    from ..evaluation import published

    rows = published.measured(runs or []) + (published.quoted(quoted) if quoted else [])
    if as_json:
        print_json({"rows": [row.as_dict() for row in rows]})
    else:
        out.print(published.table(rows), markup=False)


def _section(model: str | None, checkpoint: Path | None, wanted: config.Settings, download: bool) -> config.Section:
    """The model that is meant, by name."""
    if checkpoint is not None:
        if model is not None:
            raise UsageError("--model and --checkpoint both name the model: give one of them")
        return models.trained_section(str(checkpoint))
    return models.resolve(chosen_model(model, wanted, download) or wanted.model)


def _write(folder: Path, report: Report, document: dict[str, Any]) -> None:
    """report.json with every query's rank, report.html with failures to look at, heatmap.png."""
    from ..evaluation.saved import REPORT
    from ..report import evaluation_page, heat_map

    assert report.details is not None
    folder.mkdir(parents=True, exist_ok=True)
    page = evaluation_page(report, document["config"], f"{document['model']} on {document['config']['target']}")
    files = {
        REPORT: json.dumps({**document, "queries": report.details.as_dict()}, ensure_ascii=False, indent=1).encode(),
        "report.html": page.encode(),
        "heatmap.png": heat_map(report),
    }
    for name, content in files.items():
        write_atomically(folder / name, content)
    say(f"report: {folder / 'report.html'}")


def _folder(folder: Path, captions: Path | None, column: str | None, skip_missing: bool) -> Any:
    missing = "skip" if skip_missing else "error"
    values = {"root": folder, "captions": captions, "column": column, "missing": missing}
    dataset = plugins.build("datasets", "folder", values)
    if dataset.missing:
        say(f"left out {len(dataset.missing)} files that are not in {folder}")
    return dataset


def _benchmark_options(
    name: str,
    root: Path | None,
    annotations: Path | None,
    option: list[str] | None,
    split: str,
    limit: int | None,
    skip_missing: bool,
) -> dict[str, Any]:
    """A benchmark's options, as the command line gives them."""
    if "/" in name or (root is None and name not in plugins.names("datasets")):
        raise UsageError(f"{name}: neither a folder nor a data set; a benchmark's videos are named with --root DIR")
    name = benchmark_name(name)
    if root is None:
        raise UsageError(f"{name}: where are its videos? --root DIR, and --annotations DIR for its annotation files")
    values = {**benchmark_options(root, annotations, option), "split": split}
    return {**values, **({"limit": limit} if limit else {}), **({"allowed": 1.0} if skip_missing else {})}


def _generated(split: str, limit: int | None, progress: ProgressBars) -> Any:
    """One query a video, so that n is the number of videos. Missing files are rendered into the cache first."""
    dataset = plugins.build("datasets", _GENERATED, {"split": split, "captions": 1, "count": limit})
    if missing := len(dataset.pending()):
        progress.begin("rendering", missing)
        dataset.generate(advance=progress.advance)
    return dataset


def _contrast(kind: str, scores: Any) -> dict[str, Any]:
    from ..datasets.moving_shapes import contrast_accuracy

    return {"contrast": kind, **contrast_accuracy(scores).as_dict()}
