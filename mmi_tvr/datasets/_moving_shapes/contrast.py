"""Contrast sets: pairs of videos that differ in one thing, and the share of captions that prefer their own video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import MetricsError, UsageError
from ...types import FloatArray
from ...utils.intervals import wilson
from ...utils.wording import counted
from .captions import captions
from .generate import contrast_specs
from .world import Spec

PAIRS = 250


@dataclass(frozen=True, slots=True)
class ContrastAccuracy:
    """`accuracy` is the percentage of captions that prefer their own video, over `n` pairs with two captions each."""

    n: int
    accuracy: float
    ci95: tuple[float, float]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"n": self.n, "accuracy": self.accuracy, "ci95": list(self.ci95)}


def contrast_pairs(contrast: str, count: int = PAIRS) -> list[tuple[Spec, str, Spec, str]]:
    """Return pairs that differ in one thing (`generate.CONTRASTS`): spec and caption of one, spec and caption of its
    twin."""
    return [(spec, captions(spec)[0], twin, captions(twin)[0]) for spec, twin in contrast_specs(contrast, count)]


def contrast_accuracy(scores: FloatArray) -> ContrastAccuracy:
    """Measure how often a caption scores higher with its own video than with the twin's; a tie counts as wrong.

    scores: (n, 2, 2), scores[i, c, v] of caption c and video v of pair i; caption c belongs to video c.
    The interval is Wilson's (1927), with the pairs as the sample size (decision: the two captions of a pair are not
    independent, so this is the cautious one). Raises UsageError for another shape or no pair, MetricsError for NaN.
    """
    scores = np.asarray(scores)
    if scores.ndim != 3 or scores.shape[1:] != (2, 2) or not len(scores):
        raise UsageError(f"contrast scores have the shape (pairs, 2 captions, 2 videos), not {scores.shape}")
    if np.isnan(scores).any():
        raise MetricsError(
            f"{np.isnan(scores).any(axis=(1, 2)).sum()} of {counted(len(scores), 'pair')} with a score that is NaN"
        )
    correct = np.stack([scores[:, 0, 0] > scores[:, 0, 1], scores[:, 1, 1] > scores[:, 1, 0]])
    share, n = float(correct.mean()), len(scores)
    return ContrastAccuracy(n, 100 * share, wilson(share, n))
