"""Draws of the cluster bootstrap: queries of one video rise and fall together, so whole groups are drawn."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import numpy as np

from ..errors import MetricsError
from ..types import FloatArray, IdArray
from ..utils.intervals import wilson
from ..utils.wording import counted

_CELLS = 1 << 19  # draws held at once
_NO_WIDTH = 1e-9  # percent


def numbered_groups(groups: Sequence[Hashable] | None, count: int) -> IdArray:
    """Return the number of each query's group (count,), in order of first appearance; None: a group for each query."""
    if groups is None:
        return np.arange(count)
    if len(groups) != count:
        raise MetricsError(
            f"{counted(len(groups), 'group')} for {counted(count, 'rank')}: each rank belongs to one group"
        )
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups])


def drawn_numbers(numbers: IdArray) -> IdArray:
    """Return the number of what each row is drawn with, of the numbers of groups: of one group alone, each by itself.

    >>> drawn_numbers(np.array([0, 0, 1])).tolist(), drawn_numbers(np.array([0, 0, 0])).tolist()
    ([0, 0, 1], [0, 1, 2])
    """
    return numbers if numbers.any() else np.arange(len(numbers))


def is_point(low: float, high: float) -> bool:
    """Return whether an interval has no width (but for rounding): all resamples said the same."""
    return high - low < _NO_WIDTH


def group_draws(groups: int, resamples: int, seed: int, height: int) -> Iterator[IdArray]:
    """Yield how often each group is drawn, with replacement: (at most `height`, groups) at a time, `resamples` rows.

    The draws depend on seed and number of groups alone: two runs over the same queries see the same ones.
    """
    rng = np.random.default_rng(seed)
    for first in range(0, resamples, height):
        size = min(height, resamples - first)
        draws = rng.integers(groups, size=(size, groups)) + np.arange(size)[:, None] * groups
        yield np.bincount(draws.ravel(), minlength=size * groups).reshape(size, groups)


def bootstrap_means(values: FloatArray, numbers: IdArray, resamples: int = 1000, seed: int = 0) -> FloatArray:
    """Return the ends (2, C) of the 95 % intervals of the means of values (N, C): a cluster bootstrap (percentiles).

    numbers: the group of each row (N,), as `numbered_groups` has it.
    """
    ends: FloatArray = np.percentile(resampled_means(values, numbers, resamples, seed), [2.5, 97.5], axis=0)
    return ends


def mean_with_ends(
    values: FloatArray, groups: Sequence[Hashable] | None = None, resamples: int = 1000
) -> tuple[float, float, float]:
    """Return the mean of values (N,) and the ends of its 95 % interval, as `bootstrap_means` has it.

    groups: What each value belongs to; None: every value is its own group.
    """
    low, high = bootstrap_means(values[:, None], numbered_groups(groups, len(values)), resamples)[:, 0].tolist()
    return float(values.mean()), low, high


def share_with_ends(hits: Sequence[bool], groups: Sequence[Hashable] | None = None) -> tuple[float, float, float]:
    """Return the share of hits (N,) in percent, and the ends of its 95 % interval.

    Where every resample says the same (all of them agree, or there is one group), the interval is Wilson's, with the
    groups as the sample size.

    groups: As in `mean_with_ends`.

    >>> [round(number, 1) for number in share_with_ends([True] * 100, [1] * 50 + [2] * 50)]
    [100.0, 34.2, 100.0]
    """
    count = int(numbered_groups(groups, len(hits)).max()) + 1
    share, low, high = mean_with_ends(np.where(hits, 100.0, 0.0), groups)
    return share, *(wilson(share / 100, count) if count == 1 or is_point(low, high) else (low, high))


def resampled_means(values: FloatArray, numbers: IdArray, resamples: int, seed: int = 0) -> FloatArray:
    """Return the means (resamples, C) of values (N, C) over whole groups that are drawn with replacement; of one group
    alone, over single rows."""
    numbers = drawn_numbers(numbers)
    groups = int(numbers.max()) + 1
    sums = np.zeros((groups, values.shape[1] + 1))
    np.add.at(sums, numbers, np.column_stack([values, np.ones(len(values))]))  # the last column: rows of each group
    height = max(1, _CELLS // groups)
    drawn = np.concatenate([weights @ sums for weights in group_draws(groups, resamples, seed, height)])
    means: FloatArray = drawn[:, :-1] / drawn[:, -1:]
    return means


def two_sided_p(gaps: FloatArray, groups: int) -> FloatArray:
    """Return the p-values (C,) of no difference, from resampled differences (S, C) of so many groups.

    Davison and Hinkley 1997, section 4.2: the observed sample counts as one of the resamples. Decision: none is less
    than a sign test of as many groups can give, 2 * 0.5 ** groups, because few groups that all agree are resampled into
    nothing else; of one group alone it is 1.

    >>> two_sided_p(np.ones((9999, 1)), 20), two_sided_p(np.ones((9999, 1)), 3), two_sided_p(np.ones((9999, 1)), 1)
    (array([0.0002]), array([0.25]), array([1.]))
    """
    tails = [(1 + np.count_nonzero(side, axis=0)) / (1 + len(gaps)) for side in (gaps <= 0, gaps >= 0)]
    p: FloatArray = np.clip(2 * np.minimum(*tails), 0.5 ** (groups - 1), 1.0)
    return p
