"""Guesses of when things happen that read neither the sentence nor the video: what a model of moments has to beat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..types import FloatArray, IdArray
from .moment_measures import FIVE, SEGMENT_STRETCHES, THRESHOLDS, TOLERANCE, Spans, ious

_GRID = 20  # parts of a video in which a guess may begin and end


@dataclass(frozen=True, slots=True)
class BlindGuesses:
    """What reads neither sentence nor video answers to each of N sentences, chosen on the other half of the videos.

    Attributes:
        spans: Start and end, and a second in it (N, 3), in seconds from the start of the video.
        fives: Five spans of each, the best first (N, 5, 2).
        shares: How good each twentieth of a video is (N, 20), where sentences have ratings; else zeros.
    """

    spans: FloatArray
    fives: FloatArray
    shares: FloatArray


def blind_guesses(
    truths: Sequence[Spans],
    ends: FloatArray,
    groups: IdArray,
    ratings: Sequence[FloatArray | None] = (),
    seed: int = 0,
) -> BlindGuesses:
    """Guess without reading: no sentence has a part in its own guess.

    The stretch of a video (in twentieths) for which R1@0.3, R1@0.5, R1@0.7 and mIoU add up to most, and the second that
    lies in most spans, over the sentences of the other half of the videos. Four more stretches are taken one by one,
    for what they add to that sum where the nearest of several counts. Of ratings, the mean in each twentieth.

    Args:
        truths: The spans of each sentence, in seconds from the start of its video.
        ends: The length of each sentence's video (N,).
        groups: The number of each sentence's video (N,).
        ratings: What annotators gave to the clips of each sentence's video (clips, annotators); may be none.
        seed: Of the cut into halves.
    """
    guesses = BlindGuesses(np.empty((len(truths), 3)), np.empty((len(truths), FIVE, 2)), np.zeros((len(truths), _GRID)))
    for chosen_on, guessed in _halves(groups, seed):
        shares = [np.array(truths[row]) / max(ends[row], TOLERANCE) for row in chosen_on.tolist()]
        lengths = ends[guessed, None]
        five = _best_stretches(shares)
        guesses.fives[guessed] = five * lengths[..., None]
        guesses.spans[guessed] = np.append(five[0], _best_mark(shares)) * lengths
        if rated := [table for row in chosen_on.tolist() if ratings and (table := ratings[row]) is not None]:
            guesses.shares[guessed] = np.mean([_in_twentieths(table) for table in rated], axis=0)
    return guesses


def frequent_segments(annotated: Sequence[Spans], groups: IdArray, seed: int = 0) -> FloatArray:
    """Return DiDeMo's 21 stretches in the order of how often annotators gave them (N, 21, 2): its authors' prior.

    Counted over the other half of the videos, as in `blind_guesses`; the shorter and the earlier first where they tie.
    """
    order = np.lexsort((SEGMENT_STRETCHES[:, 0], np.diff(SEGMENT_STRETCHES)[:, 0]))
    stretches = SEGMENT_STRETCHES[order]
    rankings = np.empty((len(annotated), *stretches.shape))
    for chosen_on, guessed in _halves(groups, seed):
        counts = np.zeros(len(stretches))
        for row in chosen_on.tolist():
            for span in annotated[row]:
                counts += (stretches == span).all(axis=1)
        rankings[guessed] = stretches[np.argsort(-counts, kind="stable")]
    return rankings


def _halves(groups: IdArray, seed: int) -> Iterator[tuple[IdArray, IdArray]]:
    """Yield twice the sentences of one half of the videos, and those of the other half."""
    first = np.random.default_rng(seed).permutation(int(groups.max()) + 1) % 2 == 0
    for half in (True, False):
        yield np.flatnonzero(first[groups] != half), np.flatnonzero(first[groups] == half)


def _best_stretches(shares: Sequence[FloatArray]) -> FloatArray:
    """Return five stretches (5, 2) of a video, as shares of it, that answer best; the whole where there is nothing to
    choose by."""
    if not shares:
        return np.tile([0.0, 1.0], (FIVE, 1))
    marks = np.arange(_GRID + 1) / _GRID
    stretches = np.array([(start, end) for start in marks for end in marks if start < end])  # (210, 2)
    best_ious = np.array([np.max([ious(share, stretches) for share in spans], axis=0) for spans in shares])  # (N, 210)
    reached = np.zeros((len(shares), 1))  # IoU of the nearest stretch so far
    chosen = []
    for _ in range(FIVE):
        nearest = np.maximum(best_ious, reached)
        quality = nearest.sum(axis=0)
        quality += sum((nearest >= threshold - TOLERANCE).sum(axis=0) for threshold in THRESHOLDS)
        chosen.append(int(quality.argmax()))
        reached = nearest[:, [chosen[-1]]]
    best: FloatArray = stretches[chosen]
    return best


def _best_mark(shares: Sequence[FloatArray]) -> float:
    """Return the place in a video, as a share of it, that lies in most spans."""
    if not shares:
        return 0.5
    marks = np.arange(_GRID + 1) / _GRID
    inside = [((spans[:, :1] <= marks) & (marks <= spans[:, 1:])).any(axis=0) for spans in shares]
    return float(marks[np.sum(inside, axis=0).argmax()])


def _in_twentieths(ratings: FloatArray) -> FloatArray:
    """Return the mean rating around the middle of each twentieth of a video (20,)."""
    clips = (np.arange(len(ratings)) + 0.5) / len(ratings)
    means: FloatArray = np.interp((np.arange(_GRID) + 0.5) / _GRID, clips, ratings.mean(axis=1))
    return means


def of_clips(shares: FloatArray, count: int) -> FloatArray:
    """Return what twentieths of a video (20,) say of `count` clips of it (count,)."""
    twentieths = ((np.arange(count) + 0.5) / count * _GRID).astype(int)
    scores: FloatArray = shares[twentieths]
    return scores
