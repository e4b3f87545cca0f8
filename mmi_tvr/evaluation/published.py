"""Saved evaluations as rows of one table, and below them published numbers, marked as quoted with their source."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from ..errors import UsageError
from ..utils.tables import interval, markdown_table
from .compare import REPORT, compare

_FILE = Path(__file__).with_name("published.yaml")
_COLUMNS = ("R@1", "R@5", "R@10", "MnR")
_TOGETHER = ("t2v", "v2t")  # columns of their own for scores that look at all test queries


@dataclass(frozen=True, slots=True)
class Row:
    """One system's numbers: percent and 1-based ranks by name, text where a source gives a range.

    `ci95` is of text-to-video and video-to-text R@1, where measured. `transductive`: the numbers look at all test
    queries together.
    """

    system: str
    kind: Literal["measured", "quoted"]
    t2v: Mapping[str, float | str]
    v2t: Mapping[str, float | str] = field(default_factory=dict)
    ci95: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    note: str = ""
    source: str = ""
    transductive: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def names() -> tuple[str, ...]:
    """The benchmarks of which published numbers are kept."""
    return tuple(_published())


def quoted(benchmark: str) -> list[Row]:
    """Published rows of a benchmark, in the order of the file; UsageError where there are none.

    >>> [row.t2v["R@1"] for row in quoted("msvd") if row.system == "MMI-TVR"]
    [53.8]
    """
    if benchmark not in _published():
        raise UsageError(f"no published numbers of {benchmark!r}; there are: {', '.join(names())}")
    return [Row(**row, kind="quoted") for row in _published()[benchmark]["rows"]]


def measured(runs: Sequence[Path]) -> list[Row]:
    """The rows of folders that `evaluate --output` wrote; UsageError where they are not of the same queries.

    After the first, a row's note is its paired difference from the first.
    """
    rows = []
    for at, run in enumerate(runs):
        note = ""
        if at:
            gain = compare(runs[0], run).differences["t2v"]["R@1"]  # reads both, and says what is wrong with them
            note = f"{interval(*gain[:3], signed=True)} T2V R@1 against the first row"
        rows += _rows(_read(run), run, note)
    return rows


def table(rows: Sequence[Row]) -> str:
    """Markdown: measured rows with n and 95 % intervals, then the quoted ones; UsageError without any row."""
    if not rows:
        raise UsageError("an empty table: name folders that `evaluate --output` wrote, or a benchmark to quote")
    head = ["system", *(f"T2V {name}" for name in _COLUMNS), *(f"V2T {name}" for name in _COLUMNS)]
    together = any(row.transductive for row in rows)
    head += [f"{side.upper()} R@1 *" for side in _TOGETHER] if together else []
    cells = [
        [*head, "source"],
        *(_cells(row, together) for kind in ("measured", "quoted") for row in rows if row.kind == kind),
    ]
    lines = markdown_table(cells, padded=True)
    if any(row.kind == "measured" for row in rows):
        lines.append("[low, high]: 95 % bootstrap over videos.")
    if any(row.kind == "quoted" for row in rows):
        lines.append(
            "Quoted rows are published numbers of others' runs, not ours; n and intervals are not given there."
        )
    if together:
        lines.append("* transductive: looks at all test queries together; not what a single search does.")
    return "\n".join(lines)


def _cells(row: Row, together: bool) -> list[str]:
    plain = ["-" if row.transductive else _number(row, side, name) for side in _TOGETHER for name in _COLUMNS]
    starred = [_number(row, side, "R@1") if row.transductive else "-" for side in _TOGETHER] if together else []
    remark = ", ".join(part for part in (row.note, row.source) if part)
    return [row.system, *plain, *starred, f"{row.kind}: {remark}"]


def _number(row: Row, side: str, name: str) -> str:
    value = (row.t2v if side == "t2v" else row.v2t).get(name)
    if not isinstance(value, float | int):
        return value or "-"
    bounds = row.ci95.get(side) if name == "R@1" else None
    return interval(value, *bounds) if bounds else f"{value:.1f}"


def _rows(document: Mapping[str, Any], run: Path, note: str) -> list[Row]:
    """The run's own row, that of the search alone where it is re-ranked, and one for each normalisation."""
    keyimages = document["config"]["keyimages"]
    count = f" {keyimages['count']}" if "count" in keyimages else ""
    system = f"{document['model']}, {keyimages['name']}{count}"
    reranked = document.get("rerank")
    missing = len(document.get("missing", ())) + len(document["left_out"]["videos"])
    facts = [f"n = {document['n']}", *([f"{missing} videos left out"] if missing else []), str(run)]
    rows = [_row(system + (", re-ranked" if reranked else ""), document, note, "; ".join(facts))]
    if reranked:
        rows.append(_row(system, reranked["searched"], "", "; ".join(facts)))
    for name, sides in document.get("transductive", {}).items():
        rows.append(_row(f"{system}, {name}", sides, "", "; ".join(facts), transductive=True))
    return rows


def _row(system: str, sides: Mapping[str, Any], note: str, source: str, transductive: bool = False) -> Row:
    values = {side: {key: value for key, value in sides[side].items() if key != "ci95"} for side in _TOGETHER}
    ci95 = {side: tuple(sides[side]["ci95"]["R@1"]) for side in _TOGETHER}
    return Row(system, "measured", values["t2v"], values["v2t"], ci95, note, source, transductive)


def _read(run: Path) -> dict[str, Any]:
    path = run / REPORT if run.is_dir() else run
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _ = found["model"], found["config"]["keyimages"]["name"], found["left_out"]["videos"], found["t2v"]["ci95"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not a saved evaluation; make one: mmi-tvr evaluate ... --output DIR") from error
    return found


@cache
def _published() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return found
