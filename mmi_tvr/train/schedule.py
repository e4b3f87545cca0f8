"""Learning rates: linear warm-up, then a half cosine. A pure function of the step, so there is no state to save."""

from __future__ import annotations

import math


def factor(step: int, steps: int, warmup: float = 0.1, floor: float = 0.0) -> float:
    """Share of the peak learning rate at a step, counted from 0, of a stage of `steps`.

    warmup: share of the steps in which the rate rises; its first step is not at zero. floor: where the cosine ends.

    >>> [round(factor(step, 10, warmup=0.2), 2) for step in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.04]
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    done = (step - rising) / max(1, steps - rising)
    return floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2
