"""What benchmarks of moments measure besides R1@IoU, as their authors' code has it, and a guess that reads no query.

- QVHighlights (Lei et al., NeurIPS 2021): mAP over a sentence's windows. A model here answers with one span, which can
  be right for one window: of n windows, its average precision is at most 1 / n.
- DiDeMo (Hendricks et al., ICCV 2017): a video is six segments of 5 s, and an answer ranks its 21 stretches of
  neighbouring segments. Rank@1 and Rank@5 are of the mean rank of the three annotators who agree most, mIoU is the mean
  over the three best. A span ranks the stretches by their IoU with it (decision), nearer middles first where IoU ties.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np

from ..types import FloatArray, IdArray

MAP = ("mAP@0.5", "mAP@0.75", "mAP")
DIDEMO = ("Rank@1", "Rank@5", "mIoU (annotators)")
_TOLERANCE = 1e-9
_IOUS = np.arange(0.5, 0.96, 0.05)
_SEGMENT = 5.0  # seconds, of DiDeMo
_SEGMENTS = 6
_AGREEING = 3  # annotators who count
_GUESSED = (0.3, 0.5, 0.7)  # what a guess is chosen by, besides the mean IoU
_GRID = 20  # parts of a video in which a guess may begin and end

Spans = Sequence[tuple[float, float]]


def average_precisions(spans: FloatArray, truths: Sequence[Spans]) -> FloatArray:
    """Return the average precision of each answer at an IoU of 0.5, of 0.75, and on average over 0.5 to 0.95 (N, 3).

    Args:
        spans: Start and end of each answer (N, 2).
        truths: The windows of each sentence.
    """
    best = np.array([_ious(span, windows).max() for span, windows in zip(spans, truths, strict=True)])
    shares = 1 / np.array([len(windows) for windows in truths])
    hits = (best[:, None] >= _IOUS - _TOLERANCE) * shares[:, None]  # (N, 10)
    precisions: FloatArray = np.column_stack([hits[:, 0], hits[:, 5], hits.mean(axis=1)])
    return precisions


def didemo_measures(spans: FloatArray, annotated: Sequence[Spans]) -> FloatArray:
    """Return Rank@1, Rank@5 (0 or 1) and the mean IoU of each answer (N, 3).

    Args:
        spans: Start and end of each answer (N, 2), in seconds.
        annotated: The spans that each sentence's annotators gave, in seconds; whole segments.
    """
    stretches = np.array(list(combinations_with_replacement(range(_SEGMENTS), 2))) * _SEGMENT + [0, _SEGMENT]  # (21, 2)
    rows = []
    for span, given_spans in zip(spans, annotated, strict=True):
        distances = np.abs(stretches.mean(axis=1) - span.mean())
        order = np.lexsort((distances, -_ious(span, stretches).round(9)))
        places = [np.flatnonzero((stretches[order] == truth).all(axis=1)) for truth in given_spans]
        ranks = [1 + int(place[0]) if len(place) else len(stretches) + 1 for place in places]
        ious = _ious(stretches[order[0]], given_spans)
        mean_rank = np.mean(np.sort(ranks)[:_AGREEING])
        rows.append([mean_rank <= 1, mean_rank <= 5, np.mean(np.sort(ious)[-_AGREEING:])])
    measures: FloatArray = np.array(rows, dtype=np.float64)
    return measures


def blind_guesses(truths: Sequence[Spans], ends: FloatArray, groups: IdArray, seed: int = 0) -> FloatArray:
    """Return for each sentence the span that reads neither sentence nor video, and a second in it (N, 3).

    The stretch of a video (in twentieths) for which R1@0.3, R1@0.5, R1@0.7 and mIoU add up to most, and the second that
    lies in most spans, over the sentences of the other half of the videos: no sentence has a part in its own guess.

    Args:
        truths: The spans of each sentence, in seconds from the start of its video.
        ends: The length of each sentence's video (N,).
        groups: The number of each sentence's video (N,).
        seed: Of the cut into halves.
    """
    first = np.random.default_rng(seed).permutation(int(groups.max()) + 1) % 2 == 0
    marks = np.arange(_GRID + 1) / _GRID
    stretches = np.array([(start, end) for start in marks for end in marks if start < end])  # (210, 2)
    guesses = np.empty((len(truths), 3))
    for half in (True, False):
        chosen_on, guessed = np.flatnonzero(first[groups] != half), np.flatnonzero(first[groups] == half)
        quality, pointing = np.zeros(len(stretches)), np.zeros(len(marks))
        for row in chosen_on.tolist():
            shares = np.array(truths[row]) / max(ends[row], _TOLERANCE)
            best_ious = np.max([_ious(share, stretches) for share in shares], axis=0)  # (210,)
            quality += best_ious + sum(best_ious >= threshold - _TOLERANCE for threshold in _GUESSED)
            pointing += ((shares[:, :1] <= marks) & (marks <= shares[:, 1:])).any(axis=0)
        best = stretches[quality.argmax()] if len(chosen_on) else np.array([0.0, 1.0])
        guesses[guessed] = np.append(best, marks[pointing.argmax()] if len(chosen_on) else 0.5) * ends[guessed, None]
    return guesses


def _ious(span: FloatArray | tuple[float, float], others: FloatArray | Spans) -> FloatArray:
    """Return the IoU of one span with others (M,)."""
    table = np.asarray(others, dtype=np.float64)
    both = np.minimum(table[:, 1], span[1]) - np.maximum(table[:, 0], span[0])
    both = both.clip(min=0)
    total = table[:, 1] - table[:, 0] + span[1] - span[0] - both
    ratios: FloatArray = both / np.maximum(total, _TOLERANCE)
    return ratios
