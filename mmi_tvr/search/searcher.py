"""The searcher: asks an index for candidates, scores them, and makes hits of the best."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import UsageError
from ..protocols import AttributeSource, DescriptionSource, Index, Model, RelevanceCalibration, Reranker
from ..queries import (
    PreparedQuery,
    characters_read,
    checked_relevance,
    checked_top,
    prepare,
    query_remarks,
    query_vectors,
)
from ..scoring import exclusion, matching, relevance
from ..scoring.candidates import Candidates, CandidateSearch
from ..scoring.decision import Decision, decide, nothing_shows
from ..scoring.descriptions import WEIGHT, description_changes
from ..scoring.hits import hits_of
from ..scoring.moments import locate
from ..scoring.ranking import Ranking
from ..scoring.similarity import Gallery
from ..types import (
    DescriptionMatch,
    Embeddings,
    FloatArray,
    Query,
    Where,
    moment_of,
    row_ids,
    video_of,
)
from ..utils.budget import Usage, spending
from ..utils.stage_clock import StageClock
from ..utils.wording import model_title
from .result import Preview, SearchResult, VideoEntry

MIN_CANDIDATES = 50  # stage one fetches at least so many vectors of each kind,
CANDIDATES_PER_HIT = 10  # and so many for each hit that is asked for
_DEEPER = 4  # times as many for a query that excludes something: the best of them may be what it excludes
_FEW = 1_000  # candidates; where more are to be fetched, it is worth counting how many there are
_QUERIES, _CELLS = 256, 1 << 22  # that are searched together, and candidates of all of them together


# Video numbers -> entries of those that may be shown; a number that is missing is passed over.
Lookup = Callable[[Iterable[int]], Mapping[int, VideoEntry]]


@dataclass(frozen=True, slots=True)
class _ResultOptions:
    """What `Searcher.search` is told of the results."""

    top: int
    min_relevance: float | None
    reranker: Reranker | None
    preview: Preview | None


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
        """
        self.model = model
        self.index = index
        self.lookup = lookup
        self.calibration = calibration
        self.descriptions = descriptions
        self.description_weight = description_weight
        self.attributes = attributes
        self._match_law = matching.law_of(model) if decides_by_match else None

    def search(
        self,
        query: str | Query | PreparedQuery,
        top: int = 5,
        min_relevance: float | None = None,
        videos: frozenset[int] | None = None,
        reranker: Reranker | None = None,
        exact: bool = False,
        preview: Preview | None = None,
    ) -> SearchResult:
        """Return the best videos for a query, each with its best moment.

        Equal scores are ordered by video number.

        Args:
            query: What to look for. What a sentence excludes counts against a video (`queries.negation`), unless it was
                prepared otherwise.
            top: How many videos at most.
            min_relevance: Each hit has at least this relevance (0..1); 0 returns all. None: the best hit has the
                relevance from which the model's hits are to be believed (`Scoring.min_relevance`), or matches the query
                by the model's head for that (`scoring.matching`), or nothing is returned; re-ranking does not change
                that (decision): both are of the search's own order.
            videos: The numbers of the videos to search among; None for all.
            reranker: Reorders the best of them.
            exact: Certify that these (and those that the re-ranker sees) are the best of the whole collection, which
                may mean to score more of it; descriptions of videos do not count then. The index is searched exactly,
                also where it has a graph. A query that excludes something is not certified.
            preview: Called with the result as it is without re-ranking, before that begins.

        Raises:
            UsageError: For an empty query, `top` below 1, `min_relevance` outside 0..1, or `exact` with an index that
                cannot search exactly.
        """
        return self.search_all([query], top, min_relevance, videos, reranker, exact, preview)[0]

    def search_all(
        self,
        queries: Sequence[str | Query | PreparedQuery],
        top: int = 5,
        min_relevance: float | None = None,
        videos: frozenset[int] | None = None,
        reranker: Reranker | None = None,
        exact: bool = False,
        preview: Preview | None = None,
    ) -> list[SearchResult]:
        """Return the result of each query, in order, as `search` does.

        Queries that are restricted alike (`Query.where`) are embedded together; the seconds of what is done for several
        at once are shared out evenly among them.
        """
        checked = [prepare(query) for query in queries]
        top = checked_top(top)
        options = _ResultOptions(top, checked_relevance(min_relevance), reranker, preview)
        if "text" not in self.model.reads:
            raise UsageError(
                f"{model_title(self.model)} reads no sentences: it answers by {', '.join(sorted(self.model.reads))}"
            )
        by_restriction: dict[frozenset[tuple[str, frozenset[str]]], list[int]] = {}
        for row, query in enumerate(checked):
            by_restriction.setdefault(frozenset(query.query.where.items()), []).append(row)
        results: dict[int, SearchResult] = {}
        for restriction, rows in by_restriction.items():
            alike = [checked[row] for row in rows]
            if restriction:
                answers = self._search_facets(alike, dict(restriction), options, videos, exact)
            else:
                answers = self._search_alike(alike, options, videos, exact)
            results |= zip(rows, answers, strict=True)
        return [results[row] for row in range(len(checked))]

    def _search_facets(
        self,
        queries: Sequence[PreparedQuery],
        where: Where,
        options: _ResultOptions,
        videos: frozenset[int] | None,
        exact: bool,
    ) -> list[SearchResult]:
        """Return the result of each query among the videos that show all of these classes."""
        if self.attributes is None:
            raise UsageError(f"where: {model_title(self.model)} does not say what is in videos; leave it out")
        selection = self.attributes.select(where)
        allowed = selection.videos if videos is None else selection.videos & videos
        if allowed:
            answers = self._search_alike(queries, options, allowed, exact)
        else:
            nothing = SearchResult((), queries[0].query, self.model.name, {"total": 0.0}, exact=exact)
            decision = nothing_shows(selection.facets)
            answers = [replace(nothing, query=query.query, decision=decision) for query in queries]
        return [replace(answer, facets=selection.facets) for answer in answers]

    def _search_alike(
        self, checked: Sequence[PreparedQuery], options: _ResultOptions, videos: frozenset[int] | None, exact: bool
    ) -> list[SearchResult]:
        """Return the result of each query among these videos (None: all); the queries are embedded together."""
        clock, top, reranker = StageClock(), options.top, options.reranker
        with clock.stage("embed"):
            vectors, excluded = query_vectors(self.model, checked)  # (N, D), and for each query (X, D)
            if self.attributes is not None:
                named = self.attributes.named([query.positive for query in checked])
                checked = [replace(query, attributes=one) for query, one in zip(checked, named, strict=True)]
        embedding = clock.share(len(checked))
        limit = max(MIN_CANDIDATES, CANDIDATES_PER_HIT * top)
        if limit > _FEW:
            limit = max(1, min(limit, self.index.count()))
        certified = max(top, reranker.depth if reranker is not None else 0) if exact else None
        descriptions = None if exact else self.descriptions
        results = []
        together = max(1, min(_QUERIES, _CELLS // limit))
        for first in range(0, len(checked), together):
            block = slice(first, first + together)
            clock = StageClock()
            with clock.stage("search"):
                candidates = self._candidates(checked[block], vectors[block], limit, certified, videos)
                entries = self.lookup(set().union(*(one.numbers for one in candidates)))
            searching = clock.share(len(candidates))
            for query, vector, absent, nearest in zip(
                checked[block], vectors[block], excluded[block], candidates, strict=True
            ):
                clock = embedding + searching
                if query.expansion:
                    clock += StageClock({"expand": query.expansion.seconds}, query.expansion.seconds)
                with clock.stage("score"):
                    shown = {n: entries[n] for n in nearest.numbers if n in entries}
                    matches = descriptions.matches(query.positive.spoken, vector, shown) if descriptions else {}
                    ranking = self._score(vector, absent, shown, matches)
                decision = self._decide(vector, ranking, options, clock)
                result = self._result(query, vector, ranking, decision, options, clock)
                scored = max(nearest.scored, len(ranking.numbers))
                results.append(replace(result, candidates=scored, exact=exact and not query.excluded))
        return results

    def _candidates(
        self,
        queries: Sequence[PreparedQuery],
        vectors: FloatArray,
        limit: int,
        certified: int | None,
        videos: frozenset[int] | None,
    ) -> list[Candidates]:
        """Return the videos that may be among the best of each query, whose vectors are (N, D); with `certified`, so
        many of the best are certainly among them, and descriptions do not count."""
        search = CandidateSearch(self.index, self.model.scoring, videos)
        candidates = search.nearest(vectors, limit) if certified is None else [Candidates(frozenset())] * len(queries)
        for row, query in enumerate(queries):
            if query.excluded:
                [candidates[row]] = search.nearest(vectors[[row]], _DEEPER * limit)
            elif certified is not None:
                candidates[row] = search.certified(vectors[row], certified, max(limit, certified), self._count_moments)
            if certified is None and self.descriptions is not None:
                described = self.descriptions.nearest(query.positive.spoken, vectors[row], MIN_CANDIDATES)
                described = described if videos is None else described & videos
                candidates[row] = replace(candidates[row], numbers=candidates[row].numbers | described)
        return candidates

    def _decide(self, vector: FloatArray, ranking: Ranking, options: _ResultOptions, clock: StageClock) -> Decision:
        """Return whether the best of all candidates is good enough for a query (D,), before they are re-ranked."""
        relevances, match = ranking.relevances, None
        if len(relevances) and self._match_law is not None:
            with clock.stage("match"):
                best = ranking.first(1)
                values = matching.evidence(self.model, vector[None], best.vectors, best.model_scores)
                match = float(self._match_law.relevance(values, vector)[0])
        return decide(
            float(relevances.max()) if len(relevances) else None,
            options.min_relevance,
            model_title(self.model),
            self.model.scoring.min_relevance,
            match,
        )

    def _result(
        self,
        query: PreparedQuery,
        vector: FloatArray,
        ranking: Ranking,
        decision: Decision,
        options: _ResultOptions,
        clock: StageClock,
    ) -> SearchResult:
        """Return what a query (its vector: (D,)) gets of its ranked candidates."""
        result = SearchResult(
            (),
            query.query,
            self.model.name,
            {},
            decision=decision,
            characters_read=characters_read(self.model, query.query),
            remarks=query_remarks(self.model, query.positive),
            levels={block.name: block.t2v for block in self.model.scoring.blocks},
            without=query.excluded,
            expansion=query.expansion,
            usage=query.expansion.usage if query.expansion else Usage(),
        )
        reranker = options.reranker
        if reranker is not None and len(ranking.numbers):
            if options.preview is not None:
                options.preview(self._with_hits(result, query, vector, ranking, options, clock))
            with clock.stage("rerank"), spending() as budget:
                best = ranking.first(reranker.depth)
                ranking = ranking.reordered(reranker.rerank(query.positive, best.numbers, best.scores))
            clock.add("rerank", reranker.seconds)
            result = replace(result, usage=result.usage + budget.usage)
        return self._with_hits(result, query, vector, ranking, options, clock)

    def _with_hits(
        self,
        result: SearchResult,
        query: PreparedQuery,
        vector: FloatArray,
        ranking: Ranking,
        options: _ResultOptions,
        clock: StageClock,
    ) -> SearchResult:
        """Return a result with the hits of a ranking, and the seconds so far."""
        min_relevance = options.min_relevance
        nothing = not result.is_found and min_relevance != 0
        shown = ranking.first(1) if nothing else ranking.relevant(min_relevance or 0.0).first(options.top)
        with clock.stage("moments"):
            spans = locate(self.model, np.tile(vector, (len(shown.vectors), 1)), shown.vectors)
        with clock.stage("relevance"):
            candidates = tuple(hits_of(shown, vector, spans, self.model.scoring))
        if self.attributes is not None:
            with clock.stage("labels"):
                labels = self.attributes.shared(query.attributes, shown.numbers.tolist())
                candidates = tuple(
                    replace(hit, labels=labels.get(number, {}))
                    for number, hit in zip(shown.numbers.tolist(), candidates, strict=True)
                )
        hits, closest = ((), next(iter(candidates), None)) if nothing else (candidates, None)
        return replace(result, hits=hits, closest=closest, seconds=clock.seconds())

    def _count_moments(self, numbers: Iterable[int]) -> dict[int, int]:
        """Return how many key images each of these videos has; those that may not be shown are left out."""
        return {number: len(entry.segments) for number, entry in self.lookup(numbers).items()}

    def _score(
        self,
        query: FloatArray,
        excluded: FloatArray,
        entries: Mapping[int, VideoEntry],
        matches: Mapping[int, DescriptionMatch],
    ) -> Ranking:
        """Return the candidates with exact scores of a query (D,) from their stored vectors, best first.

        Args:
            query: (D,).
            excluded: (X, D), what it excludes.
            entries: The candidates by their numbers.
            matches: How it matches the descriptions of those that have one.
        """
        numbers = sorted(entries)
        if not numbers:
            return Ranking(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0), [], [])
        ids = np.concatenate([row_ids(number, len(entries[number].segments)) for number in numbers])
        gallery = Gallery.from_index(self.index, ids)
        scores = gallery.score(query[None], self.model.scoring)[0]
        changes = {}
        if len(excluded):
            changes["excluded"] = -exclusion.penalties(gallery.score(excluded, self.model.scoring))
        if matches:
            changes["description"] = description_changes([matches.get(n) for n in numbers], self.description_weight)
        vectors = []
        for row, number in enumerate(numbers):
            moments = gallery.moments[gallery.offsets[row] : gallery.offsets[row + 1]]
            vectors.append(Embeddings(gallery.videos[row], moments, entries[number].segments))
        paths = [entries[number].paths for number in numbers]
        relevances = self.calibration.relevance(scores, query)
        return Ranking(
            np.array(numbers, dtype=np.int64), scores, relevances, paths, vectors, changes, matches
        ).by_score()


def calibration_of(model: Model, index: Index) -> RelevanceCalibration:
    """Calibrate relevance on a collection, from an even sample of its videos."""
    ids = index.ids()
    starts = np.flatnonzero(moment_of(ids) < 0)  # where each video begins
    chosen = np.unique(np.linspace(0, len(starts) - 1, min(len(starts), relevance.SAMPLE)).astype(np.int64))
    in_sample = np.isin(video_of(ids), video_of(ids[starts[chosen]]))
    return relevance.calibrate(model, Gallery.from_index(index, ids[in_sample]), len(starts))
