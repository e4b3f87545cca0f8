"""The interval of a share: Wilson's score interval, which says something at 0 and at 100 % too."""

from __future__ import annotations

import math

_Z = 1.959964  # 97.5 % of a normal distribution lie below


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (0..1) of n trials, in percent (Wilson 1927).

    >>> low, high = wilson(1.0, 50)
    >>> round(low, 1), high
    (92.9, 100.0)
    """
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    spread = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n * n))
    low, high = 100 * (middle - spread), 100 * (middle + spread)
    return 0.0 if share == 0 else low, 100.0 if share == 1 else high  # without what rounding leaves
