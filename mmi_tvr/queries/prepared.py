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
from .negation import split

# The share of the query itself in the vector of several wordings. Decision: on the validation split of moving shapes,
# true wordings lift R@1 by no more than chance at any share from 0.25 to 0.7, while a wording of something else more
# than halves it at 0.5 and costs nothing (moving-shapes) to 9 points (the mean of key images) at 0.7.
_SHARE = 0.7


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

    `expansion`: other wordings of `positive` (`skeletons.expansion`); None where nobody asked for any. `attributes`:
    what `positive` names, of models that read that off.
    """

    query: Query
    positive: Query
    excluded: tuple[str, ...] = ()
    expansion: Expansion | None = None
    attributes: Attributes = field(default_factory=dict)

    @property
    def wordings(self) -> tuple[str, ...]:
        return self.expansion.wordings if self.expansion else ()


def prepare(query: str | Query | PreparedQuery, literal: bool = False) -> PreparedQuery:
    """Return a query with its parts; with `literal`, it is read as it stands. Raises as `checked_query`."""
    if isinstance(query, PreparedQuery):
        return query
    checked = checked_query(query)
    parts = split(checked.text) if not literal else None
    if parts is None or not parts.excluded:
        return PreparedQuery(checked, checked)
    return PreparedQuery(checked, replace(checked, text=parts.positive), parts.excluded)


def query_vectors(model: Model, queries: Sequence[PreparedQuery]) -> tuple[FloatArray, list[FloatArray]]:
    """Return the vectors (N, D) of what N queries look for, and for each query those (X, D) of what it excludes.

    The vector of several wordings is SHARE * query + (1 - SHARE) * their mean, as long as the query's. What nobody
    expanded and nothing excludes is embedded as if there were no such thing.
    """
    vectors = np.asarray(model.embed_queries([query.positive for query in queries]), dtype=np.float32)  # (N, D)
    further = [text for query in queries for text in (*query.wordings, *query.excluded)]
    if not further:
        return vectors, [vectors[:0]] * len(queries)
    embedded = np.asarray(model.embed_queries([Query(text) for text in further]), dtype=np.float32)
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


def averaged(vector: FloatArray, wordings: FloatArray, share: float = _SHARE) -> FloatArray:
    """Return a query's vector (D,) turned towards other wordings of it (W, D), of the length that it had; `share` is
    that of the query itself."""
    mean: FloatArray = share * vector + (1 - share) * wordings.mean(axis=0)
    length = float(np.linalg.norm(mean))
    return mean * (float(np.linalg.norm(vector)) / length) if length > 0 else vector
