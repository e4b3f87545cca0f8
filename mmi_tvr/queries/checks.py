"""What a caller hands to a search, checked once for every door: the query, and the numbers beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import UsageError
from ..protocols import Model, RemarkingModel, TextLimitedModel
from ..types import Query
from ..utils.reading import MAX_CHARACTERS


def checked_query(query: str | Query, with_example: bool = False) -> Query:
    """Return a query of a length that any model can bear. Raises UsageError where it is empty, or no sentence.

    One that has an example, or is to have one (`with_example`), need not have a text.

    Decision: beyond MAX_CHARACTERS it is cut, before anything looks at it, because no model reads as much.

    >>> checked_query("a dog \\ud800").text
    'a dog \ufffd'
    """
    text = query.text if isinstance(query, Query) else query
    if not isinstance(text, str):
        raise UsageError(f"a query is a sentence (str) or a types.Query, not {text!r:.60} ({type(text).__name__})")
    cut = isinstance(query, Query) and query.cut
    text = text.strip()
    cleaned = Query(text[: 4 * MAX_CHARACTERS]).text.strip()  # which may be shorter
    if not cleaned and not (with_example or (isinstance(query, Query) and query.example)):
        raise UsageError('the query is empty: describe what happens, for example "a dog catches a ball"')
    cut = cut or len(text) > 4 * MAX_CHARACTERS or len(cleaned) > MAX_CHARACTERS
    shortened = cleaned[:MAX_CHARACTERS].rstrip()
    return replace(query, text=shortened, cut=cut) if isinstance(query, Query) else Query(shortened, cut)


def characters_read(model: Model, query: Query) -> int | None:
    """Return how many characters of a query a model reads, from its start; None where it reads them all."""
    text = query.spoken.rstrip()
    if not text:
        return None
    read = model.characters_read(text) if isinstance(model, TextLimitedModel) else len(text)
    return read if query.cut or read < len(text) else None


def query_remarks(model: Model, query: Query) -> tuple[str, ...]:
    """Return what a model says that it cannot make of a query."""
    return tuple(model.query_remarks(query)) if query.text and isinstance(model, RemarkingModel) else ()


def checked_top(top: int) -> int:
    """Return how many hits a search returns at most. Raises UsageError unless that is a whole number from 1 on."""
    if isinstance(top, bool) or not isinstance(top, int | np.integer):
        raise UsageError(f"top is a whole number, not {top!r:.60} ({type(top).__name__})")
    if top < 1:
        raise UsageError(f"top is at least 1 hit, not {top}")
    return int(top)


def checked_relevance(min_relevance: float | None) -> float | None:
    """Return the least relevance of a hit. Raises UsageError unless it is None or lies in 0..1."""
    if min_relevance is None:
        return None
    if isinstance(min_relevance, bool) or not isinstance(min_relevance, int | float | np.integer | np.floating):
        raise UsageError(f"min_relevance is a number, not {min_relevance!r:.60} ({type(min_relevance).__name__})")
    if not 0 <= min_relevance <= 1:
        raise UsageError(f"min_relevance lies between 0 and 1, not {min_relevance}")
    return float(min_relevance)
