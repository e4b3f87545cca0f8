"""One ranking of what several channels found: what is seen, said and written.

Scores of different spaces cannot be compared; relevance can: the share of unrelated sentences whose best hit by that
channel is worse. Decision (docs/channels.md has the measurement):

    relevance of an item = the largest of: that by what is seen, and of each text channel, its relevance ** STRICTNESS

The more channels there are, the better is the best of what unrelated sentences find: of n independent channels the
largest relevance r is reached by chance as often as r ** n in one. STRICTNESS is that correction, put on the text
channels alone and chosen larger, so that nobody who describes a picture is told of a text that is a little like it; and
what is seen keeps its relevance, whichever channels a library has.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..types import SEEN

STRICTNESS = 100.0
BELIEVED = 0.5  # contribution from which on a text channel has found something


def contributions(relevances: Mapping[str, float]) -> dict[str, float]:
    """Return what the relevance of an item by each channel is worth beside the others, in 0..1.

    >>> [round(contributions({"seen": 0.8, "heard": heard})["heard"], 2) for heard in (0.98, 0.9999)]
    [0.13, 0.99]
    """
    return {name: one if name == SEEN else one**STRICTNESS for name, one in relevances.items()}


def without_excluded(relevance: float, excluded: float) -> float:
    """Return the relevance by a text channel of an item that says what is not to be there, which is excluded so much
    (0..1): its contribution is multiplied by 1 - that.

    >>> [round(without_excluded(0.9999, excluded), 3) for excluded in (0.0, 0.5, 1.0)]
    [1.0, 0.993, 0.0]
    """
    lowered: float = relevance * (1 - excluded) ** (1 / STRICTNESS)
    return lowered


def fused_relevance(relevances: Mapping[str, float]) -> float:
    """Return the relevance, in 0..1, of an item that channels found, by their names.

    >>> fused_relevance({"seen": 0.8, "heard": 0.98}), round(fused_relevance({"seen": 0.8, "heard": 0.9999}), 2)
    (0.8, 0.99)
    """
    return max(contributions(relevances).values(), default=0.0)
