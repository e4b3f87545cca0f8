"""Two saved evaluations of the same queries: by how much one is better, and whether that could be chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..utils.printable import printable
from ..utils.tables import bounds
from . import metrics, saved
from .metrics import Difference
from .saved import DIRECTIONS


@dataclass(frozen=True, slots=True)
class RunComparison:
    """The differences of the run `contender` minus the run `baseline`, by direction and name of the number.

    `n` counts the queries of both runs in each direction.
    """

    baseline: str
    contender: str
    n: Mapping[str, int]
    differences: Mapping[str, Mapping[str, Difference]]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values: dict[str, Any] = {"one": self.baseline, "other": self.contender}
        for direction, differences in self.differences.items():
            numbers = {name: difference._asdict() for name, difference in differences.items()}
            values[direction] = {"n": self.n[direction], **numbers}
        return values

    def table(self) -> str:
        """Return aligned plain text: a row for each direction and number."""
        names = f"{printable(self.contender)} minus {printable(self.baseline)}"
        lines = [f"{names}: paired bootstrap over videos, 95 % interval"]
        for direction, differences in self.differences.items():
            lines.append(f"{DIRECTIONS[direction]}, n = {self.n[direction]}")
            for name, (value, low, high, p) in differences.items():
                mark = " *" if p < 0.05 else ""
                lines.append(f"  {name:<4} {value:+7.1f}  {bounds(low, high, signed=True)}  p = {p:.4f}{mark}")
        return "\n".join([*lines, "* p < 0.05; for MdR and MnR less is better"])


def compare(baseline: Path, contender: Path) -> RunComparison:
    """Compare two folders that `evaluate --output` wrote, or their report.json.

    Raises UsageError where one is no saved evaluation, or they are not of one test set: the same queries, among equally
    many videos.
    """
    documents = [saved.read(run) for run in (baseline, contender)]
    counts, differences = {}, {}
    for direction, title in DIRECTIONS.items():
        before, after = (_ranks(document["queries"][direction]) for document in documents)
        if before.keys() != after.keys():
            different = len(before.keys() ^ after.keys())
            raise UsageError(f"{baseline} and {contender} are not of the same queries: {different} differ ({title})")
        counts[direction] = len(before)
        differences[direction] = metrics.paired_bootstrap(
            list(before.values()),
            [after[query] for query in before],
            groups=[video_id for video_id, _ in before],
        )
    sizes = [document["videos"] for document in documents]
    if sizes[0] != sizes[1]:
        raise UsageError(
            f"{baseline} and {contender} are not of one test set: {sizes[0]} and {sizes[1]} videos were ranked"
        )
    return RunComparison(_name(baseline), _name(contender), counts, differences)


def _ranks(rows: list[dict[str, Any]]) -> dict[tuple[str, str], int]:
    """Return the rank of each query, which is a sample id and a caption (empty where the video is the query)."""
    return {(row["id"], row.get("caption", "")): row["rank"] for row in rows}


def _name(run: Path) -> str:
    """Return what a run is called: its folder's name."""
    parts = [part for part in run.parts if part != saved.REPORT]
    return parts[-1] if parts else str(run)
