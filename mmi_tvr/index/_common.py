"""What every index checks, filters and ranks in the same way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import IndexMismatch, IndexMissing, UsageError
from ..types import UNIT_TOLERANCE, Filter, FloatArray, IdArray, Level, moment_of, video_of
from ..utils.wording import counted

PADDED = 1_000  # rows up to which an answer has as many as were asked for, however few vectors are stored
# The file that tells whose folder it is.
_MARKER_FILES = {"manifest.json": "flat or faiss", "milvus.db": "milvus", "milvus.json": "milvus on a server"}
_REBUILD = "mmi-tvr index DIR... --library LIB --rebuild"


def checked_ids(ids: ArrayLike) -> IdArray:
    """Return ids as int64 (N,). UsageError unless they are one row of different integers, none of them negative."""
    array = np.asarray(ids)
    if array.size == 0:
        return np.empty(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise UsageError(f"ids are one row of integers, not {array.dtype} of shape {array.shape}")
    if int(array.min()) < 0 or int(array.max()) > np.iinfo(np.int64).max:
        raise UsageError("ids lie between 0 and 2**63 - 1")
    checked = array.astype(np.int64)
    values, counts = np.unique(checked, return_counts=True)
    if len(values) != len(checked):
        raise UsageError(f"id {values[counts > 1][0]} comes twice in one call: send each id once")
    return checked


def checked_vectors(vectors: ArrayLike, dim: int) -> NDArray[np.float32]:
    """Return vectors to be stored as C-ordered float32 (N, dim).

    UsageError unless they are finite and of length 1 within UNIT_TOLERANCE.
    """
    checked, lengths = _rows(vectors, dim)
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= UNIT_TOLERANCE))  # "not <=" also catches NaN
    if len(wrong):
        raise UsageError(f"vector {wrong[0]} has length {lengths[wrong[0]]:.4g}, not 1: normalise vectors first")
    return checked


def checked_queries(queries: ArrayLike, dim: int) -> NDArray[np.float32]:
    """Return queries as C-ordered float32 (N, dim). UsageError unless they are finite; they may have any length."""
    checked, lengths = _rows(queries, dim)
    wrong = np.flatnonzero(~np.isfinite(lengths))
    if len(wrong):
        raise UsageError(f"query {wrong[0]} has length {lengths[wrong[0]]:.4g}: a search needs finite numbers")
    return checked


def _rows(vectors: ArrayLike, dim: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return vectors as C-ordered float32 (N, dim), and their lengths (N,). UsageError for another shape or type."""
    array = np.asarray(vectors)
    if array.ndim != 2 or array.shape[1] != dim:
        raise UsageError(f"vectors have shape (N, {dim}) here, not {array.shape}")
    if array.dtype.kind != "f":
        raise UsageError(f"vectors are floating point numbers, not {array.dtype}")
    with np.errstate(over="ignore"):  # what is too large becomes infinite, which is what the callers look for
        rows = np.ascontiguousarray(array, dtype=np.float32)
        return rows, np.sqrt(np.einsum("ij,ij->i", rows, rows))


def checked_pairs(ids: ArrayLike, vectors: ArrayLike, dim: int) -> tuple[IdArray, NDArray[np.float32]]:
    """Return ids (N,) and their vectors (N, dim), both checked. UsageError where there are not equally many."""
    id_array, rows = checked_ids(ids), checked_vectors(vectors, dim)
    if len(id_array) != len(rows):
        raise UsageError(f"{counted(len(id_array), 'id')} for {counted(len(rows), 'vector')}: send one id per vector")
    return id_array, rows


def checked_limit(limit: int, count: Callable[[], int] | None = None) -> int:
    """Return the number of rows that a search returns per query. UsageError below 1.

    Args:
        limit: what a caller asks for.
        count: counts the stored vectors, of which no more are returned; it is called only for a limit beyond PADDED.
    """
    if limit < 1:
        raise UsageError(f"a search returns at least 1 row per query, not {limit}")
    if count is not None and limit > PADDED:
        return max(PADDED, min(int(limit), count()))
    return int(limit)


