"""At which seconds a span of a film is sampled: the middles of equal slices of it, or of what of it holds pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STILL = 10.0  # seconds: for longer no picture stays without being taken for a gap


@dataclass(frozen=True, slots=True)
class Slices:
    """Where to look, ascending, and how far these places are apart (seconds)."""

    middles: NDArray[np.float64]  # (N,)
    step: float


def even(start: float, end: float, fps: float, most: int) -> Slices:
    """Return equal slices of a span.

    Args:
        start: of the span, in seconds.
        end: of the span, in seconds.
        fps: slices per second.
        most: at most so many.
    """
    length = end - start
    count = min(max(1, round(length * fps)), most)
    return Slices(start + (np.arange(count) + 0.5) * length / count, length / count)


def over_pictures(times: Sequence[float], start: float, end: float, fps: float, most: int) -> Slices:
    """Return slices of equal content: a picture that stays for long counts as if it stayed for ten seconds.

    Decision: a gap of an hour in a recording, or a picture that stays for an hour, would take all samples otherwise.

    Args:
        times: when pictures come up, in seconds, ascending.
        start: of the span, in seconds.
        end: of the span, in seconds.
        fps: slices per second of content.
        most: at most so many.
    """
    bounds = np.array([start, *(time for time in times if start < time < end), end])
    content = np.concatenate([[0.0], np.cumsum(np.minimum(np.diff(bounds), STILL))])  # seconds before each bound
    slices = even(0.0, float(content[-1]), fps, most)
    return Slices(np.interp(slices.middles, content, bounds), slices.step)
