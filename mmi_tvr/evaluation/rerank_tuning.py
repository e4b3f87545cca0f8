"""Which weight, depth and number of questions re-ranking should have, chosen by cross-validation on captions.

Decision: the choice is by the mean reciprocal rank, which has less noise than R@1; among equals the cheapest is taken,
and plain search (no weight of the judge) is among the choices. What re-ranking adds is measured on captions whose
videos took no part in the choice, and it pays where the 95 % interval of that difference of R@1 lies above 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..errors import UsageError
from ..scoring.joint import permutation
from ..types import FloatArray, IdArray
from .bootstrap import bootstrap_means, share_with_ends

LAMBDAS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0)  # beside a lambda_r of 0.6
DEPTHS = (5, 10, 20)
FOLDS = 5


@dataclass(frozen=True, slots=True)
class JudgedCandidates:
    """The best M candidates of one caption, best first.

    `group` is the number of the caption's video, `place` where that stands among them, None where it does not;
    `probabilities` are the judge's (M,) by the number of questions that were asked, NaN where there is none.
    """

    group: int
    place: int | None
    cosines: FloatArray
    probabilities: Mapping[int, FloatArray]


@dataclass(frozen=True, slots=True)
class RerankSetting:
    """Settings of re-ranking that are tried. A `lambda_s` of 0 is plain search."""

    questions: int
    depth: int
    lambda_s: float


@dataclass(frozen=True, slots=True)
class Measured:
    """R@1 of captions, and the ends of its 95 % interval, in percent; and their mean reciprocal rank (0..1)."""

    recall: float
    low: float
    high: float
    reciprocal_rank: float


@dataclass(frozen=True, slots=True)
class Tuning:
    """What cross-validation says.

    `plain` and `reranked` are measured on the same captions, `reranked` each with what the other folds chose; `gain` is
    their difference of R@1 with its 95 % interval, in percent. `best` is chosen on all captions, `curve` has every
    choice on all of them.
    """

    captions: int
    videos: int
    folds: int
    plain: Measured
    reranked: Measured
    gain: tuple[float, float, float]
    best: RerankSetting
    curve: Mapping[RerankSetting, Measured] = field(repr=False)

    @property
    def pays(self) -> bool:
        return self.best.lambda_s > 0 and self.gain[1] > 0

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract)."""
        return {
            "captions": self.captions,
            "videos": self.videos,
            "folds": self.folds,
            "plain": asdict(self.plain),
            "reranked": asdict(self.reranked),
            "gain": dict(zip(("value", "low", "high"), self.gain, strict=True)),
            "pays": self.pays,
            "best": asdict(self.best),
            "curve": [asdict(choice) | asdict(measured) for choice, measured in self.curve.items()],
        }


def choices(
    questions: Sequence[int], depths: Sequence[int] = DEPTHS, lambdas: Sequence[float] = LAMBDAS
) -> list[RerankSetting]:
    """Return all settings to try, the cheapest first; plain search is the first.

    >>> [(one.questions, one.depth, one.lambda_s) for one in choices([4, 2], [5], [0.1])]
    [(2, 5, 0.0), (2, 5, 0.1), (4, 5, 0.1)]
    """
    plain = RerankSetting(min(questions), min(depths), 0.0)
    tried = [
        RerankSetting(count, depth, weight)
        for count in sorted(set(questions))
        for depth in sorted(set(depths))
        for weight in sorted(set(lambdas))
        if weight > 0
    ]
    return [plain, *tried]


def tune(
    candidates: Sequence[JudgedCandidates],
    tried: Sequence[RerankSetting],
    lambda_r: float,
    folds: int = FOLDS,
    seed: int = 0,
) -> Tuning:
    """Choose among settings by cross-validation over videos.

    Args:
        candidates: of each caption, at least as many as the deepest choice.
        tried: as `choices` returns them: the first is plain search.
        lambda_r: the weight of the cosine.
        folds: parts into which the videos are dealt; fewer where there are fewer videos.
        seed: of the dealing.

    Raises:
        UsageError: the captions are of fewer than two videos.
    """
    numbers = np.array([one.group for one in candidates], dtype=np.int64)
    videos, numbers = np.unique(numbers, return_inverse=True)
    if len(videos) < 2:
        raise UsageError("cross-validation needs captions of two videos at least")
    folds = min(folds, len(videos))
    ranks = np.array([[_rank(one, choice, lambda_r) for choice in tried] for one in candidates])  # (N, choices)
    reciprocals = np.divide(1.0, ranks, out=np.zeros(ranks.shape), where=ranks > 0)
    fold_of = np.random.default_rng(seed).permutation(len(videos))[numbers] % folds  # (N,)
    chosen = np.empty(len(candidates), dtype=np.int64)
    for fold in range(folds):
        chosen[fold_of == fold] = _best(reciprocals[fold_of != fold])
    rows = np.arange(len(candidates))
    plain, reranked = ranks[:, 0], ranks[rows, chosen]
    difference = 100 * ((reranked == 1).astype(float) - (plain == 1))
    low, high = bootstrap_means(difference[:, None], numbers)[:, 0]
    return Tuning(
        captions=len(candidates),
        videos=len(videos),
        folds=folds,
        plain=_measured(plain, numbers),
        reranked=_measured(reranked, numbers),
        gain=(float(difference.mean()), float(low), float(high)),
        best=tried[_best(reciprocals)],
        curve={choice: _measured(ranks[:, column], numbers) for column, choice in enumerate(tried)},
    )


def _rank(one: JudgedCandidates, choice: RerankSetting, lambda_r: float) -> int:
    """Return the place of the right video after re-ranking, from 1; 0 where it is no candidate."""
    if one.place is None:
        return 0
    if choice.lambda_s == 0 or one.place >= choice.depth:
        return one.place + 1
    cosines, p = one.cosines[: choice.depth], one.probabilities[choice.questions][: choice.depth]
    joint = lambda_r * cosines.astype(np.float64) + choice.lambda_s * p
    scores = [None if np.isnan(score) else float(score) for score in joint]
    return permutation(scores).index(one.place) + 1


def _best(reciprocals: FloatArray) -> int:
    """Return the column of the largest mean; of equal ones, the first."""
    means = reciprocals.mean(axis=0)
    return int(np.flatnonzero(means >= means.max() - 1e-9)[0])


def _measured(ranks: IdArray, numbers: IdArray) -> Measured:
    """Return what ranks (N,) say; `numbers` are those of the captions' videos."""
    recall = share_with_ends((ranks == 1).tolist(), numbers.tolist())
    reciprocal = float(np.divide(1.0, ranks, out=np.zeros(len(ranks)), where=ranks > 0).mean())
    return Measured(*recall, reciprocal)
