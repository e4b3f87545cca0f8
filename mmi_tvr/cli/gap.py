"""`gap`: how far texts and videos lie apart in the space of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from .. import models
from ..errors import MissingExtra
from ..evaluation.gap import PAIRS, GapReport, modality_gap
from ..utils import files
from ._console import (
    ConfigOption,
    DownloadOption,
    ForceOption,
    JsonOption,
    SetOption,
    announce,
    out,
    print_json,
    say,
    show_progress,
)
from ._evaluation_data import DataChoice, ModelChoice, load_data, load_model
from ._evaluation_options import CaptionsOption, LimitOption, SplitOption, TargetArgument
from .data import AnnotationsOption, DataOption, RootOption
from .evaluation import config_document


def register(app: typer.Typer) -> None:
    app.command()(gap)


def gap(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="NAME, NAME:CHECKPOINT, or a folder: as --model has it elsewhere")
    ],
    target: TargetArgument,
    *,
    root: RootOption = None,
    annotations: AnnotationsOption = None,
    option: DataOption = None,
    captions: CaptionsOption = None,
    column: Annotated[str | None, typer.Option(help="which column holds the captions")] = None,
    split: SplitOption = "test",
    limit: LimitOption = None,
    download: DownloadOption = False,
    pairs: Annotated[int, typer.Option(min=1, max=20, help="how many pairs are shown one by one")] = PAIRS,
    output: Annotated[Path | None, typer.Option(metavar="PAGE", help="write a page with a map of the vectors")] = None,
    force: ForceOption = False,
    settings: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the modality gap: cosines of texts and videos that belong together, and of others."""
    if output:
        files.check_output(output, files.PAGE_MARK, force)
    choice = DataChoice(target, root, annotations, option or (), captions, column, split, limit)
    model_choice = ModelChoice.of_command(target, model, None, download, settings, set_)
    with show_progress() as progress:
        data = load_data(choice, progress)
        system = load_model(model_choice)
        report = modality_gap(
            system.model,
            data.dataset.samples(),
            system.embedder(data.dataset, target, progress),
            pairs=pairs,
            title=models.spelled(system.settings.model),
            dataset=target,
        )
    if as_json:
        print_json({**report.as_dict(), "config": config_document(choice, data, system)})
    else:
        announce(system.model.name)
        out.print(report.table(), markup=False)
    if output:
        _write_page(report, config_document(choice, data, system), output, force)


def _write_page(report: GapReport, document: dict[str, object], output: Path, force: bool) -> None:
    """Write the page; where the map cannot be drawn, without it."""
    from ..report import gap_map, gap_page

    picture = None
    try:
        picture = gap_map(report)
    except MissingExtra as error:
        say(f"the page has no map: {escape(str(error))}")
    files.write_output(output, gap_page(report, document, picture).encode(), files.PAGE_MARK, force)
    say(f"page: {escape(str(output))}")
