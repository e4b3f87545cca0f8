"""Videos with captions, as the measuring scripts take them: moving shapes, or a folder with a table of columns."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import config
from ..errors import UsageError
from ..protocols import Model
from ..types import Embeddings
from ..utils.progress import Progress
from ..utils.wording import counted
from ._evaluation_data import GENERATED, DataChoice, ModelChoice, load_data, load_model

_FEWEST_COLUMNS = 2


@dataclass(frozen=True, slots=True)
class CaptionedVideos:
    """N videos of a folder with a caption in each of C columns, and the model that searches them.

    Args:
        model: Searches.
        columns: C names.
        captions: N times C texts.
        embeddings: N.
    """

    model: Model
    columns: Sequence[str]
    captions: Sequence[Sequence[str]]
    embeddings: Sequence[Embeddings]


def add_videos(parser: argparse.ArgumentParser) -> None:
    """Add the options that name videos and their captions."""
    parser.add_argument("data", nargs="?", default=GENERATED, help=f"{GENERATED}, or a folder of videos with captions")
    parser.add_argument("--captions", type=Path, help="the table of captions of a folder")
    parser.add_argument("--column", help="which columns hold captions: one name, several with commas, or * for all")


def is_folder(args: argparse.Namespace) -> bool:
    """Return whether the options of `add_videos` name a folder. UsageError: they do not, and a table of captions."""
    if args.data == GENERATED and (args.captions or args.column):
        raise UsageError(f"--captions and --column go with a folder; {GENERATED} has captions of its own")
    return bool(args.data != GENERATED)


def captioned_videos(args: argparse.Namespace, progress: Progress) -> CaptionedVideos:
    """Return the videos of a folder that can be read, by the options of `add_videos`, --model, --limit and --mean.

    Raises:
        UsageError: --mean, fewer than two columns are named, a video has not one caption in each, or none can be read.
    """
    if args.mean:
        raise UsageError(f"--mean goes with {GENERATED}; --model clip4clip is the mean of key images of a folder")
    columns = [name.strip() for name in (args.column or "").split(",") if name.strip()]
    if len(columns) < _FEWEST_COLUMNS:
        raise UsageError("--column A,B: name two columns of captions or more, with commas")
    choice = DataChoice(args.data, captions=args.captions, column=args.column, limit=args.limit)
    samples = load_data(choice, progress).dataset.samples()
    for sample in samples:
        if len(sample.captions) != len(columns):
            raise UsageError(
                f"{sample.id}: {counted(len(sample.captions), 'different caption')} in {', '.join(columns)}; "
                "each video has one row, and another caption in each column"
            )
    chosen = load_model(ModelChoice(args.model, None, False, config.load(None, ())))
    readable = chosen.readable(samples, progress)
    if not readable:
        raise UsageError(f"{args.data}: no video that can be read (mmi-tvr probe FILE says why)")
    return CaptionedVideos(
        chosen.model, columns, [sample.captions for sample, _ in readable], [embedding for _, embedding in readable]
    )
