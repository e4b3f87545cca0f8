"""What every index checks, filters and ranks in the same way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import IndexMismatch, IndexMissing, UsageError
from ..types import Filter, FloatArray, IdArray, Level, moment_of, video_of

UNIT_TOLERANCE = 1e-3  # float16 models round a norm by at most this much
# The file that tells whose folder it is.
_MARKS = {"manifest.json": "flat or faiss", "milvus.db": "milvus", "milvus.json": "milvus on a server"}
_REBUILD = "mmi-tvr index DIR... --library LIB --rebuild"


def checked_ids(ids: ArrayLike) -> IdArray:
    """Ids as int64 (N,): one axis, whole numbers, none negative, none twice; else UsageError."""
    found = np.asarray(ids)
    if found.size == 0:
        return np.empty(0, np.int64)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise UsageError(f"ids are one row of integers, not {found.dtype} of shape {found.shape}")
    if int(found.min()) < 0 or int(found.max()) > np.iinfo(np.int64).max:
        raise UsageError("ids lie between 0 and 2**63 - 1")
    found = found.astype(np.int64)
    if len(np.unique(found)) != len(found):
        values, counts = np.unique(found, return_counts=True)
        raise UsageError(f"id {values[counts > 1][0]} comes twice in one call: send each id once")
    return found


def checked_vectors(vectors: ArrayLike, dim: int) -> NDArray[np.float32]:
    """Vectors as C-ordered float32 (N, dim), finite and of length 1 within UNIT_TOLERANCE; else UsageError."""
    given = np.asarray(vectors)
    if given.ndim != 2 or given.shape[1] != dim:
        raise UsageError(f"vectors have shape (N, {dim}) here, not {given.shape}")
    if given.dtype.kind != "f":
        raise UsageError(f"vectors are floating point numbers, not {given.dtype}")
    found = np.ascontiguousarray(given, dtype=np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", found, found))
    if len(wrong := np.flatnonzero(~(np.abs(lengths - 1) <= UNIT_TOLERANCE))):  # "not <=" also catches NaN
        raise UsageError(f"vector {wrong[0]} has length {lengths[wrong[0]]:.4g}, not 1: normalise vectors first")
    return found


def checked_pairs(ids: ArrayLike, vectors: ArrayLike, dim: int) -> tuple[IdArray, NDArray[np.float32]]:
    """Ids (N,) and their vectors (N, dim), both checked."""
    found, rows = checked_ids(ids), checked_vectors(vectors, dim)
    if len(found) != len(rows):
        raise UsageError(f"{len(found)} ids for {len(rows)} vectors: send one id per vector")
    return found, rows


def checked_limit(limit: int) -> int:
    if limit < 1:
        raise UsageError(f"a search returns at least 1 row per query, not {limit}")
    return int(limit)


def checked_level(where: Filter) -> Level | None:
    if where.level not in ("video", "moment", None):
        raise UsageError(f"a filter's level is 'video' or 'moment', not {where.level!r}")
    return where.level


def matches(ids: IdArray, where: Filter | None) -> NDArray[np.bool_] | None:
    """Which ids a filter lets through, as a mask; None where it lets all through."""
    if where is None or (where.level is None and where.videos is None):
        return None
    mask = np.ones(len(ids), bool)
    if checked_level(where) is not None:
        mask &= (moment_of(ids) < 0) == (where.level == "video")
    if where.videos is not None:
        mask &= np.isin(video_of(ids), np.fromiter(where.videos, np.int64, len(where.videos)))
    return mask


def nothing_found(queries: int, limit: int) -> tuple[NDArray[np.float32], IdArray]:
    """An answer (queries, limit) made of padding alone."""
    return np.full((queries, limit), -np.inf, np.float32), np.full((queries, limit), -1, np.int64)


def merge(
    best: tuple[FloatArray, IdArray], owner: NDArray[np.intp], scores: FloatArray, ids: IdArray
) -> tuple[FloatArray, IdArray]:
    """The best of an answer (Q, k) and of loose candidates, each of the query `owner` (C,), in the answer's order.

    >>> best = nothing_found(1, 2)
    >>> scores, ids = merge(best, np.array([0, 0, 0]), np.float32([0.5, 0.9, 0.5]), np.array([7, 8, 6]))
    >>> ids
    array([[8, 6]])
    """
    queries, limit = best[0].shape
    owner = np.concatenate([np.repeat(np.arange(queries), limit), owner])
    scores = np.concatenate([best[0].ravel(), scores])
    ids = np.concatenate([best[1].ravel(), ids])
    order = np.lexsort((ids, -scores, owner))
    owner = owner[order]
    rank = np.arange(len(owner)) - np.searchsorted(owner, np.arange(queries))[owner]
    kept = order[rank < limit]
    return scores[kept].reshape(queries, limit), ids[kept].reshape(queries, limit)


def refuse_foreign(path: Path | str, made_by: tuple[str, int], asked: tuple[str, int]) -> None:
    """Raise IndexMismatch unless (fingerprint, dim) of what is stored and of what is asked for are the same."""
    if made_by != asked:
        raise IndexMismatch(
            f"{path}: its vectors were made by {made_by[0]} ({made_by[1]}-d), not by {asked[0]} ({asked[1]}-d); "
            f"use the model and settings that made them, or make them again: {_REBUILD}"
        )


def in_use(id_: int) -> UsageError:
    return UsageError(f"id {id_} is in the index already: use upsert to replace its vector")


def refuse_other_kind(folder: Path, own: str) -> None:
    """Raise IndexMismatch where the folder holds an index of another kind than that of the file `own`."""
    for mark, kind in _MARKS.items():
        if mark != own and (folder / mark).exists():
            raise IndexMismatch(
                f"{folder}: its vectors are in an index of {kind}; name that in the settings (index.name), "
                f"or make them again: {_REBUILD}"
            )


def nothing_there(path: Path | str) -> IndexMissing:
    return IndexMissing(f"{path}: no vector index is here; make one: mmi-tvr index DIR... --library LIB")


def damaged(path: Path | str, reason: str) -> IndexMissing:
    return IndexMissing(f"{path}: not a readable vector index ({reason}); make it again: {_REBUILD}")
