"""Retrieval in parts of a test set, each ranked alone: the five folds of 1,000 pictures in which MSCOCO is reported."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..types import FloatArray
from . import metrics
from .merged_captions import rows_within
from .metrics import SCORE_TOLERANCE, DirectionBlocks, DirectionMetrics, MakeBlocks


@dataclass(frozen=True, slots=True)
class FoldMetrics:
    """The metrics of queries that were ranked in `count` folds of at most `size` videos."""

    count: int
    size: int
    directions: DirectionMetrics

    @property
    def title(self) -> str:
        """What the folds are called in a table."""
        return f"{self.count} folds of {self.size:,}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        sides = {"t2v": self.directions.t2v.as_dict(), "v2t": self.directions.v2t.as_dict()}
        return {"count": self.count, "videos": self.size, **sides, "SumR": metrics.sum_of_recalls(*self.directions)}


def fold_metrics(
    blocks: DirectionBlocks,
    ground_truth: Sequence[Collection[int]],
    folds: Sequence[Sequence[int]],
    row_groups: Sequence[Hashable],
    column_groups: Sequence[Hashable],
) -> FoldMetrics:
    """Rank the rows of each fold among its columns, and its columns among its rows.

    Decision: the ranks of all folds are summarised together. Of folds of one size, that gives the mean of their recalls
    and of their mean ranks; the median is of all queries, where papers print the mean of the folds' medians.

    Args:
        blocks: Consecutive rows of the scores, as in `metrics`; the parts that are ranked, a share of 1 / folds of the
            whole, are held in memory.
        ground_truth: The columns that are right for each row; those outside its fold are left out.
        folds: The columns of each fold. A row belongs to the folds of its right columns.
        row_groups: What each row belongs to, as in `metrics.summary`.
        column_groups: What each column belongs to.
    """
    places = [{column: place for place, column in enumerate(fold)} for fold in folds]
    rows = [[row for row, right in enumerate(ground_truth) if not place.keys().isdisjoint(right)] for place in places]
    t2v_parts, v2t_parts = (_parts(make_blocks, rows, folds) for make_blocks in blocks)
    of_folds = []
    for place, fold_rows, t2v_part, v2t_part in zip(places, rows, t2v_parts, v2t_parts, strict=True):
        truth = [{place[column] for column in ground_truth[row] if column in place} for row in fold_rows]
        part = DirectionBlocks(partial(iter, [t2v_part]), partial(iter, [v2t_part]))
        of_folds.append(metrics.ranks_of_directions(part, truth, SCORE_TOLERANCE))
    row_owners = [row_groups[row] for fold_rows in rows for row in fold_rows]
    column_owners = [
        column_groups[fold[place]] for fold, ranks in zip(folds, of_folds, strict=True) for place in ranks.columns
    ]
    directions = DirectionMetrics(
        metrics.summary(np.concatenate([ranks.t2v for ranks in of_folds]), groups=row_owners),
        metrics.summary(np.concatenate([ranks.v2t for ranks in of_folds]), groups=column_owners),
    )
    return FoldMetrics(len(folds), max(map(len, folds)), directions)


def _parts(make_blocks: MakeBlocks, rows: Sequence[Sequence[int]], folds: Sequence[Sequence[int]]) -> list[FloatArray]:
    """Return the scores of each fold's rows with its columns, from one pass through the blocks. rows: ascending."""
    parts: list[list[FloatArray]] = [[] for _ in folds]
    start = 0
    for block in make_blocks():
        for part, fold_rows, fold in zip(parts, rows, folds, strict=True):
            here = rows_within(fold_rows, start, start + len(block))
            part.append(block[np.ix_([row - start for row in here], fold)])
        start += len(block)
    return [np.concatenate(part) for part in parts]
