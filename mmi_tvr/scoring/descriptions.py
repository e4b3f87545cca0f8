"""What was said of a video counts beside what is seen of it: auxiliary captions.

    score + 0.3 * (cosine of query and description - mean over the candidates) + 0.02 * share of the best match by words

Source: Wu et al., "Cap4Video: What Can Auxiliary Captions Do for Text-Video Retrieval?", CVPR 2023. Decisions, on
validation videos of moving shapes (docs/search.md has the numbers, `scripts/measure_descriptions.py` makes them):

- A description is what the video answered to all chosen questions, embedded as one sentence by the model that searches:
  the mean or the best of single answers tells less.
- Words count little: they make candidates, and decide between equals.
- Descriptions count where nearly all videos have one (`MIN_DESCRIBED`): where half of them have, those rise above the
  undescribed right ones.

The relevance of a hit stays that of what is seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..types import DescriptionMatch

WEIGHT = 0.3
WORDS = 0.02
MIN_DESCRIBED = 0.95  # of the videos of a collection


def description_changes(matches: Sequence[DescriptionMatch | None], weight: float = WEIGHT) -> NDArray[np.float32]:
    """Return what descriptions add to the scores of n candidates, (n,).

    Args:
        matches: of the query and the description of each candidate; None where there is none.
        weight: of the cosine; that of the words is in proportion.

    >>> dog, cat = DescriptionMatch("a dog", ("dog",), 0.9, 2.0), DescriptionMatch("a cat", (), 0.5)
    >>> [round(change, 2) for change in description_changes([dog, cat, None]).tolist()]
    [0.08, -0.06, 0.0]
    """
    described = np.array([one is not None for one in matches])
    cosines = np.array([0.0 if one is None else one.cosine for one in matches], np.float32)
    words = np.array([0.0 if one is None else one.word_score for one in matches], np.float32)
    changes = np.zeros(len(matches), np.float32)
    if described.any():
        changes[described] = np.float32(weight) * (cosines[described] - cosines[described].mean())
    if words.any():
        changes += np.float32(weight / WEIGHT * WORDS) * words / words.max()
    return changes
