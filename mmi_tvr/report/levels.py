"""Why a hit stands where it does, by the levels of a model: what each says, and in which words both sides agree."""

from __future__ import annotations

from ..scoring.levels import lost_level
from ..search import SearchResult
from ..types import Hit


def level_parts(result: SearchResult, hit: Hit) -> list[str]:
    """Return a part for each level that counts: its score, and the labels that query and video share.

    Empty for models without levels.
    """
    return [
        f"{name} {_short(hit.scores[name])}" + (f" ({', '.join(hit.labels[name])})" if hit.labels.get(name) else "")
        for name, weight in result.levels.items()
        if weight and name in hit.scores
    ]


def lost_by(result: SearchResult, hit: Hit) -> str | None:
    """Return the level by which a hit is furthest behind the first one; None for the first, and without levels."""
    first = result.hits[0] if result.hits else hit
    weights = {name: weight for name, weight in result.levels.items() if name in hit.scores}
    return None if hit is first else lost_level(hit.scores, first.scores, weights)


def level_text(result: SearchResult, hit: Hit) -> str:
    """Return the parts as one line, with the level that lost; empty for models without levels."""
    lost = lost_by(result, hit)
    return ", ".join(level_parts(result, hit)) + (f"; behind the first by {lost}" if lost else "")


def _short(score: float) -> str:
    """Return a score of at most 1 with two decimals and no leading zero.

    >>> _short(0.813), _short(-0.05), _short(1.0)
    ('.81', '-.05', '1.00')
    """
    return f"{score:.2f}".replace("0.", ".", 1) if abs(score) < 0.995 else f"{score:.2f}"
