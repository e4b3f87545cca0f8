"""Choice of Milvus's indexes by a collection's size: their parameters, and what they cost per vector.

The choice (decision) is the first of FLAT, HNSW, IVF_SQ8 and DISKANN that is fast enough and fits into the memory of
the query nodes: recall falls, and so does memory, in that order. What an approximate index confuses near the end of
its answer costs little here, as every candidate is scored again from its stored vector (`search.Searcher`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Literal, get_args

IndexType = Literal["FLAT", "HNSW", "IVF_FLAT", "IVF_SQ8", "IVF_PQ", "DISKANN", "AUTOINDEX"]
INDEX_TYPES: tuple[IndexType, ...] = get_args(IndexType)

EXACT_ROWS = 50_000  # of so many vectors, a server compares all within milliseconds
FIELDS = 20  # bytes of a row beside its vector: id and video of 8, moment of 4
SEGMENT = 1 << 30  # bytes of vectors in a sealed segment, each of which has an index of its own (Milvus's default)
_LINKS, _BEAM = 32, 120  # HNSW: links per vector and layer, beam width while building
_DEGREE = 56  # DiskANN's default: edges of a node
_CODES, _CACHE = 0.125, 0.10  # DiskANN's defaults: memory for codes and for cached nodes, as shares of the raw size
_SECTOR = 4_096  # DiskANN reads whole sectors


@dataclass(frozen=True, slots=True)
class MilvusPlan:
    """An index: its type, what it is built with, and the bytes of memory and of local disk that a vector takes."""

    index_type: IndexType
    build: Mapping[str, int]
    memory: float
    disk: float = 0.0


def choose_milvus_plan(count: int, dim: int, memory: float) -> MilvusPlan:
    """Return the index for `count` vectors of `dim` floats on query nodes with `memory` bytes.

    >>> [choose_milvus_plan(count, 768, 64e9).index_type for count in (10_000, 10_000_000, 60_000_000, 1_000_000_000)]
    ['FLAT', 'HNSW', 'IVF_SQ8', 'DISKANN']
    """
    if count <= EXACT_ROWS:
        return milvus_plan("FLAT", count, dim)
    for index_type in ("HNSW", "IVF_SQ8"):
        candidate = milvus_plan(index_type, count, dim)
        if count * candidate.memory <= memory:
            return candidate
    return milvus_plan("DISKANN", count, dim)


def milvus_plan(index_type: IndexType, count: int, dim: int) -> MilvusPlan:
    """Return the parameters and costs of one index over `count` vectors of `dim` floats."""
    raw = 4 * dim
    cells = _cells(count, dim)
    if index_type == "HNSW":  # the ground layer has twice the links, the layers above 1 / (M - 1) of the vectors
        links = 4 * (2 * _LINKS + _LINKS / (_LINKS - 1)) + 16
        return MilvusPlan(index_type, {"M": _LINKS, "efConstruction": _BEAM}, raw + links + FIELDS)
    if index_type == "IVF_FLAT":
        return MilvusPlan(index_type, {"nlist": cells}, raw + 8 + FIELDS)
    if index_type == "IVF_SQ8":
        return MilvusPlan(index_type, {"nlist": cells}, dim + 8 + FIELDS)
    if index_type == "IVF_PQ":
        subvectors = next(count for count in range(max(1, dim // 4), 0, -1) if dim % count == 0)
        return MilvusPlan(index_type, {"nlist": cells, "m": subvectors, "nbits": 8}, subvectors + 8 + FIELDS)
    if index_type == "DISKANN":
        node = raw + 4 * (_DEGREE + 1)
        disk = _SECTOR / (_SECTOR // node) if node <= _SECTOR else -(-node // _SECTOR) * _SECTOR
        return MilvusPlan(index_type, {}, (_CODES + _CACHE) * raw + FIELDS, disk)
    return MilvusPlan(
        index_type, {}, raw + FIELDS
    )  # FLAT; AUTOINDEX is the server's own choice, and at most about this


def effort(index_type: str, limit: int, beam: int, cells: int, share: float) -> dict[str, int]:
    """Return the search parameters of an index.

    Args:
        index_type: Milvus's name of the index.
        limit: how many rows a query gets; a beam is at least as wide.
        beam: the width of the beam of HNSW and DISKANN.
        cells: how many cells an IVF index has.
        share: which share of these is looked through, 0..1.
    """
    if index_type == "HNSW":
        return {"ef": max(beam, limit)}
    if index_type == "DISKANN":
        return {"search_list": max(beam, limit)}
    if index_type.startswith("IVF_"):
        return {"nprobe": max(1, min(cells, round(share * cells)))}
    return {}


def _cells(count: int, dim: int) -> int:
    """Return the k-means cells of one segment: the power of two next to 4 * sqrt(its vectors).

    Milvus and faiss advise so.
    """
    rows = max(1, min(count, SEGMENT // (4 * dim)))
    return min(65_536, max(16, 1 << round(sqrt(16 * rows)).bit_length() - 1))
