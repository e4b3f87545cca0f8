"""What a search gives: its hits, and what else is worth knowing of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, overload

from ..queries import Expansion
from ..scoring.decision import NOTHING_INDEXED, Decision
from ..types import Facet, Hit, Query
from ..utils.budget import Usage


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a library a search could see: videos by state. Of those that were searched, `translated` ones have
    vectors that were translated from those of a former model."""

    searched: int = 0
    pending: int = 0
    quarantined: int = 0
    translated: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class SearchResult(Sequence[Hit]):
    """The hits, best first, and what else is worth knowing. An empty result is an answer, too.

    `decision` says whether something was found, and why; `closest` is the best video of all where none was good enough
    to be a hit. `characters_read` says how much of the query, from its start, was read, where it was longer than the
    model reads; else it is None. `remarks` is what else the model cannot make of it. `candidates` is the number of
    videos that were scored; with `exact`, no other video of the collection scores as high as the best.

    `levels` holds how much each level of the model counted (`types.Block.t2v`), by its name in `scores` of a hit.
    `facets` are what the search was restricted to (`Query.where`). `people` holds whom the query looks for, and in how
    many videos each of them was recognised.
    `filters` says in words, by name, what else of a library it was restricted to (kind, date, folder ...), and `among`
    how many items that left; None where it was not.
    `without` is what the query excludes; `expansion` holds the wordings that it was searched by besides its own, where
    somebody asked for any.
    """

    hits: tuple[Hit, ...]
    query: Query
    model: str
    seconds: Mapping[str, float]  # by stage, and "total"; "rerank.answer" and "rerank.judge" are parts of "rerank"
    coverage: Coverage = Coverage()
    closest: Hit | None = None
    characters_read: int | None = None
    remarks: tuple[str, ...] = ()
    decision: Decision = NOTHING_INDEXED
    usage: Usage = field(default_factory=Usage)  # what re-ranking and expansion spent on language models
    candidates: int = 0
    exact: bool = False
    levels: Mapping[str, float] = field(default_factory=dict)
    facets: tuple[Facet, ...] = ()
    people: Mapping[str, int] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    filters: Mapping[str, str] = field(default_factory=dict)
    among: int | None = None
    expansion: Expansion | None = None

    @property
    def is_found(self) -> bool:
        """Whether the best hit is good enough, by the least relevance that was asked for, else by the model's own."""
        return self.decision.is_found

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract: `mmi-tvr search --json`, `GET /api/search`)."""
        return {
            "query": self.query.text,
            "like": self.query.example.as_dict() if self.query.example else None,
            "characters_read": self.characters_read,
            "remarks": list(self.remarks),
            "without": list(self.without),
            "filters": dict(self.filters),
            "among": self.among,
            "where": [{"level": facet.level, "name": facet.name, **facet.as_dict()} for facet in self.facets],
            "people": [{"name": name, "videos": videos} for name, videos in self.people.items()],
            "levels": dict(self.levels),
            "expanded": list(self.expansion.wordings) if self.expansion else [],
            "expansion_problem": self.expansion.problem if self.expansion else None,
            "model": self.model,
            "found": self.decision.is_found,
            "found_reason": self.decision.reason,
            "hits": [hit.as_dict() for hit in self.hits],
            "closest": self.closest.as_dict() if self.closest else None,
            "coverage": self.coverage.as_dict(),
            "seconds": dict(self.seconds),
            "candidates": self.candidates,
            "exact": self.exact,
            "usage": self.usage.as_dict(),
        }

    def __len__(self) -> int:
        return len(self.hits)

    @overload
    def __getitem__(self, position: int) -> Hit: ...

    @overload
    def __getitem__(self, position: slice) -> tuple[Hit, ...]: ...

    def __getitem__(self, position: int | slice) -> Hit | tuple[Hit, ...]:
        return self.hits[position]


Preview = Callable[[SearchResult], object]  # what is called with a result before it is re-ranked
