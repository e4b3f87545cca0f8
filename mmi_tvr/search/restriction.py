"""What queries that are searched together share: options, and the videos among which they are searched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..protocols import Reranker
from ..queries import PreparedQuery, names_people_only
from ..scoring.personal import PersonalLaw
from ..scoring.ranking import Ranking
from ..types import Facet
from .people import EVERYBODY, PeopleSelection
from .result import Preview


@dataclass(frozen=True, slots=True)
class Restriction:
    """Among which `videos` queries are searched (None: all), and why: what these show, and who is in them; `law` says
    what scores are worth for queries with these people (None: the same as for all others), and `with_faces` whether the
    model reads theirs."""

    videos: frozenset[int] | None = None
    facets: tuple[Facet, ...] = ()
    people: PeopleSelection = EVERYBODY
    law: PersonalLaw | None = None
    with_faces: bool = False


@dataclass(frozen=True, slots=True)
class ResultOptions:
    """What results are like, by the names of `Searcher.search`; and what queries that are searched together are
    restricted to, which the searcher fills in."""

    top: int = 5
    min_relevance: float | None = None
    reranker: Reranker | None = None
    preview: Preview | None = None
    exact: bool = False
    only: bool = False
    more: int = 1
    groups: Mapping[int, int] = field(default_factory=dict)
    restriction: Restriction = Restriction()


def asks_for_people_only(query: PreparedQuery, people: PeopleSelection) -> bool:
    """Return whether a query says nothing but whom to look for, and it is known where they are."""
    return people.restricts and not query.excluded and names_people_only(query.positive)


def by_presence(query: PreparedQuery, ranking: Ranking, people: PeopleSelection) -> Ranking:
    """Return the candidates of a query for nothing but people by how long these are in the picture.

    Decision: their relevance is how surely they were recognised; the model has nothing to say of it.
    """
    return (
        ranking.in_order_of(people.seconds(), people.confidences()) if asks_for_people_only(query, people) else ranking
    )
