"""`describe`: which lines of a text file fit a video best."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from .. import models, plugins
from ..config import Settings
from ..encoder import Encoder
from ..errors import MediaError, UsageError
from ..types import FloatArray, clean_text
from ..utils import files
from ..utils.printable import printable
from ..utils.textfiles import numbered_lines
from ..utils.wording import counted
from ._answering import load_model
from ._console import DownloadOption, JsonOption, ModelOption, announce, out, print_json, say

_MAX_LINES = 100_000


def register(app: typer.Typer) -> None:
    app.command()(describe)


def describe(
    videos: Annotated[list[Path], typer.Argument(metavar="VIDEO...", help="video files")],
    *,
    stock: Annotated[Path, typer.Option(metavar="FILE", help="text file with a title, tag or sentence on each line")],
    top: Annotated[int, typer.Option(min=1, help="at most so many lines for a video")] = 5,
    model: ModelOption = None,
    library: Annotated[
        Path | None, typer.Option("--library", "-l", help="without --model: the model of this library")
    ] = None,
    download: DownloadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Rank the lines of a text file for each VIDEO: which of them describes it best.

    Exit code 1: one of the files cannot be used, and why.
    """
    lines = _lines(stock)
    section, loaded = load_model(model, download, library)
    announce(section.name)
    images = models.key_images(section) or Settings().keyimages
    encoder = Encoder(loaded, plugins.build("keyimages", images.name, images.options))
    vectors = encoder.encode_query(lines)
    documents: list[dict[str, Any]] = []
    for path in videos:
        [embedded] = encoder.embed([path])
        if isinstance(embedded, MediaError):
            documents.append({"path": str(path), "lines": [], "error": embedded.reason})
        else:
            scores = encoder.similarity(vectors, [embedded], direction="v2t")[:, 0]
            documents.append({"path": str(path), "lines": _best(lines, scores, top), "error": None})
    if as_json:
        print_json({"model": models.spelled(section), "stock": str(stock), "videos": documents})
    else:
        for document in documents:
            _print(document)
    failures = sum(document["error"] is not None for document in documents)
    if failures:
        say(f"{failures} of {counted(len(videos), 'file')} cannot be used")
        raise typer.Exit(1)


def _lines(path: Path) -> list[str]:
    """Return the lines of a text file that are not blank, each once, in their order."""
    with files.naming(path), path.open("rb") as stream:
        lines = dict.fromkeys(clean_text(line).strip() for _, line in numbered_lines(stream, path))
    lines.pop("", None)
    if not lines:
        raise UsageError(f"{path}: no line to choose from; write a title, tag or sentence on each line")
    if len(lines) > _MAX_LINES:
        raise UsageError(f"{path}: {len(lines):,} lines, more than {_MAX_LINES:,}; cut it into several files")
    return list(lines)


def _best(lines: Sequence[str], scores: FloatArray, top: int) -> list[dict[str, Any]]:
    """Return the lines with the largest scores, best first; of equal ones the first of the file."""
    order = np.argsort(-scores, kind="stable")[:top]
    return [{"line": lines[row], "score": round(float(scores[row]), 6)} for row in order]


def _print(document: dict[str, Any]) -> None:
    out.print(printable(document["path"]), markup=False)
    if document["error"]:
        out.print(f"   {printable(document['error'])}", markup=False)
    for rank, line in enumerate(document["lines"], 1):
        out.print(f"{rank:>2} {line['score']:6.3f}  {printable(line['line'])}", markup=False)
