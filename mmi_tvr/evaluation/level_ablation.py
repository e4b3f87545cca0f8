"""What each level of a model adds to its search: the ranks without it, and by it alone.

The weights of the model stay as they are. A model that is trained without a level (`experiments.component_ablation`) is
another one, whose other levels may learn what that one would have added.
"""

from __future__ import annotations

from ..errors import UsageError
from ..scoring.blocks import alone, without
from ..types import FloatArray, Scoring
from ..utils.tables import interval
from .bootstrap import mean_with_ends
from .metrics import DirectionRanks, recalls_by_video, summary
from .report import Details, gallery_ranks

ALL = "all levels"


def require_levels(scoring: Scoring) -> None:
    """Raise UsageError where a model has no levels."""
    if len(scoring.blocks) < 2:
        raise UsageError(
            "a model of several levels is measured, and this one compares vectors as a whole: take another"
        )


def level_ranks(details: Details) -> dict[str, DirectionRanks]:
    """Return the ranks of both directions by all levels, without each of them, and by each of them alone.

    Raises what `require_levels` does.
    """
    require_levels(details.scoring)
    blocks = details.scoring.blocks
    scorings = {
        ALL: details.scoring,
        **{f"without {block.name}": without(details.scoring, block.name) for block in blocks},
        **{f"{block.name} alone": alone(details.scoring, block.name) for block in blocks},
    }
    return {
        title: gallery_ranks(details.gallery, details.query_vectors, details.ground_truth, scoring)
        for title, scoring in scorings.items()
    }


def level_rows(details: Details) -> list[list[str]]:
    """Return the table of an ablation as rows of cells, the first one with the titles.

    A row has R@1 of both directions, SumR, and its difference to that of all levels, paired by video.

    details: Of an evaluation with one caption of each video; else UsageError.
    """
    ranks = level_ranks(details)
    everything = _by_video(ranks[ALL])
    rows = [[f"levels (n = {len(everything):,})", "T2V R@1", "V2T R@1", "SumR", f"SumR minus {ALL}"]]
    for title, of_title in ranks.items():
        cells = [title]
        for side in (of_title.t2v, of_title.v2t):
            metrics = summary(side)
            cells.append(interval(metrics.r1, *metrics.ci95["R@1"]))
        added = _by_video(of_title)
        cells.append(interval(*mean_with_ends(added)))
        cells.append("-" if title == ALL else interval(*mean_with_ends(added - everything), signed=True))
        rows.append(cells)
    return rows


def _by_video(ranks: DirectionRanks) -> FloatArray:
    if len(ranks.t2v) != len(ranks.v2t):
        raise UsageError("SumR is paired by video: take a data set with one caption of each video (captions: 1)")
    return recalls_by_video(ranks.t2v, ranks.v2t)
