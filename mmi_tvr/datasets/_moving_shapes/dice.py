"""Random integers that are the same on every machine and with every version of Python and numpy.

`random.choice` and `numpy.random.Generator.integers` may change with a version (Python promises `random()` alone,
NEP 19 the bit generators alone), so numbers are drawn by SplitMix64 (Steele, Lea and Flood, "Fast splittable
pseudorandom number generators", 2014): a few exact operations on integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


class Dice:
    """A stream of random integers, named by a path of integers: other paths are other streams.

    >>> [Dice(7, 1).below(100), Dice(7, 1).below(100), Dice(7, 2).below(100)]
    [14, 14, 52]
    """

    def __init__(self, *path: int) -> None:
        self._state = 0
        for part in path:
            self._state = self.next() ^ (part & _MASK)

    def next(self) -> int:
        """Return 64 random bits."""
        self._state = (self._state + _GOLDEN) & _MASK
        mixed = self._state
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB & _MASK
        return mixed ^ (mixed >> 31)

    def below(self, bound: int) -> int:
        """Return an integer in [0, bound)."""
        return self.next() * bound >> 64

    def between(self, low: int, high: int) -> int:
        """Return an integer in [low, high]."""
        return low + self.below(high - low + 1)

    def chance(self, percent: int) -> bool:
        return self.below(100) < percent

    def pick(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]
