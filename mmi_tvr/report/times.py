"""Times of videos in words."""

from __future__ import annotations

import math

from ..types import Hit


def time_range(hit: Hit) -> str:
    """Return the hit's time range as m:ss-m:ss, in whole seconds that contain it; of a still picture, that word."""
    if hit.facts.is_still:
        return "picture"
    return clock_range(hit.start, hit.end)


def clock_range(start: float, end: float) -> str:
    """Return a stretch of time in whole seconds that contain it.

    >>> clock_range(5.9, 7.2)
    '0:05-0:08'
    """
    return f"{clock_time(start)}-{clock_time(math.ceil(end))}"


def clock_time(seconds: float) -> str:
    """Return seconds as m:ss, or h:mm:ss from an hour on.

    >>> clock_time(75.4), clock_time(3661)
    ('1:15', '1:01:01')
    """
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
