"""The people whom nobody named yet: descriptors that are one person's, by average linkage."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..types import FloatArray

MAX_AT_ONCE = 4000  # descriptors whose distances are held at once: 128 MB


def cluster(descriptors: FloatArray, threshold: float) -> NDArray[np.int64]:
    """Return a cluster number (N,) for each descriptor, the largest cluster first (ties: the one that comes first).

    Two groups become one while the mean cosine between their members is at least the threshold. More than
    MAX_AT_ONCE descriptors are grouped in parts first, and then the parts' groups by their mean (decision: exact up to
    there; beyond it memory stays bounded, and who comes in several parts may stay several groups where more than
    MAX_AT_ONCE groups remain).

    Args:
        descriptors: (N, F) unit vectors.
        threshold: cosine of one person, on average, at least.
    """
    if len(descriptors) <= MAX_AT_ONCE:
        return _by_size(_linked(descriptors, threshold))
    parts = np.array_split(np.arange(len(descriptors)), -(-len(descriptors) // MAX_AT_ONCE))
    labels = np.empty(len(descriptors), np.int64)
    centres: list[FloatArray] = []
    for part in parts:
        groups = _linked(descriptors[part], threshold)
        labels[part] = groups + len(centres)
        centres.extend(descriptors[part][groups == group].mean(0) for group in range(groups.max() + 1))
    means = np.array(centres)
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    if len(means) == len(descriptors):  # nobody came twice in a part: other parts would be the same
        return np.arange(len(descriptors))
    return _by_size(cluster(means, threshold)[labels])


def _linked(descriptors: FloatArray, threshold: float) -> NDArray[np.int64]:
    from sklearn.cluster import AgglomerativeClustering

    if len(descriptors) < 2:
        return np.zeros(len(descriptors), np.int64)
    clustering = AgglomerativeClustering(
        n_clusters=None, metric="cosine", linkage="average", distance_threshold=1 - threshold
    )
    labels: NDArray[np.int64] = clustering.fit_predict(descriptors).astype(np.int64)
    return labels


def _by_size(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same groups, numbered by size."""
    groups, first, counts = np.unique(labels, return_index=True, return_counts=True)
    order = sorted(range(len(groups)), key=lambda group: (-counts[group], first[group]))
    number = np.empty(len(groups), np.int64)
    number[order] = np.arange(len(groups))
    renumbered: NDArray[np.int64] = number[np.searchsorted(groups, labels)]
    return renumbered
