"""`evaluate`: how well captions find their videos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import cache, config, models, plugins
from ..errors import MediaError, UsageError
from ..evaluate import MAX_UNREADABLE, evaluate_model, pair_scores
from ..types import Embeddings, Video
from ._console import DownloadOption, JsonOption, ModelOption, Watch, announce, chosen_model, out, print_json, say

_GENERATED = "moving_shapes"


def register(app: typer.Typer) -> None:
    app.command()(evaluate)


def evaluate(
    target: Annotated[
        str, typer.Argument(metavar="DIR|moving_shapes", help="folder of videos with captions, or a data set")
    ],
    captions: Annotated[Path | None, typer.Option(help="the table (.tsv with a header, or .jsonl)")] = None,
    column: Annotated[str | None, typer.Option(help="which column holds the captions; * for all")] = None,
    split: Annotated[str, typer.Option(help="of a data set: val, test")] = "test",
    contrast: Annotated[
        str | None, typer.Option(help="a contrast set: order, direction, relation, colour, shape, count")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="of a data set: the first so many videos")] = None,
    model: ModelOption = None,
    download: DownloadOption = False,
    skip_missing: Annotated[bool, typer.Option("--skip-missing", help="leave out files that are not there")] = False,
    max_unreadable: Annotated[float, typer.Option(help="share of videos that may be unreadable")] = MAX_UNREADABLE,
    settings: Annotated[Path | None, typer.Option("--config", help="settings file (YAML)")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="A.B=C", help="change one setting")] = None,
    as_json: JsonOption = False,
) -> None:
    """Rank every caption among all videos and every video among all captions, with 95 % intervals.

    With --contrast: the share of captions that prefer their own video to one that differs in one thing.
    """
    from ..embed import embed_all, embedding_fingerprint
    from ..features import FeatureCache

    wanted = config.load(settings, set_ or ())
    with Watch() as watch:
        if target == _GENERATED and not Path(target).is_dir():
            dataset = _generated(contrast or split, limit, watch)
        elif contrast:
            raise UsageError(f"--contrast goes with a data set that has such pairs: {_GENERATED}")
        else:
            dataset = _folder(Path(target), captions, column, skip_missing)
        made = models.make(chosen_model(model, wanted, download) or wanted.model, wanted.device)
        method = plugins.build("keyimages", wanted.keyimages.name, wanted.keyimages.options)

        def embed(videos: Sequence[Video]) -> Sequence[Embeddings | MediaError]:
            return embed_all(videos, made, method, FeatureCache(cache.folder() / "features"), watch)

        if contrast:
            document = _contrast(contrast, pair_scores(made, dataset.samples(), embed))
            text = f"{contrast}: {document['accuracy']:.1f} {document['ci95']} of {document['n']} pairs"
        else:
            fingerprint = embedding_fingerprint(made, method)
            report = evaluate_model(
                made, dataset.samples(), embed, fingerprint=fingerprint, max_unreadable=max_unreadable
            )
            document, text = report.as_dict(), report.table()
    if as_json:
        print_json(document)
    else:
        announce(made.name)
        out.print(text, markup=False)


def _folder(folder: Path, captions: Path | None, column: str | None, skip_missing: bool) -> Any:
    missing = "skip" if skip_missing else "error"
    values = {"root": folder, "captions": captions, "column": column, "missing": missing}
    dataset = plugins.build("datasets", "folder", values)
    if dataset.skipped:
        say(f"left out {len(dataset.skipped)} files that are not in {folder}")
    return dataset


def _generated(split: str, limit: int | None, watch: Watch) -> Any:
    """One query a video, so that n is the number of videos. Missing files are rendered into the cache first."""
    dataset = plugins.build("datasets", _GENERATED, {"split": split, "captions": 1, "count": limit})
    if missing := len(dataset.missing()):
        watch.begin("rendering", missing)
        dataset.materialise(advance=watch.advance)
    return dataset


def _contrast(kind: str, scores: Any) -> dict[str, Any]:
    from ..datasets.moving_shapes import contrast_accuracy

    return {"contrast": kind, **contrast_accuracy(scores).as_dict()}
