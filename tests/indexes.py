"""What the tests of the indexes share: data, opening, and search in a dictionary."""

from __future__ import annotations

import numpy as np

from mmi_tvr import plugins
from mmi_tvr.types import moment_of, row_ids, video_of

DIM = 16
OPTIONS = {"faiss": {"graph_from": 1}}  # so that small data uses the graph


def unit(rows, dim=DIM, seed=0):
    """Return random vectors (rows, dim) of length 1."""
    vectors = np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def collection(videos, moments=4):
    """Return the ids of so many videos with so many moments each."""
    return np.concatenate([row_ids(video, moments) for video in range(videos)])


def opened(name, path, dim=DIM, fingerprint="made-by-a", create=True, **options):
    """Open an index by its name, or make it."""
    values = {**OPTIONS.get(name, {}), **options}
    return plugins.build("index", name, values, path=path, dim=dim, fingerprint=fingerprint, create=create)


def naive(stored, queries, limit, where=None):
    """Return scores and ids of the best allowed vectors of a dictionary, fully sorted."""

    def fits(id_):
        level = "video" if moment_of(np.int64(id_)) < 0 else "moment"
        return where is None or (
            where.level in (None, level) and (where.videos is None or int(video_of(np.int64(id_))) in where.videos)
        )

    rows = []
    for query in queries.astype(np.float64):
        scored = [(-np.float32(query @ vector.astype(np.float64)), id_) for id_, vector in stored.items() if fits(id_)]
        best = sorted(scored)[:limit] + [(np.inf, -1)] * limit
        rows.append(best[:limit])
    answers = np.array(rows, np.float64).reshape(len(queries), limit, 2)
    return -answers[..., 0], answers[..., 1].astype(np.int64)


def recall(ids, expected):
    """Return the mean share of the expected ids (N, k) that an answer's ids (N, k) hold."""
    pairs = zip(ids, expected, strict=True)
    return np.mean([len(np.intersect1d(row[row >= 0], best)) / np.sum(best >= 0) for row, best in pairs])
