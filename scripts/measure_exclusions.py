"""Compare ways to have what is excluded count against a video: `measure_exclusions.py --model moving-shapes`.

A query is an English sentence about moving shapes that excludes something: "the red circle moves left, but nothing
spins", "two black stars, but no ring". It is split as every search splits it (`queries.negation`); right are the videos
of which the first part is true and the second is not. Each way takes the strength that is best on the validation split,
and is reported there and on the test split, with its difference to the search for the whole sentence. [low, high]: 95 %
bootstrap over the things that are looked for: sentences about the same thing have nearly the same right videos.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from mmi_tvr import Encoder
from mmi_tvr.cli._console import command, out, show_progress
from mmi_tvr.datasets.moving_shapes import PASSING, SHAPES, verb
from mmi_tvr.errors import UsageError
from mmi_tvr.evaluation.bootstrap import mean_with_ends
from mmi_tvr.evaluation.metrics import average_precision
from mmi_tvr.experiments.moving_shapes_split import SplitFeatures, mean_searcher, split_features
from mmi_tvr.protocols import Model
from mmi_tvr.queries import negation
from mmi_tvr.scoring.exclusion import WEIGHT
from mmi_tvr.scoring.relevance import calibrate
from mmi_tvr.types import FloatArray, Labels, PartialQuery, Query
from mmi_tvr.utils.chinese import has_chinese
from mmi_tvr.utils.tables import interval, markdown_table

_FEWEST = (4, 2)  # videos of which the sentence is true, and that show what is excluded, too: else it excludes little
_BEHIND = -9.0  # below every score: what is left out comes last
_TIE = 1e-12  # of a score: products that underflow are equal, and go by the score of what is looked for
WHOLE = "the whole sentence"


@dataclass(frozen=True)
class Exclusion:
    """A sentence, its parts as a search reads it, the videos that show what is looked for, and those that are right."""

    sentence: str
    parts: negation.QueryParts
    showing: frozenset[int]
    right: frozenset[int]


@dataclass(frozen=True)
class TextScores:
    """What a model thinks of Q texts and the M videos of a split."""

    vectors: FloatArray  # (Q, D)
    scores: FloatArray  # (Q, M)
    relevances: FloatArray  # (Q, M)


@dataclass(frozen=True)
class SplitScores:
    """What a model thinks of the Q sentences of a split, and of their parts."""

    exclusions: Sequence[Exclusion]
    sentences: TextScores
    targets: TextScores
    excluded: TextScores
    score: Callable[[FloatArray], FloatArray]  # of vectors (N, D): (N, M)


Way = Callable[[SplitScores, float], FloatArray]  # a strength -> what orders the videos of each exclusion (Q, M)


def whole_sentence(split: SplitScores, strength: float) -> FloatArray:
    return split.sentences.scores


def less_score(split: SplitScores, strength: float) -> FloatArray:
    return split.targets.scores - strength * split.excluded.scores


def less_relevance(split: SplitScores, strength: float) -> FloatArray:
    return split.targets.scores - strength * split.excluded.relevances


def left_out(split: SplitScores, strength: float) -> FloatArray:
    target = split.targets.scores
    return np.where(split.excluded.relevances >= strength, _BEHIND + target, target)


def relevance_product(split: SplitScores, strength: float) -> FloatArray:
    products = split.targets.relevances * (1 - split.excluded.relevances)
    return products + _TIE * split.targets.scores


def less_vector(split: SplitScores, strength: float) -> FloatArray:
    return split.score(_unit(split.targets.vectors - strength * split.excluded.vectors))


def projected_out(split: SplitScores, strength: float) -> FloatArray:
    target, direction = split.targets.vectors, _unit(split.excluded.vectors)
    return split.score(target - (target * direction).sum(axis=1, keepdims=True) * direction)


# What it is, and how strong it may be: a way without a strength has one that says nothing.
WAYS: Mapping[str, tuple[Way, tuple[float, ...]]] = {
    WHOLE: (whole_sentence, (0,)),
    "what is looked for alone": (less_score, (0,)),
    "left out from a relevance on": (left_out, (0.1, 0.3, 0.5, 0.7, 0.9)),
    "relevance x (1 - relevance)": (relevance_product, (1,)),
    "projected out of the vector": (projected_out, (1,)),
    "score less relevance": (less_relevance, (0.1, 0.2, 0.3, 0.5, 1)),
    "vector less vector": (less_vector, (0.25, 0.5, 0.75, 1)),
    "score less score": (less_score, (0.25, 0.5, 0.75, 1)),
    f"score less {WEIGHT:g} of the score, as in a search": (less_score, (WEIGHT,)),
    "score less the whole score": (less_score, (1,)),
}


def main() -> None:
    args = _arguments()
    encoder = Encoder.from_pretrained(args.model)
    model = mean_searcher(encoder.model) if args.mean else encoder.model
    splits = []
    with show_progress() as progress:
        for name in ("val", "test"):
            videos = split_features(name, encoder.model, encoder.keyimages, progress, limit=args.limit)
            splits.append(split_scores(videos, model, args.queries))
    out.print("\n".join(markdown_table(table(*splits), padded=True)), markup=False)


def table(val: SplitScores, test: SplitScores) -> list[list[str]]:
    """Return the rows of the table, of which the first is the header."""
    header = ["mAP", "strength", f"validation (n={len(val.exclusions)})", f"test (n={len(test.exclusions)})"]
    rows = [[*header, f"less {WHOLE} (test)"]]
    whole = precisions(test, whole_sentence(test, 0))
    for name, (way, strengths) in WAYS.items():
        strength = max(strengths, key=lambda strength: precisions(val, way(val, strength)).mean())
        chosen_on, measured_on = (precisions(split, way(split, strength)) for split in (val, test))
        difference = _with_interval(test, measured_on - whole, signed=True) if name != WHOLE else ""
        cells = [_with_interval(val, chosen_on), _with_interval(test, measured_on), difference]
        rows.append([name, f"{strength:g}" if len(strengths) > 1 else "", *cells])
    return rows


def split_scores(videos: SplitFeatures, model: Model, count: int) -> SplitScores:
    """Return what a model thinks of at most `count` sentences about the videos of a split."""
    labels = [videos.dataset.video_labels(number) for number in range(len(videos.samples))]
    exclusions = draw_exclusions(videos.dataset.partial_queries()["short"], labels, count)
    gallery = videos.gallery(model)
    score = partial(gallery.score, scoring=model.scoring)
    law = calibrate(model, gallery, len(gallery))

    def of_texts(texts: Sequence[str]) -> TextScores:
        vectors = np.asarray(model.embed_queries([Query(text) for text in texts]), np.float32)
        scores = score(vectors)
        return TextScores(
            vectors, scores, np.stack([law.relevance(*rows) for rows in zip(scores, vectors, strict=True)])
        )

    return SplitScores(
        exclusions,
        of_texts([one.sentence for one in exclusions]),
        of_texts([one.parts.positive for one in exclusions]),
        of_texts([one.parts.excluded[0] for one in exclusions]),
        score,
    )


def draw_exclusions(queries: Sequence[PartialQuery], labels: Sequence[Labels], count: int) -> list[Exclusion]:
    """Return at most `count` sentences that exclude something. UsageError where so few videos give none.

    Args:
        queries: What is looked for; English ones of one clause are taken.
        labels: What each video shows (M,).
        count: Of sentences.
    """
    videos = {query.text.rstrip("."): frozenset(query.videos) for query in queries}
    targets = [
        (text, true_of)
        for text, true_of in videos.items()
        if len(true_of) >= _FEWEST[0] and not has_chinese(text) and "." not in text
    ]
    absent = [*_absent(labels)]
    exclusions: list[Exclusion] = []
    for pair in np.random.default_rng(0).permutation(len(targets) * len(absent)).tolist():
        (text, true_of), (clause, showing) = targets[pair // len(absent)], absent[pair % len(absent)]
        right = true_of - showing
        if right and len(true_of & showing) >= _FEWEST[1]:
            sentence = f"{text}, {clause}"
            parts = negation.split(sentence)
            if len(parts.excluded) == 1:
                exclusions.append(Exclusion(sentence, parts, true_of, right))
        if len(exclusions) == count:
            break
    if not exclusions:
        raise UsageError(f"among {len(labels)} videos nothing can be excluded; take more")
    return exclusions


def _absent(labels: Sequence[Labels]) -> Iterator[tuple[str, frozenset[int]]]:
    """Yield what a sentence may exclude, and the videos that show it: shapes, things, and events after which all is as
    it was, since no other event is a part of these."""
    for entity in sorted({entity for one in labels for entity in one.entities}):
        if entity.split()[-1] in SHAPES:
            yield f"but no {entity}", frozenset(row for row, one in enumerate(labels) if entity in one.entities)
    for action in PASSING:
        yield (
            f"but nothing {verb(action, plural=False)}",
            frozenset(row for row, one in enumerate(labels) if action in one.actions),
        )


def precisions(split: SplitScores, scores: FloatArray) -> FloatArray:
    """Return the average precision of each exclusion in percent (Q,), by scores (Q, M)."""
    return average_precision([scores], [one.right for one in split.exclusions])


def _with_interval(split: SplitScores, values: FloatArray, *, signed: bool = False) -> str:
    """Return the mean of the values (Q,) of sentences; those that look for one thing are drawn together."""
    return interval(*mean_with_ends(values, [one.showing for one in split.exclusions]), signed=signed)


def _unit(vectors: FloatArray) -> FloatArray:
    unit: FloatArray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="moving-shapes")
    parser.add_argument("--mean", action="store_true", help="search by the mean of key images: the model's own CLIP")
    parser.add_argument("--limit", type=int, help="only the first so many videos of each split")
    parser.add_argument("--queries", type=int, default=600, help="of each split, at most")
    args = parser.parse_args()
    if args.queries < 1:
        parser.error("--queries is 1 or more")
    return args


if __name__ == "__main__":
    with command():
        main()
