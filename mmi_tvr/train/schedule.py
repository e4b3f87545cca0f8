"""Learning rates: linear warm-up, then a half cosine. A pure function of the step, so there is no state to save."""

from __future__ import annotations

import math


def factor(step: int, steps: int, warmup: float = 0.1, floor: float = 0.0) -> float:
    """Return the share of the peak learning rate at a step of a stage.

    Args:
        step: counted from 0 within the stage.
        steps: of the stage.
        warmup: share of the steps in which the rate rises; its first step is not at zero.
        floor: where the cosine ends, as a share of the peak.

    >>> [round(factor(step, 10, warmup=0.2), 2) for step in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.04]
    """
    warmup_steps = round(warmup * steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2
