"""Saved evaluations as rows of a table, and published numbers, marked as quoted with their source.

Rows stand in one table where they are of one test set. A quoted benchmark beside runs on anything else (other videos,
a part of them) gets a table of its own: together they would look like a ranking.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from ..errors import UsageError
from ..utils.printable import printable
from ..utils.tables import interval, markdown_table
from ..utils.wording import counted
from . import saved
from .compare import compare
from .graded import NAMES as GRADED_NAMES
from .saved import DIRECTIONS

Origin = Literal["measured", "quoted"]
_FILE = Path(__file__).with_name("published.yaml")
_RECALLS = ("R@1", "R@5", "R@10", "MnR")


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One system's numbers: percent and 1-based ranks by name, text where a source gives a range.

    `test_set` says what was ranked: rows of different ones are not to be compared.
    `ci95` is of text-to-video and video-to-text R@1, where measured. `transductive`: the numbers look at all test
    queries together, and stand in columns of their own. `printed_sum` is the SumR that a source prints, whatever its
    recalls add up to. `mean` is of both directions, where systems are compared by that (mAP and nDCG by degree).
    """

    system: str
    origin: Origin
    t2v: Mapping[str, float | str]
    v2t: Mapping[str, float | str] = field(default_factory=dict)
    ci95: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    note: str = ""
    source: str = ""
    transductive: bool = False
    test_set: str = ""
    printed_sum: float | None = None
    mean: Mapping[str, float | str] = field(default_factory=dict)

    @property
    def sum_of_recalls(self) -> float | None:
        """SumR: the six recalls added up; None where one of them is not there, or is a range."""
        recalls = [side.get(name) for side in (self.t2v, self.v2t) for name in ("R@1", "R@5", "R@10")]
        numbers = [recall for recall in recalls if isinstance(recall, float | int)]
        return sum(numbers) if len(numbers) == len(recalls) else None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "system": self.system,
            "kind": self.origin,
            "t2v": dict(self.t2v),
            "v2t": dict(self.v2t),
            "mean": dict(self.mean),
            "ci95": dict(self.ci95),
            "note": self.note,
            "source": self.source,
            "transductive": self.transductive,
            "test_set": self.test_set,
            "SumR": self.sum_of_recalls,
            "printed_SumR": self.printed_sum,
        }


def names() -> tuple[str, ...]:
    """Return the benchmarks of which published numbers are kept."""
    return tuple(_published())


def quoted(benchmark: str) -> list[ResultRow]:
    """Return the published rows of a benchmark of captions, in the order of the file.

    None of one that has tables of its own (`number_tables.quoted`). UsageError where nothing of it is published here.

    >>> [row.t2v["R@1"] for row in quoted("msvd") if row.system == "MMI-TVR"]
    [53.8]
    """
    if benchmark not in _published():
        raise UsageError(f"no published numbers of {benchmark!r}; there are: {', '.join(names())}")
    entry = _published()[benchmark]
    return [ResultRow(**{"t2v": {}, **row}, origin="quoted", test_set=entry["title"]) for row in entry.get("rows", ())]


def entry_of(benchmark: str) -> Mapping[str, Any]:
    """Return what the file has of a benchmark; nothing where it has none."""
    entry: Mapping[str, Any] = _published().get(benchmark, {})
    return entry


def measured(runs: Sequence[Path]) -> list[ResultRow]:
    """Return the rows of folders that `evaluate --output` wrote.

    Raises UsageError where they are not of one test set: the same queries among equally many videos.

    After the first, a row's note is its paired difference from the first.
    """
    rows = []
    for number, run in enumerate(runs):
        note = ""
        if number > 0:
            gain = compare(runs[0], run).differences["t2v"]["R@1"]
            difference = interval(gain.value, gain.low, gain.high, signed=True)
            note = f"{difference} T2V R@1 against the first row"
        rows += _rows_of_run(saved.read(run), run, note)
    return rows


