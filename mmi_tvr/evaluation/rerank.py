"""Re-ranking a whole test set: the best candidates of every caption, and of every video, in the order of their joint
scores. What the other queries of the test set are changes nothing, so the numbers stay inductive.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..scoring.joint import JointScore, permutation
from ..types import FloatArray
from ..utils.progress import Progress, Silent
from .transductive import Directions, MakeBlocks

# The number of a caption, and those of videos -> p of each pair; NaN where there is none.
Probabilities = Callable[[int, Sequence[int]], FloatArray]
Pairs = Mapping[int, Mapping[int, float]]  # row -> column -> value


def reranked(
    blocks: MakeBlocks,
    probabilities: Probabilities,
    scoring: JointScore,
    progress: Progress | None = None,
) -> Directions:
    """Blocks of cosines (captions x videos), and what to rank instead of them, text-to-video and video-to-text.

    The `scoring.depth` best of a caption (a video) swap their cosines so that these follow the joint scores
    lambda_r cos + lambda_s p; a pair without p keeps its own. Memory: depth x (captions + videos) pairs.
    """
    progress = progress or Silent()
    of_rows, of_columns = _best(blocks, scoring.depth)
    wanted: dict[int, set[int]] = defaultdict(set)
    for row, found in of_rows.items():
        wanted[row].update(found)
    for column, found in of_columns.items():
        for row in found:
            wanted[row].add(column)
    progress.begin("judging", len(wanted))  # captions
    judged: dict[int, dict[int, float]] = {}
    for row, columns in sorted(wanted.items()):
        line = sorted(columns)
        judged[row] = dict(zip(line, probabilities(row, line), strict=True))
        progress.advance()

    def joint(row: int, column: int, cosine: float) -> float | None:
        p = judged[row][column]
        return None if np.isnan(p) else scoring.of(cosine, p)

    rows: dict[int, dict[int, float]] = {}
    for row, found in of_rows.items():
        rows[row] = _swapped(found, [joint(row, column, cosine) for column, cosine in found.items()])
    columns_in_rows: dict[int, dict[int, float]] = defaultdict(dict)
    for column, found in of_columns.items():
        for row, value in _swapped(found, [joint(row, column, cosine) for row, cosine in found.items()]).items():
            columns_in_rows[row][column] = value
    return Directions(lambda: _replaced(blocks, rows), lambda: _replaced(blocks, columns_in_rows))


def _swapped(found: Mapping[int, float], joint: Sequence[float | None]) -> dict[int, float]:
    """The cosines of candidates (best first), dealt out anew in the order of their joint scores."""
    names, values = [*found], [*found.values()]
    return {names[at]: value for at, value in zip(permutation(joint), values, strict=True)}


def _best(blocks: MakeBlocks, depth: int) -> tuple[Pairs, Pairs]:
    """The best columns of every row, and the best rows of every column, best first, with their values."""
    of_rows: dict[int, dict[int, float]] = {}
    start, values, places = 0, None, None
    for block in blocks():
        block = np.asarray(block)
        top = _top(block.T, depth)  # (depth, rows)
        for at in range(len(block)):
            of_rows[start + at] = {int(column): float(block[at, column]) for column in top[:, at]}
        numbers = np.broadcast_to(np.arange(start, start + len(block))[:, None], block.shape)
        values = block if values is None else np.concatenate([values, block])
        places = numbers if places is None else np.concatenate([places, numbers])
        kept = _top(values, depth)
        values, places = np.take_along_axis(values, kept, 0), np.take_along_axis(places, kept, 0)
        start += len(block)
    if values is None or places is None:
        return {}, {}
    of_columns = {
        column: {int(row): float(value) for row, value in zip(places[:, column], values[:, column], strict=True)}
        for column in range(values.shape[1])
    }
    return of_rows, of_columns


def _top(values: FloatArray, depth: int) -> NDArray[np.intp]:
    """Rows of the largest values of each column, largest first, equal ones as they stand. (N, M) -> (depth, M)."""
    order: NDArray[np.intp] = np.argsort(-values, axis=0, kind="stable")[:depth]
    return order


def _replaced(blocks: MakeBlocks, pairs: Pairs) -> Iterator[FloatArray]:
    start = 0
    for block in blocks():
        changed = np.array(block)
        for at in range(len(changed)):
            own = pairs.get(start + at)
            if own:
                changed[at, [*own]] = [*own.values()]
        start += len(changed)
        yield changed
