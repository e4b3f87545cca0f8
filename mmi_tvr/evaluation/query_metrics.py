"""What queries with several right answers are measured by: mAP, R@1 and R@5, with intervals over queries.

Queries about one person rise and fall together, so all of a person's are drawn together in the bootstrap (decision: as
captions of one video are, `metrics.summary`). A query about nobody, or about several, is drawn with those of the same
people; where all are about one person, each is drawn by itself. Where every query says the same (0 or 100 %), the
interval is Wilson's, with what is drawn as the sample size.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MetricsError
from ..types import EvaluationQuery, FloatArray, IdArray
from ..utils.intervals import wilson
from .bootstrap import bootstrap_means, numbered_groups, resampled_means, two_sided_p
from .metrics import Difference

NAMES = ("mAP", "R@1", "R@5")
INTERVALS = "[low, high]: 95 % bootstrap over queries, those of one person together; Wilson's at 0 and 100 %"
_RESAMPLES = 10_000  # of a comparison, as `metrics.paired_bootstrap`


@dataclass(frozen=True, slots=True)
class QueryMetrics:
    """Percentages of `n` queries by name (`NAMES`), and (low, high) of each."""

    n: int
    values: Mapping[str, float]
    ci95: Mapping[str, tuple[float, float]]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"n": self.n, **self.values, "ci95": {name: list(ends) for name, ends in self.ci95.items()}}


def people_of(queries: Sequence[EvaluationQuery]) -> list[Hashable]:
    """Return what each query is drawn with: its people's handles, or itself where it is about nobody."""
    return [
        tuple(sorted(query.query.persons)) if query.query.persons else number for number, query in enumerate(queries)
    ]


def query_metrics(ranks: IdArray, precisions: FloatArray, people: Sequence[Hashable]) -> QueryMetrics:
    """Return the metrics of N queries.

    Args:
        ranks: of the best right sample (N,), 1-based.
        precisions: average precisions (N,) in percent.
        people: what each query is drawn with (`people_of`).
    """
    values = _values(ranks, precisions)
    means = values.mean(axis=0)
    numbers = _drawn_together(people, len(values))
    ends = bootstrap_means(values, numbers)
    ci95 = {name: (float(low), float(high)) for name, low, high in zip(NAMES, *ends, strict=True)}
    for name, mean in zip(NAMES, means.tolist(), strict=True):
        if mean in (0.0, 100.0):
            ci95[name] = wilson(mean / 100, int(numbers.max()) + 1)
    return QueryMetrics(len(values), dict(zip(NAMES, means.tolist(), strict=True)), ci95)


def query_differences(
    baseline: tuple[IdArray, FloatArray], contender: tuple[IdArray, FloatArray], people: Sequence[Hashable]
) -> dict[str, Difference]:
    """Return how much `contender` is above `baseline`, by name of the number (paired bootstrap).

    Args:
        baseline: ranks and average precisions of N queries.
        contender: the same of another run.
        people: what each query is drawn with.
    """
    gaps = _values(*contender) - _values(*baseline)
    numbers = _drawn_together(people, len(gaps))
    drawn = resampled_means(gaps, numbers, _RESAMPLES)
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    p = two_sided_p(drawn, int(numbers.max()) + 1)
    columns = zip(NAMES, gaps.mean(axis=0), low, high, p, strict=True)
    return {name: Difference(*map(float, column)) for name, *column in columns}


def _drawn_together(people: Sequence[Hashable], count: int) -> IdArray:
    """Return the number of what each query is drawn with (count,)."""
    return numbered_groups(people if len(set(people)) > 1 else None, count)


def _values(ranks: IdArray, precisions: FloatArray) -> NDArray[np.float64]:
    """Return the percentages (N, 3) of each query alone."""
    if len(ranks) == 0 or len(ranks) != len(precisions):
        raise MetricsError(f"{len(ranks)} ranks and {len(precisions)} average precisions: a query has both")
    return np.column_stack([precisions, 100.0 * (ranks <= 1), 100.0 * (ranks <= 5)])
