"""How well a model ranks videos by what they show: the average precision of each of its labels, and of rare ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import MetricsError
from ..types import FloatArray
from .metrics import average_precision


def average_precisions(scores: FloatArray, truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the average precision in percent of K labels, each of which ranks N videos; NaN where none has the label.

    Equal scores are as in `metrics.average_precision`.

    Args:
        scores: (N, K), larger is likelier.
        truth: (N, K), whether the video has the label.

    Raises:
        MetricsError: shapes that differ, or NaN among the scores.

    >>> average_precisions(np.array([[0.9], [0.8], [0.7]]), np.array([[True], [False], [True]])).round(1)
    array([83.3])
    """
    if scores.shape != truth.shape:
        raise MetricsError(f"scores of shape {scores.shape}, and a truth of shape {truth.shape}")
    precisions = np.full(scores.shape[1], np.nan)
    known = truth.any(axis=0)
    if known.any():
        ground_truth = [np.flatnonzero(shown).tolist() for shown in truth.T[known]]
        precisions[known] = average_precision([scores.T[known]], ground_truth)
    return precisions


def rare_half(counts: Sequence[int]) -> NDArray[np.bool_]:
    """Return which of K labels are the rarer half by how often the training data have them, (K,); of an odd number the
    middle one is not.

    >>> rare_half([5, 1, 3]).tolist()
    [False, True, False]
    """
    is_rare = np.zeros(len(counts), dtype=np.bool_)
    is_rare[np.argsort(counts, kind="stable")[: len(counts) // 2]] = True
    return is_rare


def mean_precisions(
    scores: Mapping[str, FloatArray],
    truth: Sequence[Mapping[str, Collection[str]]],
    counts: Mapping[str, Mapping[str, int]],
) -> dict[str, dict[str, float]]:
    """Return level -> the mean average precision in percent of `all` its labels and of the `rare` half of them.

    Args:
        scores: level -> (N, K).
        truth: what each of the N videos shows: level -> labels.
        counts: level -> its K labels in the order of the scores, with how often the training data have them.
    """
    means = {}
    for level, names in counts.items():
        held = np.array([[name in one.get(level, ()) for name in names] for one in truth], dtype=np.bool_)
        precisions = average_precisions(scores[level], held.reshape(len(truth), len(names)))
        of_rare = precisions[rare_half(list(names.values()))]
        means[level] = {"all": _mean(precisions), "rare": _mean(of_rare)}
    return means


def _mean(precisions: NDArray[np.float64]) -> float:
    known = precisions[~np.isnan(precisions)]
    return float(known.mean()) if len(known) else float("nan")