def table(rows: Sequence[ResultRow]) -> str:
    """Return Markdown: measured rows with n and 95 % intervals, then the quoted ones; UsageError without any row.

    Rows of different test sets stand in tables of their own, below their test set's name.
    """
    if not rows:
        raise UsageError("an empty table: name folders that `evaluate --output` wrote, or a benchmark to quote")
    measured_rows = [row for row in rows if row.origin == "measured"]
    quoted_rows = [row for row in rows if row.origin == "quoted"]
    starred = any(row.transductive for row in rows)
    by_test_set: dict[str, list[ResultRow]] = {}
    for row in [*measured_rows, *quoted_rows]:
        by_test_set.setdefault(row.test_set, []).append(row)
    lines = []
    for test_set, its_rows in by_test_set.items():
        if len(by_test_set) > 1:
            lines += [f"test set: {printable(test_set)}", "", *_markdown(its_rows, starred), ""]
        else:
            lines += _markdown(its_rows, starred)
    if len(by_test_set) > 1:
        lines.append("Different test sets: numbers of one table say nothing about those of another.")
    if measured_rows:
        lines.append("[low, high]: 95 % bootstrap over videos, Wilson's at 0 and 100 %.")
    if quoted_rows:
        lines.append(
            "Quoted rows are published numbers of others' runs, not ours; n and intervals are not given there."
        )
    if starred:
        lines.append("* transductive: looks at all test queries together; not what a single search does.")
    return "\n".join(lines)


def _markdown(rows: Sequence[ResultRow], starred: bool) -> list[str]:
    """Return the lines of one table; `starred` has columns for transductive numbers.

    Numbers by degree have columns where a row has any, and recalls where a row has those.
    """
    graded = [name for name in GRADED_NAMES if any(name in side for row in rows for side in _sides(row))]
    recalls = [*_RECALLS] if not graded or any("R@1" in row.t2v for row in rows) else []
    header = ["system"]
    for title, names in (("T2V", [*graded, *recalls]), ("V2T", [*graded, *recalls]), ("mean", graded)):
        header += [f"{title} {name}" for name in names]
    if starred:
        header += [f"{direction.upper()} R@1 *" for direction in DIRECTIONS]
    summed = any(row.printed_sum is not None for row in rows)
    if summed:
        header.append("SumR (as printed)")
    cells = [[*_cells(row, graded, recalls), *_extra_cells(row, starred, summed)] for row in rows]
    return markdown_table([[*header, "source"], *cells], padded=True)


def _sides(row: ResultRow) -> tuple[Mapping[str, float | str], ...]:
    return row.t2v, row.v2t, row.mean


def _sums(row: ResultRow) -> str:
    """Return the sum of a row's recalls, and the one that its source prints, where that is another."""
    total = row.sum_of_recalls
    text = "-" if total is None else f"{total:.1f}"
    is_other = row.printed_sum is not None and (total is None or abs(total - row.printed_sum) > 0.05)
    return f"{text} ({row.printed_sum:.1f})" if is_other else text


def _cells(row: ResultRow, graded: Sequence[str], recalls: Sequence[str]) -> list[str]:
    """Return a row's system and numbers; transductive ones have columns of their own."""
    cells = [row.system]
    for direction in DIRECTIONS:
        cells += ["-" if row.transductive else _cell(row, direction, name) for name in (*graded, *recalls)]
    return cells + [_number(row.mean.get(name)) for name in graded]


def _extra_cells(row: ResultRow, starred: bool, summed: bool) -> list[str]:
    """Return the cells behind a row's numbers: transductive ones, where there are columns for them, `summed` the sum of
    its recalls, and its source."""
    cells = []
    if starred:
        cells += [_cell(row, direction, "R@1") if row.transductive else "-" for direction in DIRECTIONS]
    if summed:
        cells.append(_sums(row))
    remark = ", ".join(part for part in (row.note, row.source) if part)
    return [*cells, f"{row.origin}: {remark}"]


