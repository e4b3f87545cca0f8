"""Measure what other wordings of a query change (`search --expand`): `measure_wordings.py --model moving-shapes`.

A query is one caption of a video; it is searched by its vector and the mean of the others, as a search does. Its
wordings are other captions of the same video, as the best writer would write them, or, of moving shapes, a caption of
another video, which is as wrong as a writer can be. The share of the query itself is chosen on the validation split of
moving shapes, where all shares are measured; elsewhere that of the package is. Of a folder of videos
(`measure_wordings.py FOLDER --captions TABLE --column A,B,C`) each column is searched with the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmi_tvr import Encoder
from mmi_tvr.cli._captioned import add_videos, captioned_videos, is_folder
from mmi_tvr.cli._console import command, out, show_progress
from mmi_tvr.errors import UsageError
from mmi_tvr.experiments.moving_shapes_split import mean_searcher, split_features
from mmi_tvr.experiments.recall_table import MeasuredRanks, diagonal_ranks, recall_table
from mmi_tvr.protocols import Model
from mmi_tvr.queries.prepared import SHARE, averaged
from mmi_tvr.scoring.similarity import Gallery
from mmi_tvr.types import FloatArray, Query
from mmi_tvr.utils.chinese import has_chinese
from mmi_tvr.utils.progress import Progress

SHARES = (0.25, 0.5, SHARE, 0.85)
_PARAPHRASES = 3
_FEWEST = 4  # videos, of which half a split away is no neighbour


@dataclass(frozen=True)
class RewordedQueries:
    """Queries, one a video, and equally many wordings of each; both kinds have a name in the table."""

    name: str
    title: str
    queries: Sequence[str]
    wordings: Sequence[Sequence[str]]


def main() -> None:
    args = _arguments()
    with show_progress() as progress:
        measure = of_folder if is_folder(args) else of_moving_shapes
        table = recall_table(measure(args, progress))
    out.print("\n".join(table), markup=False)


def of_moving_shapes(args: argparse.Namespace, progress: Progress) -> dict[str, dict[str, MeasuredRanks]]:
    """Return the ranks of both splits of moving shapes."""
    encoder = Encoder.from_pretrained(args.model)
    model = mean_searcher(encoder.model) if args.mean else encoder.model
    measured = {}
    for name, title, shares in (("val", "validation", SHARES), ("test", "test", (SHARE,))):
        split = split_features(name, encoder.model, encoder.keyimages, progress, limit=args.limit)
        sets = reworded([sample.captions for sample in split.samples])
        measured[title] = trials(model, split.gallery(model), sets, shares)
    return measured


def of_folder(args: argparse.Namespace, progress: Progress) -> dict[str, dict[str, MeasuredRanks]]:
    """Return the ranks of a folder's videos."""
    videos = captioned_videos(args, progress)
    sets = [
        RewordedQueries(
            column,
            "the other columns",
            [texts[number] for texts in videos.captions],
            [[*texts[:number], *texts[number + 1 :]] for texts in videos.captions],
        )
        for number, column in enumerate(videos.columns)
    ]
    return {"videos": trials(videos.model, Gallery.pack(videos.embeddings), sets, (SHARE,))}


def reworded(captions: Sequence[Sequence[str]]) -> list[RewordedQueries]:
    """Return queries with other wordings, from the captions of each video in both languages.

    UsageError where there are so few videos that another one may be a twin, or the same.
    """
    if len(captions) < _FEWEST:
        raise UsageError(f"--limit {len(captions)}: at least {_FEWEST}, for captions of another video that is no twin")
    english = [[text for text in texts if not has_chinese(text)] for texts in captions]
    chinese = [next(filter(has_chinese, texts)) for texts in captions]
    first = [texts[0] for texts in english]
    further = [texts[1 : 1 + _PARAPHRASES] for texts in english]
    half = len(further) // 2  # twins are neighbours, and no captions of each other
    others = further[half:] + further[:half]
    return [
        RewordedQueries(
            "English captions",
            f"{_PARAPHRASES} paraphrases and Chinese",
            first,
            [[*texts, translation] for texts, translation in zip(further, chinese, strict=True)],
        ),
        RewordedQueries("English captions", "a caption of another video", first, [texts[:1] for texts in others]),
        RewordedQueries("Chinese captions", "English", chinese, [[text] for text in first]),
    ]


def trials(
    model: Model, gallery: Gallery, sets: Sequence[RewordedQueries], shares: Sequence[float]
) -> dict[str, MeasuredRanks]:
    """Return the ranks of the videos of queries alone, and with their wordings at each share, by the title of a row."""

    def embed(texts: Sequence[str]) -> FloatArray:
        return np.asarray(model.embed_queries([Query(text) for text in texts]), np.float32)

    def ranked(vectors: FloatArray, baseline: str | None = None) -> MeasuredRanks:
        return MeasuredRanks(diagonal_ranks(gallery.score(vectors, model.scoring)), baseline)

    results: dict[str, MeasuredRanks] = {}
    for one in sets:
        vectors = embed(one.queries)  # (N, D)
        results.setdefault(one.name, ranked(vectors))
        wordings = embed([text for texts in one.wordings for text in texts]).reshape(len(vectors), -1, vectors.shape[1])
        for share in shares:
            mixed = np.stack([averaged(*rows, share) for rows in zip(vectors, wordings, strict=True)])
            results[f"{one.name}, with {one.title}, share {share:g}"] = ranked(mixed, one.name)
    return results


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_videos(parser)
    parser.add_argument("--model", default="moving-shapes")
    parser.add_argument("--mean", action="store_true", help="search by the mean of key images: the model's own CLIP")
    parser.add_argument("--limit", type=int, help="only the first so many videos (of each split)")
    return parser.parse_args()


if __name__ == "__main__":
    with command():
        main()
