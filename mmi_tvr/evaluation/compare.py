"""Two saved evaluations of the same queries: by how much one is better, and whether that could be chance."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..utils.tables import bounds
from . import metrics
from .metrics import Difference

REPORT = "report.json"
_SIDES = {"t2v": "text-to-video", "v2t": "video-to-text"}


@dataclass(frozen=True, slots=True)
class Comparison:
    """`differences` of `other` minus `one`, by direction and number; `n` queries of both runs in each direction."""

    one: str
    other: str
    n: Mapping[str, int]
    differences: Mapping[str, Mapping[str, Difference]]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        sides = {
            side: {"n": self.n[side], **{name: each._asdict() for name, each in found.items()}}
            for side, found in self.differences.items()
        }
        return {"one": self.one, "other": self.other, **sides}

    def table(self) -> str:
        """Aligned plain text: a row for each direction and number."""
        lines = [f"{self.other} minus {self.one}: paired bootstrap over videos, 95 % interval"]
        for side, found in self.differences.items():
            lines.append(f"{_SIDES[side]}, n = {self.n[side]}")
            for name, each in found.items():
                sure = " *" if each.p < 0.05 else ""
                ends = bounds(each.low, each.high, signed=True)
                lines.append(f"  {name:<4} {each.value:+7.1f}  {ends}  p = {each.p:.4f}{sure}")
        return "\n".join([*lines, "* p < 0.05; for MdR and MnR less is better"])


def compare(one: Path, other: Path) -> Comparison:
    """Two folders that `evaluate --output` wrote, or their report.json. UsageError where they are not of the same
    queries."""
    documents = [_read(path) for path in (one, other)]
    counts, differences = {}, {}
    for side in _SIDES:
        rows = [{_query(row): row for row in document["queries"][side]} for document in documents]
        if rows[0].keys() != rows[1].keys():
            apart = len(rows[0].keys() ^ rows[1].keys())
            raise UsageError(f"{one} and {other} are not of the same queries: {apart} differ ({_SIDES[side]})")
        order = list(rows[0])
        before, after = ([each[query]["rank"] for query in order] for each in rows)
        counts[side] = len(order)
        differences[side] = metrics.paired(before, after, [query[0] for query in order])
    return Comparison(_name(one), _name(other), counts, differences)


def _read(path: Path) -> dict[str, Any]:
    path = path / REPORT if path.is_dir() else path
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        for side in _SIDES:
            _ = [(row["id"], int(row["rank"])) for row in found["queries"][side]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not a saved evaluation; make one: mmi-tvr evaluate ... --output DIR") from error
    return dict(found)


def _query(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["id"], row.get("caption", "")


def _name(path: Path) -> str:
    names: Sequence[str] = [part for part in path.parts if part != REPORT]
    return names[-1] if names else str(path)
