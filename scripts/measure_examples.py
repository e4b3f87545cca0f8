"""How well a picture finds what is like it: `measure_examples.py CLIPS --model label_bridge`.

The first picture of each video in a folder is searched among the last pictures of all videos, and among their second
halves. With `--captions TABLE` (TSV with the columns file and caption, or --column), captions are searched among second
halves, too, with and without that picture beside them. Every video has to be about something else.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

from mmi_tvr import Encoder
from mmi_tvr.cli._console import command, show_progress
from mmi_tvr.errors import MediaError, UsageError
from mmi_tvr.evaluation.metrics import Metrics, summary
from mmi_tvr.media.guarded import DecoderPool, limits
from mmi_tvr.media.names import VIDEO_SUFFIXES
from mmi_tvr.scoring.examples import MIN_RELEVANCE, ExampleLaw, example_law, example_vectors, likeness
from mmi_tvr.scoring.similarity import Gallery
from mmi_tvr.types import Embeddings, FloatArray, Frames, Query, QueryExample, Video

_FPS, _FRAMES = 25.0, 64  # of the pictures among which the first and the last are
_WEIGHTS = (0.25, 0.5, 1.0, 2.0, 4.0)


def main() -> None:
    args = _arguments()
    encoder = Encoder.from_pretrained(args.model, cache=args.cache)
    paths = sorted(path for path in args.videos.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)[: args.limit]
    if not paths:
        raise UsageError(f"{args.videos}: there are no videos here")
    with DecoderPool(limits()) as decoders:
        ends = [_ends(path, encoder.model.image_size, decoders) for path in paths]
    firsts = [example_vectors(encoder.model, QueryExample("", (frames.pixels[0],))) for frames, _ in ends]
    lasts = [example_vectors(encoder.model, QueryExample("", (frames.pixels[-1],))) for frames, _ in ends]
    with show_progress() as progress:
        halves = encoder.embed(
            [Video(path, seconds / 2) for path, (_, seconds) in zip(paths, ends, strict=True)], progress=progress
        )
    gallery = Gallery.pack([_usable(half) for half in halves])
    pictures = np.concatenate(firsts) @ np.concatenate(lasts).T
    likenesses = np.stack([likeness(gallery, first, encoder.model.scoring) for first in firsts])
    print(f"{args.model}, {len(paths)} videos; [low, high]: 95 % bootstrap over videos")
    _print("first picture -> last pictures", pictures)
    _print("first picture -> second halves", likenesses)
    _print_found(likenesses, example_law(encoder.model, gallery, len(gallery), with_text=False))
    if args.captions:
        captions = _captions(args.captions, args.column, paths)
        queries = np.asarray(encoder.model.embed_queries([Query(caption) for caption in captions]), np.float32)
        sentences = gallery.score(queries, encoder.model.scoring)
        _print("caption -> second halves", sentences)
        law = example_law(encoder.model, gallery, len(gallery), with_text=True)
        for factor in _WEIGHTS:
            _print(f"caption and first picture, weight x {factor:g}", sentences + factor * law.weight * likenesses)


def _print(title: str, scores: FloatArray) -> None:
    right = np.diag(scores)[:, None]
    metrics: Metrics = summary((scores >= right).sum(axis=1))
    low, high = metrics.ci95["R@1"]
    print(f"{title}: R@1 {metrics.r1:.1f} [{low:.1f}, {high:.1f}], R@5 {metrics.r5:.1f}")


def _print_found(likenesses: FloatArray, law: ExampleLaw) -> None:
    """Print how often something is found where it is there, and where it is not."""
    query = np.zeros(1)
    right = likenesses.argmax(axis=1) == np.arange(len(likenesses))
    there = law.relevance(likenesses.max(axis=1)[right], query) >= MIN_RELEVANCE
    absent = np.where(np.eye(len(likenesses), dtype=bool), -np.inf, likenesses).max(axis=1)
    away = law.relevance(absent, query) < MIN_RELEVANCE
    print(
        f"found, of {right.sum()} that come first: {100 * there.mean():.1f} %; nothing found, of {len(absent)} whose "
        f"video is taken out: {100 * away.mean():.1f} %"
    )


def _ends(path: Path, size: int, decoders: DecoderPool) -> tuple[Frames, float]:
    info, frames = decoders.sample(Video(path), _FPS, _FRAMES, size)
    return frames, info.duration


def _usable(value: Embeddings | MediaError) -> Embeddings:
    if isinstance(value, MediaError):
        raise value
    return value


def _captions(table: Path, column: str, paths: list[Path]) -> list[str]:
    with table.open(encoding="utf-8", newline="") as stream:
        captions = {row["file"]: row[column] for row in csv.DictReader(stream, delimiter="\t")}
    return [captions[path.name] for path in paths]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--model", default="label_bridge")
    parser.add_argument("--captions", type=Path)
    parser.add_argument("--column", default="caption", help="of the table")
    parser.add_argument("--cache", type=Path, help="folder of vision features")
    parser.add_argument("--limit", type=int)
    return parser.parse_args()


if __name__ == "__main__":
    with command():
        main()
