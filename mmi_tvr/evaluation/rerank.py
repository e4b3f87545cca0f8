"""Re-ranking a whole test set: the best candidates of every caption, and of every video, in the order of their joint
scores. What the other queries of the test set are changes nothing, so the numbers stay inductive.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..scoring.joint import JointScore, permutation
from ..types import FloatArray, IdArray
from ..utils.progress import Progress, Silent
from .metrics import DirectionBlocks, MakeBlocks

# The number of a caption, and those of videos -> p of each pair; NaN where there is none.
Probabilities = Callable[[int, Sequence[int]], FloatArray]
Scores = Mapping[int, float]  # candidate -> score, best first


def reranked(
    blocks: DirectionBlocks,
    probabilities: Probabilities,
    scoring: JointScore,
    progress: Progress | None = None,
    visual: Probabilities | None = None,
) -> DirectionBlocks:
    """Return what to rank instead of blocks of cosines, text-to-video and video-to-text.

    The best candidates of a caption (a video) swap their cosines so that these follow the joint scores
    lambda_r cos + lambda_s p (+ lambda_v p'); a pair without p, or without p', keeps its own. Memory: depth x (captions
    + videos) pairs.

    Args:
        blocks: Make the blocks of cosines (captions x videos) of both directions; are called several times.
        probabilities: p of a caption with some videos; is called once for each caption.
        scoring: The weights, and how many of the best are re-ranked (`depth`).
        progress: Counts the captions that are judged.
        visual: p' of the same pairs, where the judge looks at the videos.
    """
    progress = progress or Silent()
    best_columns, best_rows = _best_columns(blocks.t2v, scoring.depth), _best_rows(blocks.v2t, scoring.depth)
    candidates: dict[int, set[int]] = defaultdict(set)  # row -> columns of all pairs that need a p
    for row, cosines in best_columns.items():
        candidates[row].update(cosines)
    for column, cosines in best_rows.items():
        for row in cosines:
            candidates[row].add(column)
    progress.begin("judging", len(candidates))  # captions
    judged: dict[int, dict[int, tuple[float, float]]] = {}
    for row in sorted(candidates):
        columns = sorted(candidates[row])
        looks = [0.0] * len(columns) if visual is None else visual(row, columns)
        judged[row] = dict(zip(columns, zip(probabilities(row, columns), looks, strict=True), strict=True))
        progress.advance()

    def joint(row: int, column: int, cosine: float) -> float | None:
        terms = judged[row][column]
        return None if np.isnan(terms).any() else scoring.score(cosine, *terms)

    t2v_scores: dict[int, Scores] = {}
    for row, cosines in best_columns.items():
        joint_scores = [joint(row, column, cosine) for column, cosine in cosines.items()]
        t2v_scores[row] = _swapped(cosines, joint_scores)
    v2t_scores: dict[int, dict[int, float]] = defaultdict(dict)  # by row, too, since the blocks are of rows
    for column, cosines in best_rows.items():
        joint_scores = [joint(row, column, cosine) for row, cosine in cosines.items()]
        for row, score in _swapped(cosines, joint_scores).items():
            v2t_scores[row][column] = score
    return DirectionBlocks(lambda: _replaced(blocks.t2v, t2v_scores), lambda: _replaced(blocks.v2t, v2t_scores))


def _swapped(cosines: Scores, joint_scores: Sequence[float | None]) -> dict[int, float]:
    """Return the cosines of candidates (best first), dealt out anew in the order of their joint scores."""
    candidates = list(cosines)
    order = [candidates[position] for position in permutation(joint_scores)]
    return dict(zip(order, cosines.values(), strict=True))


def _best_columns(blocks: MakeBlocks, depth: int) -> dict[int, Scores]:
    """Return the best columns of every row, best first, with their cosines."""
    best: dict[int, Scores] = {}
    for block in map(np.asarray, blocks()):
        start = len(best)
        top = _top(block.T, depth)  # (depth, rows)
        for row, columns in enumerate(top.T.tolist()):
            best[start + row] = {column: float(block[row, column]) for column in columns}
    return best


def _best_rows(blocks: MakeBlocks, depth: int) -> dict[int, Scores]:
    """Return the best rows of every column, best first, with their cosines."""
    cosines: FloatArray | None = None  # (depth, M): the best of each column so far,
    row_numbers: IdArray | None = None  # and the rows that they are in
    start = 0
    for block in map(np.asarray, blocks()):
        numbers = np.broadcast_to(np.arange(start, start + len(block))[:, None], block.shape)
        cosines = block if cosines is None else np.concatenate([cosines, block])
        row_numbers = numbers if row_numbers is None else np.concatenate([row_numbers, numbers])
        top = _top(cosines, depth)
        cosines, row_numbers = np.take_along_axis(cosines, top, 0), np.take_along_axis(row_numbers, top, 0)
        start += len(block)
    if cosines is None or row_numbers is None:
        return {}
    columns = zip(row_numbers.T.tolist(), cosines.T.tolist(), strict=True)
    return {column: dict(zip(rows, values, strict=True)) for column, (rows, values) in enumerate(columns)}


def _top(values: FloatArray, depth: int) -> NDArray[np.intp]:
    """Return the rows of the largest values of each column, largest first, equal ones as they stand.

    (N, M) -> (depth, M).
    """
    order: NDArray[np.intp] = np.argsort(-values, axis=0, kind="stable")[:depth]
    return order


def _replaced(blocks: MakeBlocks, scores: Mapping[int, Scores]) -> Iterator[FloatArray]:
    """Yield the blocks with other scores for some pairs: row -> column -> score."""
    start = 0
    for block in blocks():
        changed = np.array(block)
        for row in range(len(changed)):
            for column, score in scores.get(start + row, {}).items():
                changed[row, column] = score
        start += len(changed)
        yield changed
