"""What a library adds to results: how much of it was searched, which files are there now; results by texts alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from ..queries import PreparedQuery
from ..search import Coverage, SearchResult
from ..types import Hit, Query
from .catalogue import Catalogue
from .channels import FusedSearch, with_texts
from .channels.searching import LibraryChannels
from .filters import MediaFilter
from .search_options import SearchOptions
from .translated import count_translated


def existing_first(result: SearchResult) -> SearchResult:
    """Return a result whose hits lead with a path at which there is a file now."""
    closest = None if result.closest is None else _hit_existing_first(result.closest)
    return replace(result, hits=tuple(_hit_existing_first(hit) for hit in result.hits), closest=closest)


def _hit_existing_first(hit: Hit) -> Hit:
    paths = (hit.path, *hit.copies)
    missing = tuple(path for path in paths if not os.path.exists(path))
    if not missing:
        return hit
    path, *copies = sorted(paths, key=lambda path: path in missing)
    return replace(hit, path=path, copies=tuple(copies), missing=missing)


def refused(query: Query, model: str, filters: MediaFilter, catalogue: Catalogue, coverage: Coverage) -> SearchResult:
    """Return the result of a query where no item of a library passes the filters; `model` is its name."""
    decision = filters.refusal(catalogue)
    nothing = SearchResult((), query, model, {"total": 0.0}, coverage, decision=decision)
    return replace(nothing, filters=filters.texts, among=0)


def by_texts_alone(
    queries: Sequence[PreparedQuery],
    options: SearchOptions,
    catalogue: Catalogue,
    channels: LibraryChannels | None,
    coverage: Coverage,
) -> list[SearchResult]:
    """Return the result of each query where a library has nothing that can be seen.

    Args:
        queries: of the search.
        options: of the search.
        catalogue: of the library.
        channels: the text channels of the library; None where it has none: nothing is found.
        coverage: of the library.
    """
    model = catalogue.meta("model") or ""
    results = [
        SearchResult((), one.query, model, {"total": 0.0}, coverage, remarks=one.remarks, without=one.without)
        for one in queries
    ]
    if channels is None:
        return results
    numbers = options.items.numbers(catalogue)
    if numbers is not None and not numbers:
        return [refused(one.query, model, options.items, catalogue, coverage) for one in queries]
    fusion = FusedSearch(options.top, options.min_relevance, numbers, model)
    among = None if numbers is None else len(numbers)
    results = [replace(one, filters=options.items.texts, among=among) for one in results]
    return [
        existing_first(with_texts(channels, catalogue, result, query, fusion))
        for result, query in zip(results, queries, strict=True)
    ]


def coverage_of(catalogue: Catalogue) -> Coverage:
    """Return how much of a library a search can see."""
    counts = catalogue.counts()
    return Coverage(
        searched=counts.indexed_contents,
        pending=counts.pending,
        quarantined=counts.quarantined_contents + counts.unreadable_files,
        translated=count_translated(catalogue),
    )
