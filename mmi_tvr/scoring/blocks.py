"""How vectors that consist of blocks are compared: the formulas of `types.Scoring`, which without blocks are the dot
product."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..protocols import Model
from ..types import Block, Direction, FloatArray, Scoring
from ..utils.wording import model_title


def similarities(
    left: FloatArray, right: FloatArray, scoring: Scoring, direction: Direction = "t2v"
) -> NDArray[np.float32]:
    """Return s (N, M) of vectors (N, D) and (M, D), float32; of a single right one, (D,), it is (N,).

    One side are queries, the other whole videos or moments; which is which makes no difference.
    UsageError where the blocks are not as wide as the vectors.
    """
    left, right = np.asarray(left, dtype=np.float32), np.asarray(right, dtype=np.float32)
    if not scoring.blocks:
        dots: NDArray[np.float32] = left @ right.T
        return dots
    total = np.zeros((len(left), *right.shape[:-1]), np.float32)
    for block, columns in stretches(scoring.blocks, left, right):
        if weight := block.weight(direction):
            total += np.float32(weight) * _compared(left[:, columns], right[..., columns], block, len(scoring.blocks))
    return total


def block_scores(queries: FloatArray, vectors: FloatArray, scoring: Scoring) -> Mapping[str, NDArray[np.float32]]:
    """Return what each block says of queries (N, D) and vectors (M, D): its name -> (N, M), before any weight.

    Empty where the vectors have no blocks.
    """
    left, right = np.asarray(queries, dtype=np.float32), np.asarray(vectors, dtype=np.float32)
    return {
        block.name: _compared(left[:, columns], right[:, columns], block, len(scoring.blocks))
        for block, columns in stretches(scoring.blocks, left, right)
    }


def stretches(blocks: Sequence[Block], *vectors: FloatArray) -> Iterator[tuple[Block, slice]]:
    """Yield each block with its columns. UsageError where all together are not as wide as these vectors (N, D)."""
    total = sum(block.width for block in blocks)
    for width in (rows.shape[-1] for rows in vectors if blocks):
        if width != total:
            names = ", ".join(f"{block.name} {block.width}" for block in blocks)
            raise UsageError(f"the blocks of the scores ({names}) have {total} numbers, and the vectors {width}")
    start = 0
    for block in blocks:
        yield block, slice(start, start + block.width)
        start += block.width


def reweighted(model: Model, levels: Mapping[str, float]) -> Model:
    """Return a copy of a model, sharing all that it has loaded, whose blocks count otherwise where a text asks.

    It is without the laws of the model, which were measured with its own scores.

    Args:
        model: whose vectors consist of blocks.
        levels: name of a block -> what its weight is multiplied by; 0 leaves it out.

    Raises:
        UsageError: there are no blocks, or none of such a name; a factor below 0 or not finite; no block is left.
    """
    blocks = model.scoring.blocks
    names = [block.name for block in blocks]
    if not blocks:
        raise UsageError(f"{model_title(model)} has no levels: it compares vectors as a whole; leave out levels")
    if unknown := [name for name in levels if name not in names]:
        raise UsageError(f"{model_title(model)} has no level {unknown[0]!r}; it has: {', '.join(names)}")
    for name, factor in levels.items():
        if not 0 <= factor < math.inf:
            raise UsageError(f"level {name} is multiplied by a number, 0 or more, not {factor}")
    weighted = [replace(block, t2v=block.t2v * levels.get(block.name, 1.0)) for block in blocks]
    if not any(block.t2v for block in weighted):
        raise UsageError("no level is left that counts: give one of them more than 0")
    twin = copy(model)
    twin.scoring = replace(model.scoring, blocks=tuple(weighted), score_law=None, match_law=None)
    return twin


def alone(scoring: Scoring, name: str) -> Scoring:
    """Return a scoring in which the block of a name counts alone, whoever asks."""
    weights = [float(block.name == name) for block in scoring.blocks]
    blocks = [replace(block, t2v=weight, v2t=weight) for block, weight in zip(scoring.blocks, weights, strict=True)]
    return replace(scoring, blocks=tuple(blocks))


def without(scoring: Scoring, name: str) -> Scoring:
    """Return a scoring in which the block of a name does not count, whoever asks."""
    blocks = (replace(block, t2v=0.0, v2t=0.0) if block.name == name else block for block in scoring.blocks)
    return replace(scoring, blocks=tuple(blocks))


def sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return 1 / (1 + exp(-x)) in place, without overflow."""
    values *= np.float32(0.5)
    np.tanh(values, out=values)
    values += np.float32(1)
    values *= np.float32(0.5)
    return values


def _compared(left: FloatArray, right: FloatArray, block: Block, blocks: int) -> NDArray[np.float32]:
    """Return g(sqrt(n) q.v) (N, M) of the columns of one of n blocks: (N, width) and (M, width)."""
    products: NDArray[np.float32] = left @ right.T
    products *= np.float32(math.sqrt(blocks))
    if block.squash is None:
        return products
    products += np.float32(block.squash)
    return sigmoid(products)
