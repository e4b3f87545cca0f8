"""Seconds as people write them."""

from __future__ import annotations

import re

_SECONDS = re.compile(r"(?:(?:(\d{1,4}):)?(\d{1,5}):)?(\d{1,9}(?:\.\d*)?|\.\d+)", re.ASCII)


def parse_seconds(text: str) -> float | None:
    """Return the seconds of "90", "12.5", "1:30" or "1:02:03"; None for what is none of these.

    >>> [parse_seconds(text) for text in ("12.5", "1:30", "1:02:03", "1:75", "soon")]
    [12.5, 90.0, 3723.0, None, None]
    """
    match = _SECONDS.fullmatch(text.strip())
    if match is None:
        return None
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    if (match[2] and seconds >= 60) or (match[1] and minutes >= 60):
        return None
    return 3600 * hours + 60 * minutes + seconds
