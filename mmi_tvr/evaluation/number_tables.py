"""Tables whose columns are their own: evaluations of queries by group, and what a benchmark's paper prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import UsageError
from ..utils.printable import printable
from ..utils.tables import interval, markdown_table
from ..utils.wording import counted
from . import published, saved
from .compare import compare
from .query_metrics import INTERVALS, NAMES

_QUOTED = "Quoted: published numbers of others' runs, not ours; n and intervals are not given there."


@dataclass(frozen=True, slots=True)
class NumberRow:
    """A system's numbers in the order of the columns, text where there is none; `ci95` of those that have one."""

    system: str
    values: Sequence[float | str]
    note: str = ""
    ci95: Sequence[tuple[float, float]] = ()

    def cells(self) -> list[str]:
        """Return the cells of the row."""
        if self.ci95:
            pairs = zip(self.values, self.ci95, strict=True)
            numbers = [interval(float(value), *ends) for value, ends in pairs]
        else:
            numbers = [f"{value:.1f}" if isinstance(value, float) else f"{value}" for value in self.values]
        return [self.system, *numbers, self.note]


@dataclass(frozen=True, slots=True)
class NumberTable:
    """Rows of one test set under columns of their own."""

    title: str
    origin: Literal["measured", "quoted"]
    columns: Sequence[str]
    rows: Sequence[NumberRow]
    source: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        rows = [
            {"system": row.system, "values": list(row.values), "ci95": [list(ends) for ends in row.ci95]}
            | {"note": row.note}
            for row in self.rows
        ]
        return {
            "title": self.title,
            "kind": self.origin,
            "source": self.source,
            "columns": list(self.columns),
            "rows": rows,
        }

    def lines(self) -> list[str]:
        """Return the table as lines of Markdown, below its title."""
        source = f" (quoted: {self.source})" if self.source else ""
        cells = [["system", *self.columns, "note"], *(row.cells() for row in self.rows)]
        return [f"{printable(self.title)}{source}", "", *markdown_table(cells, padded=True)]


def quoted(benchmark: str) -> list[NumberTable]:
    """Return the published tables of a benchmark with queries of its own; none of any other.

    >>> [table.columns for table in quoted("cip")]
    [['unseen faces', 'seen faces', 'places'], ['mAP', 'R@5']]
    """
    entry = published.entry_of(benchmark)
    return [
        NumberTable(
            f"{entry['title']}, {table['title']}",
            "quoted",
            table["columns"],
            [NumberRow(row["system"], row["values"], row.get("note", "")) for row in table["rows"]],
            entry["source"],
        )
        for table in entry.get("tables", ())
    ]


def measured(runs: Sequence[Path]) -> list[NumberTable]:
    """Return a table of folders that `evaluate --output` wrote of a data set's queries.

    After the first, a row's note begins with its paired difference from the first.

    Raises UsageError where they are not of one test set.
    """
    documents = [saved.read(run) for run in runs]
    first = documents[0]
    columns = [
        f"{group.replace('/', ' ')} {name} (n = {numbers['n']:,})" if name == NAMES[0] else name
        for group, numbers in saved.group_metrics(first).items()
        for name in NAMES
    ]
    rows = [_measured_row(runs[0], run, document) for run, document in zip(runs, documents, strict=True)]
    config = first["config"]
    title = (
        f"{config['target']}, {config.get('split', 'test')}: {counted(first['n'], 'query', 'queries')} among "
        f"{counted(first['samples'], 'sample')}"
    )
    return [NumberTable(title, "measured", columns, rows)]


def _measured_row(baseline: Path, run: Path, document: Mapping[str, Any]) -> NumberRow:
    groups = saved.group_metrics(document).values()
    persons = document["persons"]
    facts = [f"{persons['by_face']:,} queries with faces" if persons["by_face"] else "names alone"]
    if run != baseline:
        group, differences = next(iter(compare(baseline, run).differences.items()))
        gain = differences[NAMES[0]]
        difference = interval(gain.value, gain.low, gain.high, signed=True)
        facts.insert(0, f"{difference} {group.replace('/', ' ')} {NAMES[0]} against the first row")
    return NumberRow(
        str(document["model"]),
        [numbers[name] for numbers in groups for name in NAMES],
        "; ".join([*facts, str(run)]),
        [tuple(numbers["ci95"][name]) for numbers in groups for name in NAMES],
    )


def text(tables: Sequence[NumberTable]) -> str:
    """Return tables as Markdown, one below the other."""
    lines = [line for table in tables for line in (*table.lines(), "")]
    origins = {table.origin for table in tables}
    lines += [f"{INTERVALS}."] if "measured" in origins else []
    lines += [_QUOTED] if "quoted" in origins else []
    return "\n".join(lines)


def are_of_queries(runs: Sequence[Path]) -> bool:
    """Return whether saved evaluations are of queries. UsageError where some are, and some are not."""
    kinds = {saved.is_of_queries(saved.read(run)) for run in runs}
    if len(kinds) > 1:
        raise UsageError("the folders are not of one test set: some are of captions, others of queries")
    return kinds == {True}
