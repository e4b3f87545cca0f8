"""Several systems' matrices of scores, measured on one ground truth, compared in pairs, and fused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import MetricsError
from ..types import FloatArray
from ..utils.tables import interval, text_table
from ..utils.wording import counted
from . import metrics
from .compare import RunComparison
from .fusion import FusedRanks, fuse
from .matrices import MatrixTruth, doubts, rank_matrix
from .metrics import DirectionGroups, DirectionMetrics, DirectionRanks

FUSED = "fused"
_DIRECTIONS = {"t2v": "text-to-video", "v2t": "video-to-text"}


@dataclass(frozen=True, slots=True)
class MatrixReport:
    """What matrices of scores are worth.

    - `systems`: the metrics of both directions, by name of the system; with several, `FUSED` is the last one.
    - `comparisons`: every later system minus the first, and the fusion minus each.
    - `fusion`: the weights; None where there is one matrix.
    - `remarks`: what a reader should know.
    """

    shape: tuple[int, int]
    systems: Mapping[str, DirectionMetrics]
    comparisons: Sequence[RunComparison] = ()
    fusion: FusedRanks | None = None
    remarks: Sequence[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; recalls in percent."""
        systems = {
            name: {direction: side.as_dict() for direction, side in zip(_DIRECTIONS, sides, strict=True)}
            for name, sides in self.systems.items()
        }
        values: dict[str, Any] = {
            "n": self.shape[0],
            "videos": self.shape[1],
            "inductive": True,
            "protocol": dict(metrics.PROTOCOL),
            "systems": systems,
            "comparisons": [comparison.as_dict() for comparison in self.comparisons],
            "remarks": list(self.remarks),
        }
        if self.fusion is not None:
            values["fusion"] = {"weights": self.fusion.weights_dict(self._single_systems())}
        return values

    def table(self) -> str:
        """Return the report as aligned plain text."""
        rows = [["", "n", *metrics.NAMES]]
        for direction, (key, title) in enumerate(_DIRECTIONS.items()):
            rows.append([f"{title} ({metrics.PROTOCOL[key]})", *[""] * (1 + len(metrics.NAMES))])
            for name, sides in self.systems.items():
                numbers = sides[direction]
                cells = [interval(value, *numbers.ci95[part]) for part, value in numbers.values().items()]
                rows.append([f"  {name}", str(numbers.n), *cells])
        lines = [f"{counted(self.shape[0], 'caption')}, {counted(self.shape[1], 'video')}, inductive"]
        lines += [*text_table(rows), "[low, high]: 95 % bootstrap over videos, Wilson's at 0 and 100 %"]
        if self.fusion is not None:
            lines += self._weights(self.fusion)
        lines += [f"note: {remark}" for remark in self.remarks]
        return "\n".join([*lines, *(f"\n{comparison.table()}" for comparison in self.comparisons)])

    def _single_systems(self) -> list[str]:
        return [name for name in self.systems if name != FUSED]

    def _weights(self, fusion: FusedRanks) -> list[str]:
        """Return what the fusion is, and its weights."""
        lines = [f"{FUSED}: weights chosen on one half of the videos, measured on the other, both ways"]
        for direction, title in _DIRECTIONS.items():
            halves = [
                ", ".join(f"{name} {weight:.2f}" for name, weight in zip(self._single_systems(), weights, strict=True))
                for weights in fusion.weights[direction]
            ]
            lines.append(f"  {title}: {'; '.join(halves)}")
        return lines


def evaluate_matrices(matrices: Mapping[str, FloatArray], truth: MatrixTruth) -> MatrixReport:
    """Measure matrices of scores, the later ones against the first, and all of them fused.

    Args:
        matrices: Scores (N, M) by name of the system; larger is better.
        truth: What is right.

    Raises:
        MetricsError: Where a score is NaN; the message names the matrix.
    """
    ranks: dict[str, DirectionRanks] = {}
    remarks: list[str] = []
    first = next(iter(matrices.values()))
    for name, scores in matrices.items():
        try:
            ranks[name] = rank_matrix(scores, truth)
        except MetricsError as error:
            raise MetricsError(f"{name}: {error}") from error
        remarks += [f"{name}: {doubt}" for doubt in doubts(scores, ranks[name], None if scores is first else first)]
    names = list(matrices)
    pairs = [(names[0], name) for name in names[1:]]
    fusion, note = _fusion(matrices, truth)
    if note:
        remarks.append(note)
    if fusion is not None:
        ranks[FUSED] = fusion.ranks
        pairs += [(name, FUSED) for name in names]
    groups = truth.groups
    return MatrixReport(
        truth.shape,
        {name: groups.summary(one) for name, one in ranks.items()},
        [_comparison(baseline, contender, ranks, groups) for baseline, contender in pairs],
        fusion,
        remarks,
    )


def _fusion(matrices: Mapping[str, FloatArray], truth: MatrixTruth) -> tuple[FusedRanks | None, str]:
    """Return the fusion of several matrices, or why there is none."""
    if len(matrices) < 2:
        return None, ""
    try:
        return fuse(list(matrices.values()), truth), ""
    except MetricsError as error:
        return None, f"not fused: {error}"


def _comparison(
    baseline: str, contender: str, ranks: Mapping[str, DirectionRanks], groups: DirectionGroups
) -> RunComparison:
    before, after = ranks[baseline], ranks[contender]
    counts = {"t2v": len(before.t2v), "v2t": len(before.v2t)}
    return RunComparison(baseline, contender, counts, groups.gains(before, after))
