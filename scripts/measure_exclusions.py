"""Compare ways to have what is excluded count against a video (`search --not`): `measure_exclusions.py`.

A query is two sentences about moving shapes, a thing or an event each: the first is looked for, the second excluded;
right are the videos of which the first is true and the second is not. Each way takes the strength that is best on the
validation split, and is reported there and on the test split.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mmi_tvr import Encoder, plugins
from mmi_tvr.cli._console import command, out, show_progress
from mmi_tvr.errors import MediaError, UsageError
from mmi_tvr.evaluation.bootstrap import bootstrap_means, numbered_groups
from mmi_tvr.evaluation.metrics import average_precision
from mmi_tvr.scoring.relevance import calibrate
from mmi_tvr.scoring.similarity import Gallery
from mmi_tvr.types import FloatArray, PartialQuery, Query
from mmi_tvr.utils.progress import Progress
from mmi_tvr.utils.tables import interval, markdown_table

_DRAWS = 400_000  # of two sentences
_FEWEST = (4, 2)  # videos of which the first sentence is true, and of them the second, too: else it excludes little
_BEHIND = -9.0  # below every score: what is left out comes last


@dataclass(frozen=True)
class Exclusion:
    """A sentence that is looked for and one that is excluded, by their numbers, and the videos that are right."""

    target: int
    excluded: int
    right: frozenset[int]


@dataclass(frozen=True)
class SplitScores:
    """What a model thinks of the S sentences and the M videos of a split."""

    exclusions: Sequence[Exclusion]
    vectors: FloatArray  # (S, D)
    scores: FloatArray  # (S, M)
    relevances: FloatArray  # (S, M)
    joined: FloatArray  # (Q, M): scores of each exclusion as one sentence
    score: Callable[[FloatArray], FloatArray]  # of vectors (N, D): (N, M)


Way = Callable[[SplitScores, float], FloatArray]  # a strength -> what orders the videos of each exclusion (Q, M)


def joined(split: SplitScores, strength: float) -> FloatArray:
    return split.joined


def less_score(split: SplitScores, strength: float) -> FloatArray:
    target, excluded = _sides(split, split.scores)
    return target - strength * excluded


def less_relevance(split: SplitScores, strength: float) -> FloatArray:
    return _sides(split, split.scores)[0] - strength * _sides(split, split.relevances)[1]


def left_out(split: SplitScores, strength: float) -> FloatArray:
    target, relevances = _sides(split, split.scores)[0], _sides(split, split.relevances)[1]
    return np.where(relevances >= strength, _BEHIND + target, target)


def relevance_product(split: SplitScores, strength: float) -> FloatArray:
    target, excluded = _sides(split, split.relevances)
    return target * (1 - excluded)


def less_vector(split: SplitScores, strength: float) -> FloatArray:
    target, excluded = _sides(split, split.vectors)
    return split.score(_unit(target - strength * excluded))


def projected_out(split: SplitScores, strength: float) -> FloatArray:
    target, excluded = _sides(split, split.vectors)
    direction = _unit(excluded)
    return split.score(target - (target * direction).sum(axis=1, keepdims=True) * direction)


# What it is, and how strong it may be: a way without a strength has one that says nothing.
WAYS: Mapping[str, tuple[Way, tuple[float, ...]]] = {
    'one sentence, "..., but no ..."': (joined, (0,)),
    "what is looked for alone": (less_score, (0,)),
    "left out from a relevance on": (left_out, (0.1, 0.3, 0.5, 0.7, 0.9)),
    "relevance x (1 - relevance)": (relevance_product, (1,)),
    "projected out of the vector": (projected_out, (1,)),
    "score less relevance": (less_relevance, (0.1, 0.2, 0.3, 0.5, 1)),
    "vector less vector": (less_vector, (0.25, 0.5, 0.75, 1)),
    "score less score": (less_score, (0.25, 0.5, 0.75, 1)),
    "score less the whole score": (less_score, (1,)),
}


def main() -> None:
    args = _arguments()
    encoder = Encoder.from_pretrained(args.model, cache=args.cache)
    with show_progress() as progress:
        val, test = (split_scores(encoder, name, args.limit, args.queries, progress) for name in ("val", "test"))
    header = ["mAP", "strength", f"validation (n={len(val.exclusions)})", f"test (n={len(test.exclusions)})"]
    rows = []
    for name, (way, strengths) in WAYS.items():
        strength = max(strengths, key=lambda strength: precisions(val, way(val, strength)).mean())
        cells = [_with_interval(precisions(split, way(split, strength))) for split in (val, test)]
        rows.append([name, f"{strength:g}" if len(strengths) > 1 else "", *cells])
    out.print("\n".join(markdown_table([header, *rows], padded=True)), markup=False)


def split_scores(encoder: Encoder, name: str, limit: int, count: int, progress: Progress) -> SplitScores:
    """Return what a model thinks of a split.

    Args:
        encoder: has the model.
        name: of the split.
        limit: its first so many videos are searched.
        count: at most so many exclusions.
        progress: follows the work.
    """
    dataset = plugins.build("datasets", "moving_shapes", {"split": name})
    progress.begin(f"videos of {name}", len(dataset.pending(limit)))
    dataset.generate(limit, advance=progress.advance)
    videos = encoder.embed([sample.video for sample in dataset.samples()[:limit]], progress=progress)
    unreadable = [video for video in videos if isinstance(video, MediaError)]
    if unreadable:
        raise unreadable[0]
    gallery = Gallery.pack([video for video in videos if not isinstance(video, MediaError)])
    texts, exclusions = draw_exclusions(dataset.partial_queries()["short"], limit, count)
    model = encoder.model
    vectors = np.asarray(model.embed_queries([Query(text) for text in texts]), np.float32)
    whole = [f"{texts[one.target]}, but no {texts[one.excluded]}" for one in exclusions]
    score = partial(gallery.score, scoring=model.scoring)
    scores, law = score(vectors), calibrate(model, gallery, len(gallery))
    relevances = np.stack([law.relevance(*rows) for rows in zip(scores, vectors, strict=True)])
    joined_scores = score(np.asarray(model.embed_queries([Query(text) for text in whole]), np.float32))
    return SplitScores(exclusions, vectors, scores, relevances, joined_scores, score)


def draw_exclusions(queries: Sequence[PartialQuery], limit: int, count: int) -> tuple[list[str], list[Exclusion]]:
    """Return sentences, and at most `count` exclusions among them. UsageError where so few videos give none.

    Args:
        queries: sentences, each with the videos that it is true of.
        limit: the first so many videos count.
        count: of exclusions.
    """
    videos = {query.text: frozenset(number for number in query.videos if number < limit) for query in queries}
    true_of = [(text, of_text) for text, of_text in videos.items() if len(of_text) >= _FEWEST[1]]
    dice = np.random.default_rng(0)
    exclusions: list[Exclusion] = []
    for _ in range(_DRAWS if true_of else 0):
        target, excluded = dice.integers(len(true_of), size=2).tolist()
        first, second = true_of[target][1], true_of[excluded][1]
        enough = len(first) >= _FEWEST[0] and len(first & second) >= _FEWEST[1]
        if target != excluded and enough and first - second:
            exclusions.append(Exclusion(target, excluded, first - second))
        if len(exclusions) == count:
            break
    if not exclusions:
        raise UsageError(f"--limit {limit}: among so few videos nothing can be excluded; take more")
    return [text for text, _ in true_of], exclusions


def precisions(split: SplitScores, scores: FloatArray) -> FloatArray:
    """Return the average precision of each exclusion in percent (Q,), by scores (Q, M)."""
    return average_precision([scores], [one.right for one in split.exclusions])


def _with_interval(values: FloatArray) -> str:
    low, high = bootstrap_means(values[:, None], numbered_groups(None, len(values)))[:, 0].tolist()
    return interval(float(values.mean()), low, high)


def _sides(split: SplitScores, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return of rows (S, ...) those of what is looked for and those of what is excluded, (Q, ...) each."""
    return rows[[one.target for one in split.exclusions]], rows[[one.excluded for one in split.exclusions]]


def _unit(vectors: FloatArray) -> FloatArray:
    unit: FloatArray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="moving-shapes")
    parser.add_argument("--limit", type=int, default=300, help="videos of each split")
    parser.add_argument("--queries", type=int, default=300, help="of each split, at most")
    parser.add_argument("--cache", type=Path, help="folder of vision features")
    return parser.parse_args()


if __name__ == "__main__":
    with command():
        main()
