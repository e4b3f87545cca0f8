"""Queries of a library as its searches read them: with the people whom they name, and with what they exclude."""

from __future__ import annotations

from collections.abc import Sequence

from ..queries import PreparedQuery, excluding
from ..types import Query
from .appearances import LibraryPeople
from .search_options import SearchOptions, restricted


def read_queries(
    queries: Sequence[Query], options: SearchOptions, people: LibraryPeople, literal: bool
) -> list[PreparedQuery]:
    """Return queries with all that the options of a search say of what is looked for, and of what is not to be there.

    Args:
        queries: as they were handed over.
        options: of the search.
        people: of the library.
        literal: whether sentences are read as they stand.

    Raises:
        UsageError: as `LibraryPeople.read` and `excluding` raise it.
    """
    prepared = [
        people.read(restricted(query, options.where), options.persons, options.me, literal) for query in queries
    ]
    excluded = [people.read(Query(text), (), options.me, literal=True) for text in options.without]
    return [excluding(query, excluded) for query in prepared]
