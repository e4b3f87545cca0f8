"""What a sentence excludes counts against a video: "a beach without people" is as much a beach, and as little people.

    order by  score(what is looked for) - 0.5 * max over what is excluded of score(what is excluded)

Decision: a difference of scores, because both are of one model and one collection. Weight and way of counting were
chosen on the validation split of moving shapes, where it is known what is in a video (docs/search.md has the numbers,
`scripts/measure_exclusions.py` makes them). Of several excluded things the worst counts: their sum needs another weight
for each number of things.

The relevance of a hit stays that of what is looked for.
"""

from __future__ import annotations

from ..types import FloatArray

WEIGHT = 0.5


def penalties(scores: FloatArray) -> FloatArray:
    """Return what is taken from the scores of M videos, (M,), for the scores (X, M) of X excluded things.

    >>> import numpy as np
    >>> penalties(np.array([[0.2, 0.8], [0.4, 0.0]]))
    array([0.2, 0.4])
    """
    worst: FloatArray = WEIGHT * scores.max(axis=0)
    return worst
