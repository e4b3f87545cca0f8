"""Attributes: the likeliest classes of a video or a query, and what the two have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..types import Attributes, FacetCalibration, FloatArray

CLASSES = 20  # of a level that are held of one video or query: the likeliest
_MOST_SHARED = 3  # labels of a level that explain a hit


def likeliest(probabilities: FloatArray, names: Sequence[str], count: int = CLASSES) -> list[dict[str, float]]:
    """Return the `count` likeliest of K classes of each of B items, the likeliest first; probabilities: (B, K).

    >>> likeliest(np.array([[0.25, 0.75, 0.5]]), ["a", "b", "c"], 2)
    [{'b': 0.75, 'c': 0.5}]
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
    return [
        {names[column]: float(row[column]) for column in columns}
        for row, columns in zip(probabilities, order, strict=True)
    ]


def shared_labels(query: Attributes, video: Attributes, calibration: FacetCalibration) -> dict[str, tuple[str, ...]]:
    """Return by level the classes that a query names and a video shows, the likeliest of both first.

    Decision: classes alone whose thresholds are reliable on both sides; so the words that explain a hit are right as
    often as the calibration says.
    """
    shared: dict[str, tuple[str, ...]] = {}
    for level, named in query.items():
        shown = video.get(level, {})
        common = [name for name in named if name in shown and _is_shared(level, name, named, shown, calibration)]
        if common:
            common.sort(key=lambda name: -named[name] * shown[name])
            shared[level] = tuple(common[:_MOST_SHARED])
    return shared


def _is_shared(
    level: str, name: str, named: Mapping[str, float], shown: Mapping[str, float], calibration: FacetCalibration
) -> bool:
    of_video, of_query = calibration.threshold(level, name), calibration.queries.get(level, {}).get(name)
    if of_query is None or not of_query.is_reliable or not of_video.is_reliable:
        return False
    return named[name] >= of_query.threshold and shown[name] >= of_video.threshold
