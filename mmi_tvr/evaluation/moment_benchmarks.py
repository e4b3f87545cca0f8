"""What the benchmark of some moments measures besides (`moment_measures`), of the model and of what needs none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..scoring.blocks import similarities
from ..scoring.moments import further_spans
from ..types import DescribedMoment, Embeddings, FloatArray, IdArray, Saliency, Scoring, Span
from . import moment_measures
from .blind_guesses import BlindGuesses, frequent_segments, of_clips
from .moment_measures import FIVE

PRIOR = "most frequent stretches"  # of DiDeMo: reads neither sentence nor video


@dataclass(frozen=True, slots=True)
class Answers:
    """What is answered to each of N sentences, in seconds of the files.

    Attributes:
        spans: One span.
        fives: Returns up to five spans of each (5, 2), the best first.
        clips: Returns the scores of the clips of each sentence's video, given their ratings.
    """

    spans: Sequence[Span]
    fives: Callable[[], Sequence[FloatArray]]
    clips: Callable[[Sequence[Saliency]], Sequence[FloatArray]]


def of_model(located: Sequence[Span], queries: FloatArray, videos: Sequence[Embeddings], scoring: Scoring) -> Answers:
    """Return what a model answers: where it locates each query (N, D) in its video, then the next best stretches.

    Decision: a clip scores what the two key images around its middle do, each the more the nearer it is.
    """

    def key_images() -> list[FloatArray]:
        return [similarities(video.moments, query, scoring) for query, video in zip(queries, videos, strict=True)]

    def fives() -> list[FloatArray]:
        return [
            np.array([(span.start, span.end) for span in (first, *further_spans(scores, video, first, FIVE - 1))])
            for first, scores, video in zip(located, key_images(), videos, strict=True)
        ]

    def clips(ratings: Sequence[Saliency]) -> list[FloatArray]:
        return [
            np.interp(rated.middles(), video.segments[:, 2], scores)
            for rated, scores, video in zip(ratings, key_images(), videos, strict=True)
        ]

    return Answers(located, fives, clips)


def of_whole_videos(whole: Sequence[Span]) -> Answers:
    """Return the whole video as the answer; all of its clips are as good, and the first comes first."""
    return Answers(
        whole,
        lambda: [np.array([(span.start, span.end)]) for span in whole],
        lambda ratings: [np.zeros(rated.count) for rated in ratings],
    )


def of_guesses(guesses: BlindGuesses, starts: FloatArray) -> Answers:
    """Return blind guesses as answers; `starts` is the second at which each sentence's video begins (N,)."""
    return Answers(
        [Span(*map(float, span)) for span in guesses.spans + starts[:, None]],
        lambda: list(guesses.fives + starts[:, None, None]),
        lambda ratings: [of_clips(shares, rated.count) for shares, rated in zip(guesses.shares, ratings, strict=True)],
    )


def spans_of(moment: DescribedMoment) -> Sequence[tuple[float, float]]:
    """Return the spans of its own video at which a sentence is true."""
    return ((moment.start, moment.end), *moment.repeated)


def further_measures(
    moments: Sequence[DescribedMoment], answers: Mapping[str, Answers], starts: FloatArray, groups: IdArray
) -> tuple[Sequence[str], dict[str, FloatArray]]:
    """Return the names of the measures, and what each answer gets (N, measures), 0..1.

    Spans that annotators gave are DiDeMo's. Ratings or several spans of a sentence are QVHighlights'; without either,
    five spans of an answer count. Ratings are measured where every sentence has them.

    Args:
        moments: N sentences with what their annotation says.
        answers: What is answered, by who answers.
        starts: The second of its file at which each sentence's video begins (N,).
        groups: The number of each sentence's video (N,).
    """
    if all(moment.annotated for moment in moments):
        truths = [np.array(moment.annotated) - start for moment, start in zip(moments, starts, strict=True)]
        rankings = {
            title: moment_measures.segment_rankings(_ends(answer.spans) - starts[:, None])
            for title, answer in answers.items()
        }
        rankings[PRIOR] = frequent_segments(truths, groups)
        return moment_measures.DIDEMO, {
            title: moment_measures.didemo_measures(ranking, truths) for title, ranking in rankings.items()
        }
    spans = [spans_of(moment) for moment in moments]
    ratings = [moment.saliency for moment in moments if moment.saliency is not None]
    rated = len(ratings) == len(moments)
    if not rated and not any(moment.repeated for moment in moments):
        return moment_measures.RECALL, {
            title: moment_measures.recalls_of_five(answer.fives(), spans) for title, answer in answers.items()
        }
    measured = {
        title: moment_measures.average_precisions(_ends(answer.spans), spans) for title, answer in answers.items()
    }
    if not rated:
        return moment_measures.MAP, measured
    tables = [saliency.table() for saliency in ratings]
    return (*moment_measures.MAP, *moment_measures.HIGHLIGHTS), {
        title: np.column_stack([measured[title], moment_measures.highlight_measures(answer.clips(ratings), tables)])
        for title, answer in answers.items()
    }


def _ends(spans: Sequence[Span]) -> FloatArray:
    return np.array([(span.start, span.end) for span in spans])