def checked_level(where: Filter) -> Level | None:
    """Return the level of a filter. UsageError where there is no such level."""
    if where.level not in ("video", "moment", None):
        raise UsageError(f"a filter's level is 'video' or 'moment', not {where.level!r}")
    return where.level


def matches(ids: IdArray, where: Filter | None) -> NDArray[np.bool_] | None:
    """Return which ids (N,) pass a filter, as a mask (N,); None where all do."""
    if where is None or (where.level is None and where.videos is None):
        return None
    mask = np.ones(len(ids), bool)
    if checked_level(where) is not None:
        mask &= (moment_of(ids) < 0) == (where.level == "video")
    if where.videos is not None:
        mask &= np.isin(video_of(ids), np.fromiter(where.videos, np.int64, len(where.videos)))
    return mask


def nothing_found(queries: int, limit: int) -> tuple[NDArray[np.float32], IdArray]:
    """Return scores and ids (queries, limit) that are padding alone."""
    return np.full((queries, limit), -np.inf, np.float32), np.full((queries, limit), -1, np.int64)


def merge(
    best: tuple[FloatArray, IdArray], query_rows: NDArray[np.intp], scores: FloatArray, ids: IdArray
) -> tuple[FloatArray, IdArray]:
    """Merge candidates into the best so far and return the best of both, best first, ties by smaller id.

    Args:
        best: scores and ids (Q, k) so far; also says how many to return.
        query_rows: for each candidate, the row of its query (C,).
        scores: of the candidates (C,).
        ids: of the candidates (C,).

    Returns:
        Scores and ids (Q, k).

    >>> best = nothing_found(1, 2)
    >>> scores, ids = merge(best, np.array([0, 0, 0]), np.float32([0.5, 0.9, 0.5]), np.array([7, 8, 6]))
    >>> ids
    array([[8, 6]])
    """
    queries, limit = best[0].shape
    query_rows = np.concatenate([np.repeat(np.arange(queries), limit), query_rows])
    scores = np.concatenate([best[0].ravel(), scores])
    ids = np.concatenate([best[1].ravel(), ids])
    order = np.lexsort((ids, -scores, query_rows))
    query_rows = query_rows[order]
    ranks = np.arange(len(query_rows)) - np.searchsorted(query_rows, np.arange(queries))[query_rows]
    best_rows = order[ranks < limit]
    return scores[best_rows].reshape(queries, limit), ids[best_rows].reshape(queries, limit)


def refuse_foreign(path: Path | str, stored: tuple[str, int], requested: tuple[str, int]) -> None:
    """Raise IndexMismatch unless (fingerprint, dim) of the stored and of the requested vectors are the same."""
    if stored != requested:
        raise IndexMismatch(
            f"{path}: its vectors were made by {stored[0]} ({stored[1]}-d), not by {requested[0]} ({requested[1]}-d); "
            f"use the model and settings that made them, or make them again: {_REBUILD}"
        )


def in_use(id_: int) -> UsageError:
    """Return the error of adding an id that is stored already."""
    return UsageError(f"id {id_} is in the index already: use upsert to replace its vector")


def refuse_other_index(folder: Path, marker: str) -> None:
    """Raise IndexMismatch where the folder holds another index than that which has the file `marker`."""
    for file, index_name in _MARKER_FILES.items():
        if file != marker and (folder / file).exists():
            raise IndexMismatch(
                f"{folder}: its vectors are in an index of {index_name}; name that in the settings (index.name), "
                f"or make them again: {_REBUILD}"
            )


def nothing_there(path: Path | str) -> IndexMissing:
    """Return the error of opening an index that is not there."""
    return IndexMissing(f"{path}: no vector index is here; make one: mmi-tvr index DIR... --library LIB")


def damaged(path: Path | str, reason: str) -> IndexMissing:
    """Return the error of opening an index whose files cannot be read."""
    return IndexMissing(f"{path}: not a readable vector index ({reason}); make it again: {_REBUILD}")
