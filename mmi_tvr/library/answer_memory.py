"""Results of searches that were made before: a resident process is asked for the same again and again.

A result is kept as long as the library is in the state that it was made of, and no longer. Searches that depend on
more are made anew: those with an example, with filters, with questions of a pool, with a language model. Whenever a
result is given out, its hits are looked for on the disk (`results.existing_first`), and what is pending is counted.
Results in which somebody is named are not kept (decision): whoever is forgotten is not to live on here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from ..search import Searcher, SearchResult
from ..types import Query
from .channels.searching import LibraryChannels
from .search_options import SearchOptions

_PARTS = 5  # moments, near-duplicates or copies of hits take as much memory as one more hit: about 400 bytes each


@dataclass(frozen=True, slots=True)
class AnsweringState:
    """All of a library that a kept result depends on; two states are equal where nothing of it has changed.

    - `searcher`: of the library, with the index and the model.
    - `revision`: of the catalogue (`CatalogueFile.revision`).
    - `channels`: its text channels, or None; `channel_problem` says why they cannot be searched.
    - `people`: `LibraryPeople.version`.
    - `groups`: of near-duplicates.
    """

    searcher: Searcher
    revision: str
    channels: LibraryChannels | None
    channel_problem: str | None
    people: tuple[object, ...]
    groups: object


class AnswerMemory:
    """The last results of one state of a library."""

    def __init__(self, size: int) -> None:
        """size: how many hits all of them may have together, about 2 KB each; 0: nothing is kept."""
        self._size = size
        self._hits = 0
        self._state: AnsweringState | None = None
        self._results: OrderedDict[Hashable, SearchResult] = OrderedDict()

    def __len__(self) -> int:
        return len(self._results)

    def resize(self, size: int) -> None:
        """Keep results with so many hits from now on; of those that are too many, the oldest are forgotten."""
        self._size = size
        while self._hits > size:
            self._hits -= _cost(self._results.popitem(last=False)[1])

    def clear(self) -> None:
        """Forget all results."""
        self._results.clear()
        self._hits, self._state = 0, None

    def settle(self, state: AnsweringState) -> None:
        """Forget all results of another state than this one."""
        if self._state is not None and self._state != state:
            self.clear()
        self._state = state

    def get(self, query: Query, options: SearchOptions) -> SearchResult | None:
        """Return the result of a search in the present state; None where it is not known."""
        key = _key(query, options)
        result = None if key is None else self._results.get(key)
        if result is not None:
            self._results.move_to_end(key)
        return result

    def put(self, query: Query, options: SearchOptions, result: SearchResult) -> None:
        """Keep a result of the present state that depends on nothing else, unless somebody is named in it."""
        key = _key(query, options)
        if key is None or _cost(result) > self._size or key in self._results:
            return
        if result.expansion is not None or _names_people(result):
            return
        self._results[key] = result
        self._hits += _cost(result)
        self.resize(self._size)


def _key(query: Query, options: SearchOptions) -> Hashable | None:
    """Return what tells a search from others; None for one whose result depends on more than the library."""
    if query.where or query.persons or query.example is not None or options.key is None:
        return None
    return query.text, query.cut, options.key


def _cost(result: SearchResult) -> int:
    """Return how many hits a result counts as: at least one, so that empty ones cannot grow without a limit.

    What a hit has many of counts besides: its moments, its near-duplicates, its copies.
    """
    parts = sum(len(hit.moments) + len(hit.similar) + len(hit.copies) for hit in result.hits)
    return len(result.hits) + 1 + parts // _PARTS


def _names_people(result: SearchResult) -> bool:
    hits = result.hits if result.closest is None else (*result.hits, result.closest)
    return bool(result.people or result.query.persons) or any(hit.people for hit in hits)
