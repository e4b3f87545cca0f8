"""The result of an evaluation of queries: a record, plain values for report.json, and a table of plain text."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..scoring.similarity import Gallery
from ..types import EvaluationQuery, FloatArray, IdArray, Sample, Scoring
from ..utils.printable import printable
from ..utils.tables import interval, text_table
from ..utils.wording import counted
from .query_metrics import INTERVALS, NAMES, QueryMetrics, people_of, query_metrics

PROTOCOL = {"queries": "all samples"}
UNGROUPED = "all"  # the group of queries that name none
_KEYS = frozenset(
    {
        "protocol", "inductive", "n", "samples", "model", "fingerprint", "persons", "left_out", "missing", "remarks",
        "config", "queries",
    }
)  # of a report, besides its groups  # fmt: skip
_MISSING_SHOWN = 10


def check_groups(groups: Collection[str]) -> None:
    """Raise UsageError where groups cannot be reported: "single" beside "single/seen", or a name of another entry."""
    names = set(groups)
    for name in sorted(names):
        parts = name.split("/")
        if parts[0] in _KEYS or not all(parts):
            raise UsageError(f"a group of queries cannot be called {name!r}")
        parents = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
        if clash := next((parent for parent in parents if parent in names), None):
            raise UsageError(f"a group of queries is called {clash!r}, and another one {name!r}: one holds the other")


def in_order(groups: Sequence[str]) -> list[str]:
    """Return the names of groups as they come first, those with one beginning together.

    >>> in_order(["single/seen", "places", "single/unseen", "places"])
    ['single/seen', 'single/unseen', 'places']
    """
    heads = list(dict.fromkeys(name.partition("/")[0] for name in groups))
    return sorted(dict.fromkeys(groups), key=lambda name: heads.index(name.partition("/")[0]))


@dataclass(frozen=True, slots=True)
class QueryDetails:
    """What a report's numbers rest on, query by query.

    - `groups`, `ranks` of the best right sample, and average `precisions` in percent: of the N queries.
    - `samples`, `gallery` (M) and `query_vectors` (N, D) are what was ranked, as `scoring` says.
    - `ground_truth`: of each query the numbers of the samples that are right.
    """

    queries: Sequence[EvaluationQuery]
    groups: Sequence[str]
    ranks: IdArray
    precisions: NDArray[np.float64]
    samples: Sequence[Sample]
    ground_truth: Sequence[Collection[int]]
    gallery: Gallery
    query_vectors: FloatArray
    scoring: Scoring

    def rows_of(self, group: str) -> IdArray:
        """Return the numbers of the queries of a group."""
        return np.flatnonzero([name == group for name in self.groups])

    def metrics(self, group: str) -> QueryMetrics:
        """Return the numbers of a group."""
        rows = self.rows_of(group)
        people = people_of([self.queries[row] for row in rows])
        return query_metrics(self.ranks[rows], self.precisions[rows], people)

    def as_dict(self) -> list[dict[str, Any]]:
        """Return plain values for JSON: every query with its rank (`compare` reads them); vectors stay out."""
        return [
            {
                "group": group,
                "query": query.query.text,
                "persons": sorted(query.query.persons),
                "right": len(query.right),
                "rank": int(rank),
                "precision": float(precision),
            }
            for group, query, rank, precision in zip(
                self.groups, self.queries, self.ranks, self.precisions, strict=True
            )
        ]


@dataclass(frozen=True, slots=True)
class QueryReport:
    """The result of one evaluation of queries.

    - `groups` holds the numbers of each group of queries; `n` queries were ranked against `samples` samples.
    - `with_persons` of them are about people, `with_faces` of these carry faces. A model that `reads_faces` is told
      who is meant by them; any other by names, or "a person".
    - `failures` maps the ids of unreadable samples to the reason, and `left_out` counts the queries that lost all
      their right samples by that. `missing` are the ids of annotated samples that are not there, `remarks` what else a
      reader should know of the data.
    """

    groups: Mapping[str, QueryMetrics]
    n: int
    samples: int
    model: str = ""
    fingerprint: str = ""
    reads_faces: bool = False
    with_persons: int = 0
    with_faces: int = 0
    failures: Mapping[str, str] = field(default_factory=dict)
    left_out: int = 0
    missing: Sequence[str] = ()
    remarks: Sequence[str] = ()
    details: QueryDetails | None = field(default=None, compare=False, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: groups nested by the slashes of their names, in percent."""
        values: dict[str, Any] = {"protocol": dict(PROTOCOL), "inductive": True}
        for name, numbers in self.groups.items():
            *parents, last = name.split("/")
            place = values
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = numbers.as_dict()
        read = self.with_faces if self.reads_faces else 0
        return values | {
            "n": self.n,
            "samples": self.samples,
            "model": self.model,
            "fingerprint": self.fingerprint,
            "persons": {"queries": self.with_persons, "by_face": read, "spoken": self.with_persons - read},
            "left_out": {"queries": self.left_out, "samples": dict(self.failures)},
            "missing": list(self.missing),
            "remarks": list(self.remarks),
        }

    def table(self) -> str:
        """Return the report as aligned plain text, with n and a 95 % interval for every number."""
        rows = [["queries", "n", *NAMES]]
        for name, numbers in self.groups.items():
            cells = [interval(value, *numbers.ci95[label]) for label, value in numbers.values.items()]
            rows.append([name.replace("/", ", "), f"{numbers.n:,}", *cells])
        title = (
            f"{self.model or 'model'}: {counted(self.n, 'query', 'queries')} among {counted(self.samples, 'sample')}"
        )
        return "\n".join([title, *text_table(rows), *self._notes()])

    def _notes(self) -> list[str]:
        notes = [INTERVALS]
        if self.with_persons and not self.reads_faces:
            notes.append(
                f"{self.model or 'the model'} reads text alone: in {counted(self.with_persons, 'query', 'queries')} it "
                'was told names of people, or "a person"'
            )
        elif self.with_persons > self.with_faces:
            spoken = self.with_persons - self.with_faces
            notes.append(f'{counted(spoken, "query", "queries")} about people without a face: names, or "a person"')
        notes += map(printable, self.remarks)
        if self.missing:
            rest = ", ..." if len(self.missing) > _MISSING_SHOWN else ""
            notes.append(f"missing: {printable(', '.join(self.missing[:_MISSING_SHOWN]))}{rest}")
        if self.failures:
            notes.append(
                f"left out: {counted(len(self.failures), 'unreadable sample')} and "
                f"{counted(self.left_out, 'query', 'queries')} that nothing else answers"
            )
            notes += [f"  {printable(name)}: {printable(reason)}" for name, reason in self.failures.items()]
        return notes