def _cell(row: ResultRow, direction: str, name: str) -> str:
    """Return one of a row's numbers, R@1 with its interval where that is known."""
    value = (row.t2v if direction == "t2v" else row.v2t).get(name)
    ends = row.ci95.get(direction) if name == "R@1" else None
    return interval(value, *ends) if ends and isinstance(value, float | int) else _number(value)


def _number(value: float | str | None) -> str:
    """Return a number with one place; a range as it is written."""
    return f"{value:.1f}" if isinstance(value, float | int) else value or "-"


def _rows_of_run(document: Mapping[str, Any], run: Path, note: str) -> list[ResultRow]:
    """Return the run's row, that of the search alone where it is re-ranked, and one for each normalisation."""
    keyimages = document["config"]["keyimages"]
    count = f" {keyimages['count']}" if "count" in keyimages else ""
    system = f"{document['model']}, {document['config'].get('features') or keyimages['name'] + count}"
    reranking = document.get("rerank")
    left_out = len(document.get("missing", ())) + len(document["left_out"]["videos"])
    facts = [f"n = {document['n']}"]
    if left_out:
        facts.append(f"{counted(left_out, 'video')} left out")
    source = "; ".join([*facts, str(run)])
    suffix = ", re-ranked" if reranking else ""
    rows = [_with_graded(_measured_row(system + suffix, document, note, source), document.get("graded"))]
    if reranking:
        rows.append(_measured_row(system, reranking["searched"], "", source))
    if merged := document.get("merged_captions"):
        facts = [f"n = {merged['n']}, equal captions merged", *facts[1:]]
        merged_source = "; ".join([*facts, str(run)])
        rows.append(_measured_row(f"{system}{suffix}, equal captions merged", merged, "", merged_source))
    for name, directions in document.get("transductive", {}).items():
        rows.append(_measured_row(f"{system}, {name}", directions, "", source, transductive=True))
    rows = [replace(row, test_set=_test_set(document)) for row in rows]
    if folds := document.get("folds"):
        title = f"{document['config']['target']}, {folds['count']} folds of {folds['videos']:,}"
        rows.append(replace(_measured_row(system + suffix, folds, "", source), test_set=title))
    return rows


def _test_set(document: Mapping[str, Any]) -> str:
    """Return the title of the benchmark whose whole test set was ranked, else what was ranked."""
    settings, size = document["config"], {"videos": document["videos"], "captions": document["n"]}
    target, split = settings["target"], settings.get("split", "test")
    for name, benchmark in _published().items():
        needed = benchmark.get("options", {})
        is_target = target in (name, *benchmark.get("targets", ()))
        has_options = all(settings.get("dataset", {}).get(option, value) == value for option, value in needed.items())
        if is_target and has_options and split == "test" and size == benchmark.get("test"):
            return str(benchmark["title"])
    return f"{target}, {split}: {size['captions']:,} captions, {size['videos']:,} videos"


def _measured_row(
    system: str, directions: Mapping[str, Any], note: str, source: str, transductive: bool = False
) -> ResultRow:
    t2v, v2t = ({name: directions[side][name] for name in directions[side] if name != "ci95"} for side in DIRECTIONS)
    ci95 = {side: tuple(directions[side]["ci95"]["R@1"]) for side in DIRECTIONS}
    return ResultRow(system, "measured", t2v, v2t, ci95, note, source, transductive)


def _with_graded(row: ResultRow, graded: Mapping[str, Any] | None) -> ResultRow:
    """Return a row with mAP and nDCG by degree, where the run has them."""
    if graded is None:
        return row
    t2v, v2t, mean = ({name: graded[side][name] for name in GRADED_NAMES} for side in (*DIRECTIONS, "mean"))
    return replace(row, t2v={**row.t2v, **t2v}, v2t={**row.v2t, **v2t}, mean=mean)


@cache
def _published() -> dict[str, Any]:
    benchmarks: dict[str, Any] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return benchmarks
