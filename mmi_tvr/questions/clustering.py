"""Which questions ask for the same: k-means on the mean of their words' vectors.

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

FEWEST, MOST = 2, 12  # k by silhouette lies between
SEEDS = 5  # runs that are compared for the stability
_STARTS = 10
_DIGITS = 6  # of a distance: what lies behind them differs between machines
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
        """The question numbers of each cluster, in ascending distance to the centre; ties by number."""
        order = np.lexsort((np.arange(len(self.labels)), self.distances))
        return tuple(tuple(int(each) for each in order if self.labels[each] == label) for label in range(self.k))


def words(text: str) -> list[str]:
    """The words of a question, in small letters (decision), without punctuation. A script without spaces is one word.

    >>> words("What's left, and what's right?")
    ["what's", 'left', 'and', "what's", 'right']
    """
    return _WORD.findall(text.lower())


def vectors(questions: Sequence[str], model: Model) -> NDArray[np.float64]:
    """The mean over each question's words of their vectors (N, D), not normalised: the first term of eq. 5.

    Any model will do: a word is embedded as a query that consists of it, and once only.
    """
    split = [words(text) or [text] for text in questions]
    known = sorted({word for each in split for word in each})
    if not known:
        return np.zeros((0, 0))
    embedded = np.asarray(model.embed_queries([Query(word) for word in known]), dtype=np.float64)
    place = {word: at for at, word in enumerate(known)}
    return np.stack([embedded[[place[word] for word in each]].mean(axis=0) for each in split])


def cluster(points: FloatArray, k: int | None = None, seed: int = 0) -> Clustering:
    """Clusters of vectors (N, D): `k` of them, or as many between 2 and 12 as have the best silhouette.

    Deterministic. Fewer than three differing vectors are not clustered: each is one of its own. UsageError where there
    are fewer differing vectors than `k`, or none.
    """
    distinct = len(np.unique(points, axis=0)) if len(points) else 0
    if k is not None and k < 1:
        raise UsageError(f"at least 1 cluster is needed, not {k}")
    if distinct < (k or 1):
        told = f"{len(points)} questions" + (f" ({distinct} that differ)" if distinct < len(points) else "")
        raise UsageError(f"{k or 1} clusters cannot be made of {told}: enable more, or ask for fewer clusters")
    found: Mapping[int, float] = {}
    if k is None:
        found = _silhouettes(points, range(FEWEST, min(MOST, distinct, len(points) - 1) + 1), seed)
        k = max(found, key=lambda each: (found[each], -each)) if found else min(distinct, FEWEST)
    labels = _labels(points, k, seed)
    centres = np.stack([points[labels == label].mean(axis=0) for label in range(k)])
    distances = np.linalg.norm(points - centres[labels], axis=1).round(_DIGITS)
    return Clustering(labels, distances, centres, found, _stability(points, k, seed, labels))


def alike(points: FloatArray, threshold: float) -> list[tuple[int, int, float]]:
    """Pairs of unit vectors (N, D) that mean nearly the same: numbers and cosine, the most alike first.

    Decision: the cosine is that of what is left when the mean of all is taken away. Questions have so much in common
    that otherwise each model would need a threshold of its own.
    """
    if len(points) < 3:
        return []
    centred = points - points.mean(axis=0)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    cosines = np.triu(centred @ centred.T, 1)
    rows, columns = np.nonzero(cosines >= threshold)
    found = [(int(row), int(column), float(cosines[row, column])) for row, column in zip(rows, columns, strict=True)]
    return sorted(found, key=lambda pair: -pair[2])


def _silhouettes(points: FloatArray, ks: Sequence[int], seed: int) -> dict[int, float]:
    from sklearn.metrics import silhouette_score

    return {k: round(float(silhouette_score(points, _labels(points, k, seed))), 4) for k in ks}


def _stability(points: FloatArray, k: int, seed: int, labels: IdArray) -> float:
    from sklearn.metrics import adjusted_rand_score

    others = (_labels(points, k, seed + more) for more in range(1, SEEDS))
    return round(float(np.mean([adjusted_rand_score(labels, other) for other in others])), 4)


def _labels(points: FloatArray, k: int, seed: int) -> IdArray:
    """Labels (N,) of the best of ten starts, renumbered by first appearance."""
    from sklearn.cluster import KMeans

    found = KMeans(n_clusters=k, n_init=_STARTS, random_state=seed).fit_predict(np.asarray(points, dtype=np.float64))
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(int(label), len(numbers)) for label in found], dtype=np.int64)
