"""The people of a hit in words: who is in the picture, and when."""

from __future__ import annotations

from ..types import Hit
from .times import clock_range

_STRETCHES = 4  # of one person; what is left is counted


def people_text(hit: Hit) -> str:
    """Return who was recognised in the video of a hit, and when (not of a still picture), as one line; empty where
    nobody was.

    >>> from pathlib import Path
    >>> from mmi_tvr.types import Appearance
    >>> times = ("anna", 2.0, 9.4), ("ben", 0.0, 3.0), ("anna", 20.0, 21.0)
    >>> seen = tuple(Appearance(*one, confidence=0.7) for one in times)
    >>> people_text(Hit(Path("a.mp4"), 0.0, 1.0, 0.5, 0.9, 0.9, people=seen))
    'anna 0:02-0:10, 0:20-0:21; ben 0:00-0:03'
    """
    if hit.facts.is_still:
        return "; ".join(dict.fromkeys(one.name for one in hit.people))
    times: dict[str, list[str]] = {}
    for one in hit.people:
        times.setdefault(one.name, []).append(clock_range(one.start, one.end))
    return "; ".join(f"{name} {_listed(stretches)}" for name, stretches in times.items())


def _listed(stretches: list[str]) -> str:
    more = len(stretches) - _STRETCHES
    return ", ".join(stretches[:_STRETCHES]) + (f" and {more} more" if more > 0 else "")
