"""Clusters of questions that ask for the same: k-means on the mean of their words' vectors.

Source: Li et al., "Multi-Modal Inductive Framework for Text-Video Retrieval", ACM MM 2024, eq. 4 and 5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..protocols import Model
from ..types import FloatArray, IdArray, Query
from ..utils.wording import counted

MIN_CLUSTERS, MAX_CLUSTERS = 2, 12  # of k by silhouette
STABILITY_SEEDS = 5  # runs that are compared for the stability
_KMEANS_STARTS = 10
_DISTANCE_DIGITS = 6  # the digits after them differ between machines
_WORD = re.compile(r"\w+(?:['’-]\w+)*")


@dataclass(frozen=True, slots=True)
class Clustering:
    """Clusters of N questions, numbered in the order in which their first questions come.

    `labels` (N,) is each question's cluster, `distances` (N,) how far it is from that one's centre, `centres` (k, D).
    `silhouettes`: the mean silhouette of every k that was tried; empty where k was given. `stability`: the mean
    adjusted Rand index of runs with other seeds, 1 where all of them agree.
    """

    labels: IdArray
    distances: NDArray[np.float64]
    centres: FloatArray
    silhouettes: Mapping[int, float]
    stability: float

    @property
    def k(self) -> int:
        return len(self.centres)

    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Return the question numbers of each cluster, in ascending distance to the centre; ties by number."""
        order = np.lexsort((np.arange(len(self.labels)), self.distances))
        return tuple(tuple(order[self.labels[order] == label].tolist()) for label in range(self.k))

    def closest(self) -> tuple[int, ...]:
        """Return the number of the question that is closest to the centre of each cluster."""
        return tuple(members[0] for members in self.groups())


def words(text: str) -> list[str]:
    """Return the words of a text in lower case (decision), without punctuation; text without spaces is one word.

    >>> words("What's left, and what's right?")
    ["what's", 'left', 'and', "what's", 'right']
    """
    return _WORD.findall(text.lower())


def question_vectors(questions: Sequence[str], model: Model) -> NDArray[np.float64]:
    """Return the mean of each question's word vectors (N, D), not normalised: the first term of eq. 5.

    Any model will do: a word is embedded as a query that consists of it, and once only.
    """
    question_words = [words(text) or [text] for text in questions]
    vocabulary = sorted({word for own_words in question_words for word in own_words})
    if not vocabulary:
        return np.zeros((0, 0))
    word_vectors = np.asarray(model.embed_queries([Query(word) for word in vocabulary]), dtype=np.float64)
    row = {word: number for number, word in enumerate(vocabulary)}
    return np.stack([word_vectors[[row[word] for word in own_words]].mean(axis=0) for own_words in question_words])


def cluster(points: FloatArray, k: int | None = None, seed: int = 0) -> Clustering:
    """Cluster vectors (N, D) into `k` clusters, or as many between 2 and 12 as have the best silhouette.

    Deterministic. Fewer than three distinct vectors are not clustered: each is one of its own. Raises UsageError where
    there are fewer distinct vectors than `k`, or none.
    """
    distinct = len(np.unique(points, axis=0)) if len(points) else 0
    if k is not None and k < 1:
        raise UsageError(f"at least 1 cluster is needed, not {k}")
    if distinct < (k or 1):
        count = counted(len(points), "question") + (f" ({distinct} that differ)" if distinct < len(points) else "")
        raise UsageError(
            f"{counted(k or 1, 'cluster')} cannot be made of {count}: enable more, or ask for fewer clusters"
        )
    silhouettes: dict[int, float] = {}
    if k is None:
        largest = min(MAX_CLUSTERS, distinct, len(points) - 1)
        silhouettes = _silhouettes(points, range(MIN_CLUSTERS, largest + 1), seed)
        if silhouettes:  # of equal ones the smallest k
            k = min(silhouettes, key=lambda count: (-silhouettes[count], count))
        else:
            k = min(distinct, MIN_CLUSTERS)
    labels = _labels(points, k, seed)
    centres = np.stack([points[labels == label].mean(axis=0) for label in range(k)])
    distances = np.linalg.norm(points - centres[labels], axis=1).round(_DISTANCE_DIGITS)
    return Clustering(labels, distances, centres, silhouettes, _stability(points, k, seed, labels))


def similar_pairs(points: FloatArray, threshold: float) -> list[tuple[int, int, float]]:
    """Return the pairs of unit vectors (N, D) of at least this cosine: both numbers and it, the most similar first.

    Decision: the cosine is that of what is left when the mean of all is taken away. Questions have so much in common
    that otherwise each model would need a threshold of its own.
    """
    if len(points) < 3:
        return []
    centred = points - points.mean(axis=0)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    cosines = np.triu(centred @ centred.T, 1)
    rows, columns = np.nonzero(cosines >= threshold)
    pairs = [(int(row), int(column), float(cosines[row, column])) for row, column in zip(rows, columns, strict=True)]
    return sorted(pairs, key=lambda pair: -pair[2])


def _silhouettes(points: FloatArray, ks: Sequence[int], seed: int) -> dict[int, float]:
    from sklearn.metrics import silhouette_score

    return {k: round(float(silhouette_score(points, _labels(points, k, seed))), 4) for k in ks}


def _stability(points: FloatArray, k: int, seed: int, labels: IdArray) -> float:
    from sklearn.metrics import adjusted_rand_score

    reruns = (_labels(points, k, seed + offset) for offset in range(1, STABILITY_SEEDS))
    return round(float(np.mean([adjusted_rand_score(labels, rerun) for rerun in reruns])), 4)


def _labels(points: FloatArray, k: int, seed: int) -> IdArray:
    """Return the labels (N,) of the best of ten starts, renumbered by first appearance."""
    from sklearn.cluster import KMeans

    kmeans = KMeans(n_clusters=k, n_init=_KMEANS_STARTS, random_state=seed)
    labels = kmeans.fit_predict(np.asarray(points, dtype=np.float64))
    first_seen: dict[int, int] = {}
    return np.array([first_seen.setdefault(int(label), len(first_seen)) for label in labels], dtype=np.int64)
