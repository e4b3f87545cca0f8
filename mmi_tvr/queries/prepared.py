"""A query as a search reads it: what is looked for, in one or more wordings, and what is not to be there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

import numpy as np

from ..protocols import Model
from ..types import Attributes, FloatArray, Query
from ..utils.budget import Usage
from .checks import checked_query
from .memory import QueryMemory
from .persons import parse

# The share of the query itself in the vector of several wordings. Decision, on the validation split of moving shapes
# (docs/search.md has the numbers, scripts/measure_wordings.py makes them): what true wordings gain hardly depends on
# it, and what a wrong one costs does.
SHARE = 0.7


@dataclass(frozen=True, slots=True)
class Expansion:
    """Other wordings of a query; `problem` says why there are fewer than there should be. `seconds` and `usage` are
    what they cost."""

    wordings: tuple[str, ...] = ()
    problem: str | None = None
    seconds: float = 0.0
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class PreparedQuery:
    """`query` as it was handed over; `positive` is what is looked for: `query` itself where it excludes nothing.

    `excluded` are texts of what is not to be there, and `absent` the handles of people who are not to be seen.
    `expansion`: other wordings of `positive` (`skeletons.expansion`); None where nobody asked for any. `attributes`:
    what `positive` names, of models that read that off. `remarks` say how the query was read.
    """

    query: Query
    positive: Query
    excluded: tuple[str, ...] = ()
    expansion: Expansion | None = None
    attributes: Attributes = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def wordings(self) -> tuple[str, ...]:
        return self.expansion.wordings if self.expansion else ()

    @property
    def without(self) -> tuple[str, ...]:
        """What the query excludes, as people read it."""
        spoken = (
            replace(self.query, text=text).spoken for text in (*self.excluded, *(f"[{one}]" for one in self.absent))
        )
        return tuple(dict.fromkeys(spoken))


def prepare(query: str | Query | PreparedQuery, literal: bool = False) -> PreparedQuery:
    """Return a query with its parts; with `literal`, it is read as it stands. Raises as `checked_query` and `parse`."""
    if isinstance(query, PreparedQuery):
        return query
    checked = checked_query(query)
    if literal:
        return PreparedQuery(checked, checked)
    parsed = parse(checked)
    return PreparedQuery(checked, parsed.positive, parsed.excluded, absent=parsed.absent)


def query_vectors(
    model: Model, queries: Sequence[PreparedQuery], with_faces: bool = True, memory: QueryMemory | None = None
) -> tuple[FloatArray, list[FloatArray]]:
    """Return the vectors (N, D) of what N queries look for, and for each query those (X, D) of what it excludes.

    Without faces, the model gets the names of people alone.

    The vector of several wordings is SHARE * query + (1 - SHARE) * their mean, as long as the query's. What nobody
    expanded and nothing excludes is embedded as if there were no such thing.
    """
    memory = QueryMemory(0) if memory is None else memory

    def embedded_queries(sentences: Sequence[Query]) -> FloatArray:
        read = sentences if with_faces else [sentence.without_faces() for sentence in sentences]
        return memory.embed(model, read)

    vectors = embedded_queries([query.positive for query in queries])  # (N, D)
    further = [
        Query(text, persons=query.query.persons) for query in queries for text in (*query.wordings, *query.excluded)
    ]
    if not further:
        return vectors, [vectors[:0]] * len(queries)
    embedded = embedded_queries(further)
    counts = [len(query.wordings) + len(query.excluded) for query in queries]
    ends = list(accumulate(counts))
    excluded = []
    vectors = vectors.copy()
    for row, (query, end, count) in enumerate(zip(queries, ends, counts, strict=True)):
        rows = embedded[end - count : end]
        wordings = rows[: len(query.wordings)]
        if len(wordings):
            vectors[row] = averaged(vectors[row], wordings)
        excluded.append(rows[len(wordings) :])
    return vectors, excluded


def averaged(vector: FloatArray, wordings: FloatArray, share: float = SHARE) -> FloatArray:
    """Return a query's vector (D,) turned towards other wordings of it (W, D), of the length that it had; `share` is
    that of the query itself."""
    mean: FloatArray = share * vector + (1 - share) * wordings.mean(axis=0)
    length = float(np.linalg.norm(mean))
    return mean * (float(np.linalg.norm(vector)) / length) if length > 0 else vector
