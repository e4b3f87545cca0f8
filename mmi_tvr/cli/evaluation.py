"""`evaluate`: how well captions find their videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import cache, config, models, plugins
from ..evaluate import MAX_UNREADABLE, evaluate_model
from ._console import DownloadOption, JsonOption, ModelOption, Watch, announce, chosen_model, out, print_json, say


def register(app: typer.Typer) -> None:
    app.command()(evaluate)


def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="folder of videos with a table of captions")],
    captions: Annotated[Path | None, typer.Option(help="the table (.tsv with a header, or .jsonl)")] = None,
    column: Annotated[str | None, typer.Option(help="which column holds the captions; * for all")] = None,
    model: ModelOption = None,
    download: DownloadOption = False,
    skip_missing: Annotated[bool, typer.Option("--skip-missing", help="leave out files that are not there")] = False,
    max_unreadable: Annotated[float, typer.Option(help="share of videos that may be unreadable")] = MAX_UNREADABLE,
    settings: Annotated[Path | None, typer.Option("--config", help="settings file (YAML)")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="A.B=C", help="change one setting")] = None,
    as_json: JsonOption = False,
) -> None:
    """Rank every caption among all videos and every video among all captions, with 95 % intervals."""
    from ..embed import embed_all, embedding_fingerprint
    from ..features import FeatureCache

    missing = "skip" if skip_missing else "error"
    values = {"root": folder, "captions": captions, "column": column, "missing": missing}
    dataset = plugins.build("datasets", "folder", values)
    if dataset.skipped:
        say(f"left out {len(dataset.skipped)} files that are not in {folder}")
    wanted = config.load(settings, set_ or ())
    made = models.make(chosen_model(model, download) or wanted.model, wanted.device)
    method = plugins.build("keyimages", wanted.keyimages.name, wanted.keyimages.options)
    with Watch() as watch:
        report = evaluate_model(
            made,
            dataset.samples(),
            lambda videos: embed_all(videos, made, method, FeatureCache(cache.folder() / "features"), watch),
            fingerprint=embedding_fingerprint(made, method),
            max_unreadable=max_unreadable,
        )
    if as_json:
        print_json(report.as_dict())
    else:
        announce(made.name)
        out.print(report.table(), markup=False)
