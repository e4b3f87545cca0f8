"""Why a caption's own video was not first: the level of the model by which it fell furthest behind the best other one.

The scores are those of the search, re-ranked or not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..scoring.blocks import block_scores
from ..scoring.levels import lost_level
from ..scoring.similarity import Gallery
from ..types import FloatArray, IdArray, Scoring

_ROWS = 256  # scored together


@dataclass(frozen=True, slots=True)
class Rivals:
    """The best right and the best wrong video of a caption, by their columns, with what each level says of them;
    `lost` is the level by which the right one is furthest behind, None where it is behind in none."""

    right: int
    wrong: int
    right_levels: Mapping[str, float]
    wrong_levels: Mapping[str, float]
    lost: str | None


def rivals(
    rows: Sequence[int],
    gallery: Gallery,
    query_vectors: FloatArray,
    ground_truth: Sequence[Collection[int]],
    scoring: Scoring,
) -> Iterator[Rivals]:
    """Yield the rivals of captions, in order.

    Args:
        rows: numbers of captions, each with a video that is wrong for it.
        gallery: M videos.
        query_vectors: (N, D), of all captions.
        ground_truth: of each of the N captions the columns of the right videos.
        scoring: of several blocks.
    """
    weights = {block.name: block.t2v for block in scoring.blocks}
    for start in range(0, len(rows), _ROWS):
        batch = list(rows[start : start + _ROWS])
        for row, scores in zip(batch, gallery.score(query_vectors[batch], scoring), strict=True):
            columns = sorted(ground_truth[row])
            right = columns[int(scores[columns].argmax())]
            scores[columns] = -np.inf
            wrong = int(scores.argmax())
            blocks = block_scores(query_vectors[[row]], gallery.videos[[right, wrong]], scoring)
            of_right, of_wrong = ({name: float(pair[0, side]) for name, pair in blocks.items()} for side in (0, 1))
            yield Rivals(right, wrong, of_right, of_wrong, lost_level(of_right, of_wrong, weights))


def count_lost(
    ranks: IdArray,
    gallery: Gallery,
    query_vectors: FloatArray,
    ground_truth: Sequence[Collection[int]],
    scoring: Scoring,
) -> dict[str, int]:
    """Return by how many captions whose own video was not first each level lost, the most frequent level first.

    ranks: (N,), 1-based; all else as `rivals`.
    """
    failures = np.flatnonzero(ranks > 1).tolist()
    lost = Counter(pair.lost for pair in rivals(failures, gallery, query_vectors, ground_truth, scoring) if pair.lost)
    counts = {block.name: lost[block.name] for block in scoring.blocks}
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
