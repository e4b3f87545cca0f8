"""Which level of a model decided between two videos: it explains a place in a ranking, and what a failure is due to."""

from __future__ import annotations

from collections.abc import Mapping


def lost_level(scores: Mapping[str, float], better: Mapping[str, float], weights: Mapping[str, float]) -> str | None:
    """Return the level by which a video falls furthest behind a better one; None where it is behind in none.

    Args:
        scores: what each level says of the video, before its weight; further scores are passed over.
        better: the same of the better one.
        weights: how much each level counts; the first of equal ones is taken.

    >>> weights = {"entity": 0.75, "action": 0.25}
    >>> lost_level({"entity": 0.5, "action": 0.1}, {"entity": 0.6, "action": 0.3}, weights)
    'entity'
    >>> lost_level({"entity": 0.9, "action": 0.1}, {"entity": 0.6, "action": 0.1}, weights) is None
    True
    """
    losses = {name: weight * (better[name] - scores[name]) for name, weight in weights.items()}
    level = max(losses, key=lambda name: losses[name], default=None)
    return level if level is not None and losses[level] > 0 else None
