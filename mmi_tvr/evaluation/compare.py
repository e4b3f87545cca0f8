"""Two saved evaluations of the same queries: by how much one is better, and whether that could be chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError
from ..types import FloatArray, IdArray
from ..utils.printable import printable
from ..utils.tables import bounds
from . import metrics, saved
from .metrics import Difference
from .query_metrics import query_differences
from .saved import DIRECTIONS


@dataclass(frozen=True, slots=True)
class RunComparison:
    """The differences of the run `contender` minus the run `baseline`, by direction, or by group of queries, and name
    of the number.

    `n` counts the queries of both runs in each of them.
    """

    baseline: str
    contender: str
    n: Mapping[str, int]
    differences: Mapping[str, Mapping[str, Difference]]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values: dict[str, Any] = {"one": self.baseline, "other": self.contender}
        for part, differences in self.differences.items():
            numbers = {name: difference._asdict() for name, difference in differences.items()}
            values[part] = {"n": self.n[part], **numbers}
        return values

    def table(self) -> str:
        """Return aligned plain text: a row for each direction or group, and number."""
        names = f"{printable(self.contender)} minus {printable(self.baseline)}"
        of_captions = self.differences.keys() <= DIRECTIONS.keys()
        drawn = "videos" if of_captions else "queries, those of one person together"
        lines = [f"{names}: paired bootstrap over {drawn}, 95 % interval"]
        for part, differences in self.differences.items():
            lines.append(f"{DIRECTIONS.get(part, printable(part.replace('/', ', ')))}, n = {self.n[part]}")
            for name, (value, low, high, p) in differences.items():
                mark = " *" if p < 0.05 else ""
                lines.append(f"  {name:<4} {value:+7.1f}  {bounds(low, high, signed=True)}  p = {p:.4f}{mark}")
        return "\n".join([*lines, "* p < 0.05" + ("; for MdR and MnR less is better" if of_captions else "")])


def compare(baseline: Path, contender: Path) -> RunComparison:
    """Compare two folders that `evaluate --output` wrote, or their report.json.

    Raises UsageError where one is no saved evaluation, or they are not of one test set: the same queries, among equally
    many videos.
    """
    documents = saved.read(baseline), saved.read(contender)
    by_queries = {saved.is_of_queries(document) for document in documents}
    if len(by_queries) > 1:
        raise UsageError(f"{baseline} and {contender} are not of the same queries: one is of captions")
    candidates = "samples" if by_queries == {True} else "videos"
    parts = _by_group if by_queries == {True} else _by_direction
    counts, differences = parts(documents, f"{baseline} and {contender}")
    sizes = [document[candidates] for document in documents]
    if sizes[0] != sizes[1]:
        raise UsageError(
            f"{baseline} and {contender} are not of one test set: {sizes[0]} and {sizes[1]} {candidates} were ranked"
        )
    return RunComparison(_name(baseline), _name(contender), counts, differences)


_Documents = tuple[Mapping[str, Any], Mapping[str, Any]]
_Parts = tuple[dict[str, int], dict[str, Mapping[str, Difference]]]


def _by_direction(documents: _Documents, runs: str) -> _Parts:
    """Return counts and differences of both directions. UsageError where the queries are not the same."""
    counts: dict[str, int] = {}
    differences: dict[str, Mapping[str, Difference]] = {}
    for direction, title in DIRECTIONS.items():
        before, after = (_ranks(document["queries"][direction]) for document in documents)
        _check_same(before, after, runs, title)
        counts[direction] = len(before)
        differences[direction] = metrics.paired_bootstrap(
            list(before.values()),
            [after[query] for query in before],
            groups=[video_id for video_id, _ in before],
        )
    return counts, differences


def _by_group(documents: _Documents, runs: str) -> _Parts:
    """Return counts and differences of each group of queries. UsageError where the queries are not the same."""
    before, after = ({_query(row): row for row in document["queries"]} for document in documents)
    _check_same(before, after, runs, "queries")
    counts: dict[str, int] = {}
    differences: dict[str, Mapping[str, Difference]] = {}
    for group in saved.group_metrics(documents[0]):
        queries = [query for query, row in before.items() if row["group"] == group]
        before_numbers, after_numbers = (_numbers([rows[query] for query in queries]) for rows in (before, after))
        people = [tuple(before[query]["persons"]) or query for query in queries]
        counts[group] = len(queries)
        differences[group] = query_differences(before_numbers, after_numbers, people)
    return counts, differences


def _check_same(before: Mapping[Any, object], after: Mapping[Any, object], runs: str, title: str) -> None:
    if before.keys() != after.keys():
        different = len(before.keys() ^ after.keys())
        raise UsageError(f"{runs} are not of the same queries: {different} differ ({title})")


def _numbers(rows: Sequence[Mapping[str, Any]]) -> tuple[IdArray, FloatArray]:
    """Return the ranks and average precisions of queries."""
    ranks = np.array([row["rank"] for row in rows], dtype=np.int64)
    return ranks, np.array([row["precision"] for row in rows], dtype=np.float64)


def _query(row: Mapping[str, Any]) -> tuple[str, str, int]:
    """Return what a query is known by: its group, its text with handles, and how many samples answer it."""
    return row["group"], row["query"], row["right"]


def _ranks(rows: list[dict[str, Any]]) -> dict[tuple[str, str], int]:
    """Return the rank of each query, which is a sample id and a caption (empty where the video is the query)."""
    return {(row["id"], row.get("caption", "")): row["rank"] for row in rows}


def _name(run: Path) -> str:
    """Return what a run is called: its folder's name."""
    parts = [part for part in run.parts if part != saved.REPORT]
    return parts[-1] if parts else str(run)
