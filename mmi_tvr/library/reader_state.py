"""What the reading side of a library has open: the state of its catalogue, and what was built from that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..config import Section
from ..protocols import Model, Reranker, SnapshotIndex
from ..search import Coverage, Searcher
from .appearances import LibraryPeople
from .catalogue import Catalogue
from .channels.searching import LibraryChannels


@dataclass(frozen=True, slots=True)
class LibraryState:
    """What a search needs of one version of the catalogue: a searcher (None while nothing is indexed), and counts.

    Versions with the same `revision` differ in nothing that a search reads but how much is pending.
    """

    catalogue_version: int
    revision: str
    coverage: Coverage
    searcher: Searcher | None
    people: LibraryPeople

    def at_version(self, version: int, revision: str, catalogue: Catalogue) -> LibraryState | None:
        """Return this state for another version of the catalogue; None where it has to be opened anew."""
        if revision != self.revision:
            return None
        if self.searcher is not None:
            index = self.searcher.index
            if not isinstance(index, SnapshotIndex) or index.is_outdated():
                return None
        coverage = replace(self.coverage, pending=catalogue.count_pending())
        return replace(self, catalogue_version=version, coverage=coverage)

    def close(self) -> None:
        self.people.close()
        if self.searcher is not None:
            self.searcher.index.close()


@dataclass(frozen=True, slots=True)
class PresentSearch:
    """What one search works with: the open catalogue and the state that it has, the channels, the groups of near-
    duplicates, and the numbers of the items to search among (None: all)."""

    catalogue: Catalogue
    coverage: Coverage
    searcher: Searcher
    people: LibraryPeople
    channels: LibraryChannels | None
    groups: Mapping[int, int]
    numbers: frozenset[int] | None


@dataclass(frozen=True, slots=True)
class ReweightedSearcher:
    """A searcher whose levels count otherwise than those of the searcher `base`."""

    searcher: Searcher
    base: Searcher
    levels: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class BuiltReranker:
    """A re-ranker, and what it was built from; `pools` is the state of the files of its questions."""

    reranker: Reranker
    section: Section
    model: Model
    pools: tuple[object, ...]
