"""The searcher: asks an index for candidates, scores them, and makes hits of the best."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ..errors import UsageError
from ..protocols import (
    AppearanceSource,
    AttributeSource,
    DescriptionSource,
    Index,
    Model,
    RelevanceCalibration,
    Reranker,
)
from ..queries import (
    PreparedQuery,
    QueryMemory,
    checked_relevance,
    checked_top,
    prepare,
    query_vectors,
)
from ..scoring.candidates import Candidates, CandidateSearch
from ..scoring.decision import Decision, nothing_shows
from ..scoring.descriptions import WEIGHT
from ..scoring.relevance import GumbelLaw, LogisticLaw
from ..types import Facet, FloatArray, Query, VideoEntry, video_of
from ..utils.stage_clock import StageClock
from ..utils.wording import model_title
from .calibration import personal_calibration
from .examples import ExampleSearch
from .people import EVERYBODY, PeopleSelection, reads_faces, select_people
from .restriction import Restriction, ResultOptions, asks_for_people_only, by_presence
from .result import Preview, SearchResult
from .result_maker import RankedQuery, ResultMaker
from .scored import CandidateScores

MIN_CANDIDATES = 50  # stage one fetches at least so many vectors of each kind,
CANDIDATES_PER_HIT = 10  # and so many for each hit that is asked for
_DEEPER = 4  # times as many for a query that excludes something: the best of them may be what it excludes
_FEW = 1_000  # candidates; where more are to be fetched, it is worth counting how many there are
_QUERIES, _CELLS = 256, 1 << 22  # that are searched together, and candidates of all of them together
_RANKED = 1 << 11  # candidates of all queries whose vectors are held at the same time, about 20 KB each


# Video numbers -> entries of those that may be shown; a number that is missing is passed over.
Lookup = Callable[[Iterable[int]], Mapping[int, VideoEntry]]


@dataclass(frozen=True, slots=True)
class _EmbeddedQuery:
    """A query with its vector (D,), zeros where it has no text; those of what it excludes (X, D), and those of its
    example (E, D), if there is one."""

    prepared: PreparedQuery
    vector: FloatArray
    excluded: FloatArray
    example: FloatArray | None


class Searcher:
    """Answers queries from an index. Holds nothing of the collection but what the index holds."""

    def __init__(
        self,
        model: Model,
        index: Index,
        lookup: Lookup,
        calibration: RelevanceCalibration,
        descriptions: DescriptionSource | None = None,
        description_weight: float = WEIGHT,
        attributes: AttributeSource | None = None,
        decides_by_match: bool = True,
        appearances: AppearanceSource | None = None,
        memory: QueryMemory | None = None,
    ) -> None:
        """Search an index.

        Args:
            model: Made the vectors of the index.
            index: The vectors of videos and moments.
            lookup: Says which of the videos may be shown, and where they are.
            calibration: Makes scores comparable across queries.
            descriptions: What videos were described as; None where none was, or where that is not to count.
            description_weight: What they count beside the pictures (`scoring.descriptions`).
            attributes: What the videos show; None where nobody knows, and no query may ask for it (`Query.where`).
            decides_by_match: Let a model's matching head say whether something was found; else relevance says it.
            appearances: Who is in the videos; None where nobody knows.
            memory: Of queries that were embedded before; None: every query is embedded anew.
        """
        self.model = model
        self.index = index
        self.lookup = lookup
        self.calibration = calibration
        self.descriptions = descriptions
        self.attributes = attributes
        self.appearances = appearances
        self._memory = memory
        self._scores = CandidateScores(index, model, description_weight)
        self._examples = ExampleSearch(model, index)
        self._results = ResultMaker(model, attributes, appearances, decides_by_match)

    def search(
        self,
        query: str | Query | PreparedQuery,
        top: int = 5,
        min_relevance: float | None = None,
        videos: frozenset[int] | None = None,
        reranker: Reranker | None = None,
        exact: bool = False,
        preview: Preview | None = None,
        only: bool = False,
        more: int = 1,
        groups: Mapping[int, int] | None = None,
    ) -> SearchResult:
        """Return the best videos for a query, each with its best moment.

        Equal scores are ordered by video number.

        Args:
            query: What to look for. What a sentence excludes counts against a video (`queries.negation`), unless it was
                prepared otherwise. One with an example is not re-ranked.
            top: How many videos at most.
            min_relevance: Each hit has at least this relevance (0..1); 0 returns all. None: the best hit has the
                relevance from which the model's hits are to be believed (`Scoring.min_relevance`), or matches the query
                by the model's head for that (`scoring.matching`), or nothing is returned; re-ranking does not change
                that (decision): both are of the search's own order.
            videos: The numbers of the videos to search among; None for all.
            reranker: Reorders the best of them.
            exact: Certify that these (and those that the re-ranker sees) are the best of the whole collection, which
                may mean to score more of it; descriptions of videos do not count then. The index is searched exactly,
                also where it has a graph. A query that excludes something, or has an example, is not certified.
            preview: Called with the result as it is without re-ranking, before that begins.
            only: Only videos in which the query's people were recognised, also with a model that reads persons itself.
            more: At most so many moments of each video (`Hit.moments`), the best first.
            groups: Number -> group of near-duplicates, of which the best alone is a hit (`Hit.similar`).

        Raises:
            UsageError: For an empty query, people of whom nobody knows where they are, an example with a model that
                reads none, `top` below 1, `min_relevance` outside 0..1, or `exact` with an index that cannot search
                exactly.
        """
        options = ResultOptions(top, min_relevance, reranker, preview, exact, only, more, groups or {})
        return self.search_all([query], options, videos)[0]

    def search_all(
        self,
        queries: Sequence[str | Query | PreparedQuery],
        options: ResultOptions | None = None,
        videos: frozenset[int] | None = None,
    ) -> list[SearchResult]:
        """Return the result of each query, in order, as `search` does with these options; without any, its defaults.

        Queries that are restricted alike (`Query.where`, their people) are embedded together; the seconds of what is
        done for several at once are shared out evenly among them.
        """
        checked = [prepare(query) for query in queries]
        options = options or ResultOptions()
        options = replace(options, top=checked_top(options.top), min_relevance=checked_relevance(options.min_relevance))
        if "text" not in self.model.reads and any(query.positive.text for query in checked):
            raise UsageError(
                f"{model_title(self.model)} reads no sentences: it answers by {', '.join(sorted(self.model.reads))}"
            )
        by_restriction: dict[object, list[int]] = {}
        for row, query in enumerate(checked):
            absent = frozenset(query.query.persons[handle] for handle in query.absent)
            where, persons = frozenset(query.query.where.items()), frozenset(query.positive.persons.items())
            key = where, persons, absent, bool(query.positive.text)
            by_restriction.setdefault(key, []).append(row)
        results: dict[int, SearchResult] = {}
        for rows in by_restriction.values():
            answers = self._search_restricted([checked[row] for row in rows], options, videos)
            results |= zip(rows, answers, strict=True)
        return [results[row] for row in range(len(checked))]

    def _search_restricted(
        self, queries: Sequence[PreparedQuery], options: ResultOptions, videos: frozenset[int] | None
    ) -> list[SearchResult]:
        """Return the result of each of several queries that are restricted alike, among these videos (None: all)."""
        facets: tuple[Facet, ...] = ()
        if queries[0].query.where:
            if self.attributes is None:
                raise UsageError(f"where: {model_title(self.model)} does not say what is in videos; leave it out")
            selection = self.attributes.select(queries[0].query.where)
            facets = selection.facets
            videos = selection.videos if videos is None else selection.videos & videos
            if not videos:
                return self._nothing(queries, options, nothing_shows(facets), facets)
        all_videos = partial(self._numbers, videos)
        with_faces = reads_faces(self.model, queries[0])
        by_sight = options.only or not with_faces
        people = select_people(self.appearances, self.model, queries[0], by_sight, all_videos)
        if people.videos is not None:
            videos = people.videos if videos is None else people.videos & videos
            if not videos:
                return self._nothing(queries, options, people.decision(len(all_videos())), facets, people)
        law = None
        alone = all(asks_for_people_only(query, people) for query in queries)
        if queries[0].positive.persons and not alone and isinstance(self.calibration, GumbelLaw | LogisticLaw):
            named = queries[0].positive if with_faces else queries[0].positive.without_faces()
            law = personal_calibration(self.model, self.index, named, videos)
        restriction = Restriction(videos, facets, people, law, with_faces)
        return self._search_alike(queries, replace(options, restriction=restriction))

    def _numbers(self, videos: frozenset[int] | None) -> frozenset[int]:
        """Return these videos; for None, the numbers of all of the index that may be shown."""
        if videos is not None:
            return videos
        return frozenset(self.lookup(np.unique(video_of(self.index.ids())).tolist()))

    def _nothing(
        self,
        queries: Sequence[PreparedQuery],
        options: ResultOptions,
        decision: Decision,
        facets: tuple[Facet, ...],
        people: PeopleSelection = EVERYBODY,
    ) -> list[SearchResult]:
        """Return the result of each query where there is no video to search among."""
        nothing = SearchResult(
            (), queries[0].query, self.model.name, {"total": 0.0}, exact=options.exact, decision=decision,
            facets=facets, people=people.counts,
        )  # fmt: skip
        return [replace(nothing, query=query.query, without=query.without, remarks=query.remarks) for query in queries]

    def _search_alike(self, checked: Sequence[PreparedQuery], options: ResultOptions) -> list[SearchResult]:
        """Return the result of each query among the videos of the restriction; the queries are embedded together."""
        clock, reranker = StageClock(), options.reranker
        with clock.stage("embed"):
            queries = self._embedded(checked, options.restriction.with_faces)
        embedding = clock.share(len(queries))
        limit = max(MIN_CANDIDATES, CANDIDATES_PER_HIT * options.top)
        if limit > _FEW:
            limit = max(1, min(limit, self.index.count()))
        certified = max(options.top, reranker.depth if reranker is not None else 0) if options.exact else None
        results: list[SearchResult] = []
        together = max(1, min(_QUERIES, _CELLS // limit))
        for first in range(0, len(queries), together):
            block = queries[first : first + together]
            clock = StageClock()
            with clock.stage("search"):
                candidates = self._candidates(block, limit, certified, options)
                entries = self.lookup(set().union(*(one.numbers for one in candidates)))
            searching = embedding + clock.share(len(block))
            at_once = max(1, _RANKED // limit)
            for start in range(0, len(block), at_once):
                some = slice(start, start + at_once)
                nearest = candidates[some]
                ranked = [
                    self._rank(query, one, entries, options, searching)
                    for query, one in zip(block[some], nearest, strict=True)
                ]
                answers = self._results.make(ranked, options)
                for query, candidate, one, result in zip(block[some], nearest, ranked, answers, strict=True):
                    scored = max(candidate.scored, len(one.ranking.numbers))
                    exact = options.exact and not query.prepared.excluded and query.example is None
                    results.append(replace(result, candidates=scored, exact=exact))
        return results

    def _embedded(self, queries: Sequence[PreparedQuery], with_faces: bool) -> list[_EmbeddedQuery]:
        """Return queries, all or none of which have a text, with their vectors."""
        if not queries[0].positive.text:
            nothing = np.zeros((1, self.index.dim), np.float32)
            excluded = [self._excluded(query, nothing[:0], with_faces) for query in queries]
            return [
                _EmbeddedQuery(query, nothing[0], rows, self._examples.vectors(query))
                for query, rows in zip(queries, excluded, strict=True)
            ]
        vectors, excluded = query_vectors(self.model, queries, with_faces, self._memory)  # (N, D), and (X, D) each
        if self.attributes is not None:
            named = self.attributes.named([query.positive for query in queries])
            queries = [replace(query, attributes=one) for query, one in zip(queries, named, strict=True)]
        return [
            _EmbeddedQuery(*parts, self._examples.vectors(parts[0]))
            for parts in zip(queries, vectors, excluded, strict=True)
        ]

    def _excluded(self, query: PreparedQuery, nothing: FloatArray, with_faces: bool) -> FloatArray:
        """Return the vectors (X, D) of what a query without a text excludes."""
        if not query.excluded:
            return nothing
        texts = [Query(text, persons=query.query.persons) for text in query.excluded]
        return query_vectors(self.model, [PreparedQuery(text, text) for text in texts], with_faces, self._memory)[0]

    def _rank(
        self,
        query: _EmbeddedQuery,
        nearest: Candidates,
        entries: Mapping[int, VideoEntry],
        options: ResultOptions,
        so_far: StageClock,
    ) -> RankedQuery:
        """Return a query with its candidates, best first.

        Args:
            query: with its vectors.
            nearest: its candidates.
            entries: videos that may be shown, by number.
            options: of the search.
            so_far: the seconds that it took before.
        """
        prepared, clock = query.prepared, StageClock()
        text = prepared.positive.spoken
        descriptions = self.descriptions if text and not options.exact else None
        with clock.stage("score"):
            shown = {n: entries[n] for n in nearest.numbers if n in entries}
            matches = descriptions.matches(text, query.vector, shown) if descriptions else {}
            if query.example is None:
                law = options.restriction.law or self.calibration
                ranking = self._scores.rank(query.vector, query.excluded, shown, matches, law)
            else:
                example_law = self._examples.law(bool(text))
                sentence = query.vector if text else None
                weight = 1.0 if text or not query.prepared.excluded else 1 / self._examples.law(True).weight
                ranking = self._scores.rank_by_example(
                    query.example, sentence, query.excluded, weight, shown, matches, example_law
                )
            ranking = by_presence(prepared, ranking, options.restriction.people)
        clock = so_far + clock.share(1)
        if prepared.expansion:
            clock += StageClock({"expand": prepared.expansion.seconds}, prepared.expansion.seconds)
        return RankedQuery(prepared, query.vector, ranking, clock, query.example)

    def _candidates(
        self, queries: Sequence[_EmbeddedQuery], limit: int, certified: int | None, options: ResultOptions
    ) -> list[Candidates]:
        """Return the videos that may be among the best of each query.

        Args:
            queries: all of them with a text, or none.
            limit: so many vectors of each kind are fetched.
            certified: so many of the best are certainly among them, and descriptions do not count; None: not certified.
            options: of the search.
        """
        videos, people = options.restriction.videos, options.restriction.people
        search = CandidateSearch(self.index, self.model.scoring, videos)
        vectors = np.stack([query.vector for query in queries])
        with_text = bool(queries[0].prepared.positive.text)
        together = certified is None and with_text
        candidates = search.nearest(vectors, limit) if together else [Candidates(frozenset())] * len(queries)
        for row, query in enumerate(queries):
            numbers: frozenset[int] = frozenset()
            if asks_for_people_only(query.prepared, people):
                seconds = people.seconds()
                longest = sorted(seconds.keys() & (videos or seconds), key=lambda number: -seconds[number])
                candidates[row] = Candidates(frozenset(longest[:limit]))
            elif with_text and (query.prepared.excluded or (query.example is not None and certified is not None)):
                [candidates[row]] = search.nearest(vectors[[row]], _DEEPER * limit)
            elif with_text and certified is not None:
                candidates[row] = search.certified(vectors[row], certified, max(limit, certified), self._count_moments)
            if query.example is not None:
                numbers |= self._examples.candidates(query.example, limit, options.top, videos)
            if certified is None and self.descriptions is not None and with_text:
                spoken = query.prepared.positive.spoken
                described = self.descriptions.nearest(spoken, vectors[row], MIN_CANDIDATES)
                numbers |= described if videos is None else described & videos
            candidates[row] = replace(candidates[row], numbers=candidates[row].numbers | numbers)
        return candidates

    def _count_moments(self, numbers: Iterable[int]) -> dict[int, int]:
        """Return how many key images each of these videos has; those that may not be shown are left out."""
        return {number: len(entry.segments) for number, entry in self.lookup(numbers).items()}
