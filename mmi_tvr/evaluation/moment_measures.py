"""What benchmarks of moments measure besides R1@IoU, as their authors' code has it.

- QVHighlights (Lei et al., NeurIPS 2021): mAP over a sentence's windows. A model here answers with one span, which can
  be right for one window: of n windows, its average precision is at most 1 / n. Of highlights, HL-mAP is the mean
  average precision of the clips that an annotator calls very good, over annotators, and HL-Hit@1 whether one of them
  says so of the clip that is rated best (the first of several).
- ActivityNet Captions and Charades-STA ("TALL", Gao et al., ICCV 2017): R5@IoU, whether one of five spans reaches it.
- DiDeMo (Hendricks et al., ICCV 2017): a video is six segments of 5 s, and an answer ranks its 21 stretches of
  neighbouring segments. Rank@1 and Rank@5 are of the mean rank of the three annotators who agree most, mIoU is the mean
  over the three best. A span ranks the stretches by their IoU with it (decision), nearer middles first where IoU ties.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from ..types import FloatArray

MAP = ("mAP@0.5", "mAP@0.75", "mAP")
HIGHLIGHTS = ("HL-mAP", "HL-Hit@1")
DIDEMO = ("Rank@1", "Rank@5", "mIoU (annotators)")
FIVE = 5  # spans that count in R5
_VERY_GOOD = 4  # rating of a highlight
TOLERANCE = 1e-9
_IOUS = np.arange(0.5, 0.96, 0.05)
_SEGMENT = 5.0  # seconds, of DiDeMo
_SEGMENTS = 6
SEGMENT_STRETCHES = np.array(list(combinations_with_replacement(range(_SEGMENTS), 2))) * _SEGMENT + [0, _SEGMENT]
_AGREEING = 3  # annotators who count
THRESHOLDS = (0.3, 0.5, 0.7)
RECALL = tuple(f"R{FIVE}@{threshold}" for threshold in THRESHOLDS)

Spans = Sequence[tuple[float, float]]


def average_precisions(spans: FloatArray, truths: Sequence[Spans]) -> FloatArray:
    """Return the average precision of each answer at an IoU of 0.5, of 0.75, and on average over 0.5 to 0.95 (N, 3).

    Args:
        spans: Start and end of each answer (N, 2).
        truths: The windows of each sentence.
    """
    best = np.array([ious(span, windows).max() for span, windows in zip(spans, truths, strict=True)])
    shares = 1 / np.array([len(windows) for windows in truths])
    hits = (best[:, None] >= _IOUS - TOLERANCE) * shares[:, None]  # (N, 10)
    precisions: FloatArray = np.column_stack([hits[:, 0], hits[:, 5], hits.mean(axis=1)])
    return precisions


def segment_rankings(spans: FloatArray) -> FloatArray:
    """Return DiDeMo's 21 stretches in the order in which spans (N, 2) rank them (N, 21, 2), in seconds."""
    middles = SEGMENT_STRETCHES.mean(axis=1)
    rankings: FloatArray = np.array(
        [
            SEGMENT_STRETCHES[np.lexsort((np.abs(middles - np.mean(span)), -ious(span, SEGMENT_STRETCHES).round(9)))]
            for span in spans
        ]
    )
    return rankings


def didemo_measures(rankings: FloatArray, annotated: Sequence[Spans]) -> FloatArray:
    """Return Rank@1, Rank@5 (0 or 1) and the mean IoU of each answer (N, 3).

    Args:
        rankings: The 21 stretches (N, 21, 2) in seconds, the best first.
        annotated: The spans that each sentence's annotators gave, in seconds; whole segments.
    """
    rows = []
    for ranking, spans in zip(rankings, annotated, strict=True):
        places = [np.flatnonzero((ranking == span).all(axis=1)) for span in spans]
        ranks = [1 + int(place[0]) if len(place) else len(ranking) + 1 for place in places]
        mean_rank = np.mean(np.sort(ranks)[:_AGREEING])
        agreement = np.mean(np.sort(ious(ranking[0], spans))[-_AGREEING:])
        rows.append([mean_rank <= 1, mean_rank <= 5, agreement])
    measures: FloatArray = np.array(rows, dtype=np.float64)
    return measures


def recalls_of_five(answers: Sequence[FloatArray], truths: Sequence[Spans]) -> FloatArray:
    """Return whether one of each answer's spans has an IoU of 0.3, of 0.5, of 0.7 with a true one (N, 3): 0 or 1.

    Args:
        answers: The spans of each answer (5 or fewer, 2), the best first.
        truths: The spans of each sentence.
    """
    best = np.array(
        [max(float(ious(span, spans).max()) for span in answer) for answer, spans in zip(answers, truths, strict=True)]
    )
    reached: FloatArray = (best[:, None] >= np.array(THRESHOLDS) - TOLERANCE).astype(np.float64)
    return reached


def highlight_measures(predicted: Sequence[FloatArray], ratings: Sequence[FloatArray]) -> FloatArray:
    """Return HL-mAP and HL-Hit@1 of each sentence (N, 2), 0..1.

    Args:
        predicted: Scores of the clips of each sentence's video (clips,); the highest is its highlight.
        ratings: What annotators gave to these clips (clips, annotators), 0 to 4.
    """
    rows = []
    for scores, table in zip(predicted, ratings, strict=True):
        very_good = table >= _VERY_GOOD
        precisions = [_interpolated_precision(column, scores) for column in very_good.T]
        rows.append([np.mean(precisions), very_good[int(np.argmax(scores))].any()])
    measures: FloatArray = np.array(rows, dtype=np.float64)
    return measures


def _interpolated_precision(relevant: NDArray[np.bool_], scores: FloatArray) -> float:
    """Return the mean of the interpolated precision over the thresholds at which recall grows; 0 where nothing is
    relevant, 1 where everything is. Clips of equal scores share a threshold."""
    if relevant.all() or not relevant.any():
        return float(relevant.all())
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # the last clip of each threshold
    right = np.cumsum(relevant[order])[ends]
    precisions = np.maximum.accumulate((right / (ends + 1))[::-1])[::-1]
    return float(precisions[np.diff(right, prepend=0) > 0].mean())


def ious(span: FloatArray | tuple[float, float], others: FloatArray | Spans) -> FloatArray:
    """Return the IoU of one span with others (M,)."""
    table = np.asarray(others, dtype=np.float64)
    both = np.minimum(table[:, 1], span[1]) - np.maximum(table[:, 0], span[0])
    both = both.clip(min=0)
    total = table[:, 1] - table[:, 0] + span[1] - span[0] - both
    ratios: FloatArray = both / np.maximum(total, TOLERANCE)
    return ratios
