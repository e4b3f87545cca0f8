"""How the law of scores that a model brings (`types.ScoreLaw`) is made from what was measured (`nothing_found`).

The queries of a training split choose how much a query says (`fit_partial`): the middle of relevance is to lie above
the best scores of absent queries and below those of present ones, where each of the second kind on the wrong side
counts as much as several of the first (decision: silence about what is there is the worse fault). Those of a validation
split choose how high the middle lies as a whole, and the slope (`fit`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..protocols import Model
from ..scoring.relevance import middles
from ..scoring.similarity import Gallery
from ..types import FloatArray, PartialQueries, ScoreLaw
from .nothing_found import Trials, common_threshold
from .query_sets import CAPTIONS, QuerySet

RAW = ScoreLaw(middle=0.0, slope=1.0)
_LOSS = 5.0  # what a lost present query counts, in absent ones that are not told
_CAPTIONS = 3.0  # what captions count, in other queries
_SOFTNESS = 0.03  # of the step from right to wrong, in scores
_STEPS, _RIDGE = 300, 1e-5
_RATES = (0.1, 0.05, 0.003)  # of the weights, the bias, and the scores
_NEWTON_STEPS, _NEWTON_RIDGE = 25, 1e-6


@dataclass(frozen=True, slots=True)
class Margins:
    """How far scores lie above the middle of a law, in the place of relevances, in a collection of `size` videos."""

    law: ScoreLaw
    size: int

    def relevance(self, scores: FloatArray, query: FloatArray) -> FloatArray:
        margins: FloatArray = np.asarray(scores, np.float64) - middles(self.law, query, self.size)
        return margins


def margins(law: ScoreLaw, model: Model, gallery: Gallery, size: int) -> Margins:
    """Calibrate by a law's margins; with its first argument bound, as `nothing_found.trials` takes it."""
    return Margins(law, size)


@dataclass(frozen=True, slots=True)
class _Examples:
    """Scores (E,) of the best hits of queries (E, D) among e^`growth` (E,) videos; signs: 1 where present, else -1."""

    scores: NDArray[np.float64]
    queries: NDArray[np.float32]
    growth: NDArray[np.float64]
    signs: NDArray[np.float64]
    weights: NDArray[np.float64]


def fit_partial(measured: Sequence[tuple[QuerySet, Sequence[Trials]]]) -> ScoreLaw:
    """Return a law that reads queries; its slope is 1.

    Args:
        measured: Raw scores (margins of RAW) of kinds of queries of a training split in collections of several sizes:
            whole captions first, then those that say a part. Sets of sentences about other things count as captions.
    """
    import torch

    examples = _examples(measured)
    scores, queries, growth, signs, weights = (
        torch.from_numpy(np.asarray(values, np.float32))
        for values in (examples.scores, examples.queries, examples.growth, examples.signs, examples.weights)
    )
    direction = torch.zeros(queries.shape[1], requires_grad=True)
    bias = torch.zeros(1, requires_grad=True)
    present = examples.scores[examples.signs > 0]
    levels = torch.tensor([*np.quantile(present, [0.25, 0.05]), 0.0], dtype=torch.float32, requires_grad=True)
    parameters = zip(([direction], [bias], [levels]), _RATES, strict=True)
    optimiser = torch.optim.Adam([{"params": group, "lr": rate} for group, rate in parameters])
    for _ in range(_STEPS):
        whole = torch.sigmoid(queries @ direction + bias)
        middle = whole * levels[0] + (1 - whole) * (levels[1] + levels[2] * growth)
        wrong = torch.sigmoid(signs * (middle - scores) / _SOFTNESS)
        loss = weights @ wrong + _RIDGE * (direction**2).sum()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    middle_of_whole, middle_of_parts, per_log = levels.tolist()
    partial = PartialQueries(middle_of_parts, per_log, tuple(direction.tolist()), bias.item())
    return ScoreLaw(middle_of_whole, RAW.slope, partial)


def _examples(measured: Sequence[tuple[QuerySet, Sequence[Trials]]]) -> _Examples:
    parts: list[tuple[FloatArray, FloatArray, float, float, float]] = []
    for kind, (queries, trials_of_sizes) in enumerate(measured):
        for trials in trials_of_sizes:
            growth, count = math.log(trials.size), _CAPTIONS if kind == 0 else 1.0
            parts.append((trials.present, queries.captions[trials.present_queries], growth, 1.0, _LOSS * count))
            for name, best in trials.absent.items():
                searched = queries.captions if name == CAPTIONS else queries.others[name]
                parts.append((best, searched[trials.absent_queries[name]], growth, -1.0, count))
    scores, vectors, growths, signs, counts = zip(*(part for part in parts if len(part[0])), strict=True)
    lengths = [len(part) for part in scores]
    return _Examples(
        np.concatenate(scores),
        np.concatenate(vectors),
        np.repeat(growths, lengths),
        np.repeat(signs, lengths),
        np.repeat(np.divide(counts, lengths), lengths),
    )


def fit(law: ScoreLaw, measured: Mapping[str, Sequence[Trials]], lost: Mapping[str, float]) -> ScoreLaw:
    """Return a law at its height, with its slope.

    Its middles are the highest at which of the right first hits of no kind of queries more than its share is lost at
    any size, so that 0.5 is where to believe from; its slope is that of a logistic regression of right first hits
    against absent queries, of all kinds.

    Args:
        law: RAW, or one that reads queries.
        measured: Its margins in collections of several sizes, by kinds of queries.
        lost: The shares (0..1), by kinds of queries; a kind that is not among them counts for the slope alone.
    """
    raised = min(common_threshold(measured[kind], share) for kind, share in lost.items())
    trials = [trial for trials_of_sizes in measured.values() for trial in trials_of_sizes]
    present = np.concatenate([trial.present for trial in trials])
    absent = np.concatenate([trial.absent[CAPTIONS] for trial in trials])
    partial = law.partial and replace(law.partial, middle=law.partial.middle + raised)
    return ScoreLaw(law.middle + raised, _slope(present, absent), partial)


def _slope(present: FloatArray, absent: FloatArray) -> float:
    """Return the slope of a logistic regression of right first hits against absent queries."""
    scores = np.concatenate([present, absent])
    labels = np.repeat([1.0, 0.0], [len(present), len(absent)])
    mean, deviation = scores.mean(), scores.std()
    inputs = np.stack([(scores - mean) / deviation, np.ones(len(scores))], axis=1)
    weights = np.zeros(2)
    for _ in range(_NEWTON_STEPS):
        chances = 1 / (1 + np.exp(-inputs @ weights))
        hessian = (inputs * (chances * (1 - chances))[:, None]).T @ inputs + _NEWTON_RIDGE * np.eye(2)
        weights += np.linalg.solve(hessian, inputs.T @ (labels - chances) - _NEWTON_RIDGE * weights)
    return float(weights[0] / deviation)
