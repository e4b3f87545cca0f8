"""What an index is asked with, so that one dot product bounds the score of vectors that consist of blocks.

A block without a sigmoid is linear in the stored vector already. For sigmoid(squash + z), any line a z + c that lies
above it wherever z may be will do: with those in its place, s(q, x) <= p.x + offset for a vector p, the probe. Whoever
has scored the videos with the largest p.x knows that no other video can beat the last p.x + offset.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..types import UNIT_TOLERANCE, Block, FloatArray, Scoring
from .blocks import stretches

# The name of a block with a sigmoid -> the smallest and the largest z = sqrt(n) q.v of each query, (N, 2).
Reach = Mapping[str, FloatArray]

_UNIT = 2.0**-24  # a float32 sum of D products is off by at most D of these times both lengths (Higham 2002, eq. 3.5)
_LENGTHS = 1 + UNIT_TOLERANCE  # a stored vector is at most so long
_STEPS = 20  # of the bisection: any slope will do, and this one is good to six digits


@dataclass(frozen=True, slots=True)
class Bound:
    """Upper bounds of s for N queries: s(q, x) <= probes[i] . x + offsets[i] for each of P lines.

    `probes` (P, N, D) float32 are for the index; `offsets` (P, N) allow for the rounding of float32, in the dot product
    and in the score.
    """

    probes: NDArray[np.float32]
    offsets: NDArray[np.float64]


def bound(queries: FloatArray, scoring: Scoring, reach: Reach | None = None) -> Bound:
    """Return what bounds the scores of queries (N, D) that are texts.

    Args:
        queries: any length.
        scoring: whose blocks are bounded; without any, the query is the probe.
        reach: where each z lies, of blocks with a sigmoid; None, or a block that is missing: anywhere that vectors of
            the lengths of `types.Scoring` allow.

    Returns:
        One line where nothing has a sigmoid. Else two: the chord of the sigmoid over the reach, up to where it touches,
        and the tangent half-way from there to the end. Decision: either of them alone needs thousands of candidates for
        some offset of the sigmoid.
    """
    queries = np.asarray(queries, dtype=np.float32)
    lengths = _rounding(queries)
    if not scoring.blocks:
        return Bound(queries[None], 2 * lengths[None])
    lines = 2 if any(block.squash is not None for block in scoring.blocks) else 1
    probes = np.zeros((lines, *queries.shape), np.float32)
    offsets = np.zeros((lines, len(queries)))
    root = math.sqrt(len(scoring.blocks))
    for block, columns in stretches(scoring.blocks, queries):
        part = queries[:, columns]
        offsets += block.t2v * _rounding(part)
        if block.squash is None:
            probes[:, :, columns] = block.t2v * root * part
            continue
        ends = reach[block.name] if reach and block.name in reach else _possible(part)
        low, high = (np.asarray(ends, np.float64) + block.squash).T
        slopes = _slopes(low, high)  # (2, N)
        probes[:, :, columns] = block.t2v * root * slopes[:, :, None] * part
        offsets += block.t2v * (_intercepts(slopes, low, high) + slopes * block.squash + 8 * _UNIT)
    return Bound(probes, offsets + np.stack([_rounding(rows) for rows in probes]))


def probe(queries: FloatArray, scoring: Scoring, reach: Reach | None = None) -> NDArray[np.float32]:
    """Return what an index is asked with (N, D): the first probe of `bound`. Without blocks, the queries themselves."""
    first: NDArray[np.float32] = bound(queries, scoring, reach).probes[0]
    return first


def reach_probe(queries: FloatArray, scoring: Scoring, block: Block) -> NDArray[np.float32]:
    """Return (N, D): their dot product with a stored vector is the z of one block."""
    probes = np.zeros(queries.shape, np.float32)
    for other, columns in stretches(scoring.blocks, queries):
        if other.name == block.name:
            probes[:, columns] = math.sqrt(len(scoring.blocks)) * queries[:, columns]
    return probes


def widened(smallest: FloatArray, largest: FloatArray, probes: FloatArray) -> FloatArray:
    """Return the ends of a reach (N, 2) of dot products (N,) in float32, with room for their rounding."""
    room = _rounding(probes)
    return np.stack([smallest - room, largest + room], axis=1)


def _rounding(vectors: FloatArray) -> NDArray[np.float64]:
    """Return by how much the dot products of vectors (N, D) with unit vectors may be off in float32, (N,)."""
    share = 2 * (vectors.shape[1] + 4) * _UNIT * _LENGTHS
    room: NDArray[np.float64] = share * np.linalg.norm(vectors.astype(np.float64), axis=1)
    return room


def _possible(part: FloatArray) -> NDArray[np.float64]:
    """Return the ends of z (N, 2) of a block of the queries (Cauchy and Schwarz)."""
    length = np.linalg.norm(part.astype(np.float64), axis=1) * _LENGTHS
    return np.stack([-length, length], axis=1)


def _slopes(low: FloatArray, high: FloatArray) -> NDArray[np.float64]:
    """Return the slopes (2, N) of two lines above the sigmoid on [low, high] (N,), as `bound` says."""
    touch = _touch(low, high)
    chord = (_sigmoid(touch) - _sigmoid(low)) / np.maximum(touch - low, 1e-12)
    first = np.where((touch < high) | (touch - low < 1e-6), _derivative(touch), chord)
    second = np.where(touch < high, _derivative((touch + high) / 2), first)
    return np.stack([first, second])


def _touch(low: FloatArray, high: FloatArray) -> FloatArray:
    """Return where, in [low, high], the line from the sigmoid at `low` to the sigmoid is steepest: it touches there."""
    left, right = np.clip(0.0, low, high), np.array(high)
    start = _sigmoid(low)
    for _ in range(_STEPS):
        middle = (left + right) / 2
        below = _sigmoid(middle) - start < _derivative(middle) * (middle - low)  # it still gets steeper
        left, right = np.where(below, middle, left), np.where(below, right, middle)
    return right


def _intercepts(slopes: FloatArray, low: FloatArray, high: FloatArray) -> NDArray[np.float64]:
    """Return the smallest c (2, N) with sigmoid(t) <= slope t + c on all of [low, high]: the maximum of the difference
    is at an end, or where the sigmoid has that slope on its way down."""
    root = np.sqrt(np.clip(1 - 4 * slopes, 0, 1))
    with np.errstate(divide="ignore"):
        level = np.clip(np.log1p(root) - np.log1p(-root), low, high)
    intercepts: NDArray[np.float64] = np.max(
        [_sigmoid(point) - slopes * point for point in (low, high, level)], axis=0, initial=-np.inf
    )
    return intercepts


def _sigmoid(values: FloatArray) -> NDArray[np.float64]:
    half: NDArray[np.float64] = (1 + np.tanh(np.asarray(values, np.float64) / 2)) / 2
    return half


def _derivative(values: FloatArray) -> NDArray[np.float64]:
    value = _sigmoid(values)
    return value * (1 - value)
