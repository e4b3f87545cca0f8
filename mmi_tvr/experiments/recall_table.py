"""Ways to search, compared by R@1 on several sets of videos; what is not chosen is measured on validation alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..evaluation.metrics import SCORE_TOLERANCE, paired_bootstrap, ranks, summary
from ..types import FloatArray, IdArray
from ..utils.tables import interval, markdown_table


@dataclass(frozen=True, slots=True)
class MeasuredRanks:
    """The ranks that a way to search gives.

    Args:
        ranks: (N,), 1-based, one query a video.
        baseline: Name of the way that it is compared with; None: with none.
    """

    ranks: IdArray
    baseline: str | None = None


def diagonal_ranks(scores: FloatArray) -> IdArray:
    """Return the ranks (N,) of the i-th video for the i-th query, from scores (N, N).

    >>> diagonal_ranks(np.array([[0.9, 0.1], [0.8, 0.2]]))
    array([1, 2])
    """
    return ranks([np.asarray(scores)], [{row} for row in range(len(scores))], SCORE_TOLERANCE)


def recall_table(sets: Mapping[str, Mapping[str, MeasuredRanks]]) -> list[str]:
    """Return a Markdown table: R@1 of each way with its 95 % interval, and the paired difference to its baseline.

    Args:
        sets: Ways by their names, by the name of the videos; the first set has all, in the order of the rows.
    """
    header = ["R@1"]
    for name, trials in sets.items():
        header += [f"{name} (n={len(next(iter(trials.values())).ranks)})", "difference"]
    rows = (
        [name, *(cell for trials in sets.values() for cell in _cells(name, trials))]
        for name in next(iter(sets.values()))
    )
    return markdown_table([header, *rows], padded=True)


def _cells(name: str, trials: Mapping[str, MeasuredRanks]) -> list[str]:
    """Return R@1 of a way and its difference, as cells; empty ones where it was not measured."""
    if name not in trials:
        return ["", ""]
    trial = trials[name]
    recalls = summary(trial.ranks)
    cell = interval(recalls.r1, *recalls.ci95["R@1"])
    if trial.baseline is None:
        return [cell, ""]
    difference = paired_bootstrap(trials[trial.baseline].ranks, trial.ranks)["R@1"]
    return [cell, interval(difference.value, difference.low, difference.high, signed=True)]
