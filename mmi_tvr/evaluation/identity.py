"""How well a model that reads faces tells people apart: "an image of [p]" against a picture of each of many people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import MetricsError
from ..scoring.similarity import Gallery
from ..types import Embeddings, FloatArray, Scoring
from ..utils.wording import counted
from . import metrics


def identity_accuracy(query_vectors: FloatArray, pictures: Sequence[Embeddings], scoring: Scoring) -> float:
    """Return in percent for how many of N people the query finds their picture first among all N; ties are misses.

    Args:
        query_vectors: (N, D), of "an image of [p]" for each person, whose face comes from another picture.
        pictures: of the N people, one each, in the same order.
        scoring: how the two are compared.

    Raises:
        MetricsError: There are no people, or not as many pictures as queries.
    """
    if len(query_vectors) != len(pictures) or not len(pictures):
        raise MetricsError(
            f"{counted(len(query_vectors), 'query', 'queries')} and {counted(len(pictures), 'picture')}: each person "
            "has one of both"
        )
    scores = Gallery.pack(pictures).score(query_vectors, scoring)
    ranks = metrics.ranks([scores], [{number} for number in range(len(pictures))], metrics.SCORE_TOLERANCE)
    return float(100 * np.mean(ranks == 1))
