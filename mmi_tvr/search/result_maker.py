"""Results of ranked queries: whether something was found, re-ranking, and hits with their moments.

What a head of the model reads of several queries, it reads at once: small batches cost as much as large ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..protocols import AppearanceSource, AttributeSource, Model, Reranker
from ..queries import PreparedQuery, characters_read, query_remarks
from ..scoring import examples, matching
from ..scoring.appearances import locate_seen
from ..scoring.blocks import similarities
from ..scoring.decision import Decision, decide, people_are_there
from ..scoring.hits import hits_of
from ..scoring.moments import further_spans
from ..scoring.ranking import Ranking
from ..types import Embeddings, FloatArray, Hit, HitMoment, Span
from ..utils.budget import Usage, spending
from ..utils.stage_clock import StageClock
from ..utils.wording import model_title
from .restriction import ResultOptions, asks_for_people_only
from .result import SearchResult


@dataclass(slots=True)
class RankedQuery:
    """A query with its vector (D,) and its candidates in their order; `clock` has the seconds that it took so far, and
    `example` (E, D) what hits are to be like."""

    query: PreparedQuery
    vector: FloatArray
    ranking: Ranking
    clock: StageClock
    example: FloatArray | None = None


class ResultMaker:
    """Makes results of ranked queries."""

    def __init__(
        self,
        model: Model,
        attributes: AttributeSource | None = None,
        appearances: AppearanceSource | None = None,
        decides_by_match: bool = True,
    ) -> None:
        """Hold what results are made with; arguments as those of `Searcher`."""
        self._model = model
        self._attributes = attributes
        self._appearances = appearances
        self._match_law = matching.law_of(model) if decides_by_match else None

    def make(self, ranked: Sequence[RankedQuery], options: ResultOptions) -> list[SearchResult]:
        """Return the result of each query, in order. A re-ranking reorders the candidates of `ranked`."""
        decisions = self._decide(ranked, options)
        results = [self._without_hits(one, decision, options) for one, decision in zip(ranked, decisions, strict=True)]
        if options.reranker is not None:
            results = [
                self._reranked(one, result, options, options.reranker) if one.example is None else result
                for one, result in zip(ranked, results, strict=True)
            ]
        return self._with_hits(ranked, results, options)

    def _decide(self, ranked: Sequence[RankedQuery], options: ResultOptions) -> list[Decision]:
        """Return of each query whether the best of all its candidates is good enough, before they are re-ranked."""
        people = options.restriction.people
        matches = self._matches(ranked, options)
        decisions = []
        for row, one in enumerate(ranked):
            if _is_decided_by_people(one, options):
                decisions.append(people_are_there(people.counts))
                continue
            relevances = one.ranking.relevances
            decisions.append(
                decide(
                    float(relevances.max()) if len(relevances) else None,
                    options.min_relevance,
                    model_title(self._model),
                    self._model.scoring.min_relevance if one.example is None else examples.MIN_RELEVANCE,
                    matches.get(row),
                )
            )
        return decisions

    def _matches(self, ranked: Sequence[RankedQuery], options: ResultOptions) -> dict[int, float]:
        """Return the row of each query whose best candidate the model's matching head judges -> what it says, 0..1."""
        if self._match_law is None:
            return {}
        judged = [
            (row, one, one.ranking.first(1))
            for row, one in enumerate(ranked)
            if len(one.ranking.numbers) and one.example is None and not _is_decided_by_people(one, options)
        ]
        if not judged:
            return {}
        clock = StageClock()
        with clock.stage("match"):
            vectors = np.stack([one.vector for _, one, _ in judged])
            videos = [best.vectors[0] for _, _, best in judged]
            scores = np.array([best.model_scores[0] for _, _, best in judged])
            values = matching.evidence(self._model, vectors, videos, scores)
            matches = {
                row: float(self._match_law.relevance(values[[place]], one.vector)[0])
                for place, (row, one, _) in enumerate(judged)
            }
        share = clock.share(len(judged))
        for _, one, _ in judged:
            one.clock += share
        return matches

    def _without_hits(self, ranked: RankedQuery, decision: Decision, options: ResultOptions) -> SearchResult:
        """Return all of a result but its hits."""
        query = ranked.query
        return SearchResult(
            (),
            query.query,
            self._model.name,
            {},
            decision=decision,
            characters_read=characters_read(self._model, query.query),
            remarks=(
                *query.remarks,
                *query_remarks(self._model, query.positive),
                *self._unread_faces(query, options),
                *_example_remarks(ranked, options),
            ),
            levels={block.name: block.t2v for block in self._model.scoring.blocks},
            facets=options.restriction.facets,
            people=options.restriction.people.counts,
            without=query.without,
            expansion=query.expansion,
            usage=query.expansion.usage if query.expansion else Usage(),
        )

    def _unread_faces(self, query: PreparedQuery, options: ResultOptions) -> tuple[str, ...]:
        """Return what to say of people whose faces a model does not read that reads faces."""
        if "persons" not in self._model.reads or options.restriction.with_faces or not query.query.persons:
            return ()
        return (f"{model_title(self._model)} reads faces of another encoder: people are searched where they were seen",)

    def _reranked(
        self, ranked: RankedQuery, result: SearchResult, options: ResultOptions, reranker: Reranker
    ) -> SearchResult:
        """Have the best candidates of a query re-ranked; return its result with what that used."""
        if not len(ranked.ranking.numbers):
            return result
        if options.preview is not None:
            options.preview(self._with_hits([ranked], [result], options)[0])
        clock = StageClock()
        with clock.stage("rerank"), spending() as budget:
            best = ranked.ranking.first(reranker.depth)
            query = ranked.query.positive.without_names()
            ranked.ranking = ranked.ranking.reordered(reranker.rerank(query, best.numbers, best.scores))
        clock.add("rerank", reranker.seconds)
        ranked.clock += clock.share(1)
        return replace(result, usage=result.usage + budget.usage)

    def _with_hits(
        self, ranked: Sequence[RankedQuery], results: Sequence[SearchResult], options: ResultOptions
    ) -> list[SearchResult]:
        """Return results with the hits of their rankings, and the seconds so far."""
        shown = [_shown(one.ranking, result, options) for one, result in zip(ranked, results, strict=True)]
        clock = StageClock()
        with clock.stage("moments"):
            spans = self._locate(ranked, shown, options)
        share = clock.share(len(ranked))
        complete = []
        for one, result, ranking, places in zip(ranked, results, shown, spans, strict=True):
            clock = StageClock()
            hits = self._hits(one, ranking, places, options, clock)
            seconds = (one.clock + share + clock.share(1)).seconds()
            if _nothing_found(result, options):
                complete.append(replace(result, closest=next(iter(hits), None), seconds=seconds))
            else:
                complete.append(replace(result, hits=hits, seconds=seconds))
        return complete

    def _locate(
        self, ranked: Sequence[RankedQuery], shown: Sequence[Ranking], options: ResultOptions
    ) -> list[list[Span]]:
        """Return where each query happens in each of the candidates that it shows."""
        by_text = [row for row, one in enumerate(ranked) if one.example is None]
        located = iter(
            self._locate_sentences([ranked[row] for row in by_text], [shown[row] for row in by_text], options)
        )
        return [
            next(located)
            if one.example is None
            else [examples.most_alike(one.example, video, self._model.scoring) for video in ranking.vectors]
            for one, ranking in zip(ranked, shown, strict=True)
        ]

    def _locate_sentences(
        self, ranked: Sequence[RankedQuery], shown: Sequence[Ranking], options: ResultOptions
    ) -> list[list[Span]]:
        """Return the same of queries without an example."""
        if not ranked:
            return []
        people = options.restriction.people
        counts = [len(ranking.numbers) for ranking in shown]
        spans = locate_seen(
            self._model,
            np.repeat([one.vector for one in ranked], counts, axis=0),
            [video for ranking in shown for video in ranking.vectors],
            [people.seen(number) for ranking in shown for number in ranking.numbers.tolist()],
        )
        ends = np.cumsum(counts).tolist()
        return [spans[end - count : end] for count, end in zip(counts, ends, strict=True)]

    def _hits(
        self, ranked: RankedQuery, shown: Ranking, spans: Sequence[Span], options: ResultOptions, clock: StageClock
    ) -> tuple[Hit, ...]:
        """Return the hits of the candidates that a query shows.

        Args:
            ranked: the query.
            shown: its candidates.
            spans: where it happens in each of them.
            options: of the search.
            clock: takes note of the seconds.
        """
        people, numbers = options.restriction.people, shown.numbers.tolist()
        with clock.stage("relevance"):
            vector = ranked.vector if ranked.query.positive.text else None
            hits = tuple(hits_of(shown, vector, spans, self._model.scoring))
            if options.more > 1:
                hits = tuple(
                    replace(hit, moments=self._moments(ranked, video, span, options.more))
                    for hit, video, span in zip(hits, shown.vectors, spans, strict=True)
                )
        if self._attributes is not None:
            with clock.stage("labels"):
                labels = self._attributes.shared(ranked.query.attributes, numbers)
                hits = tuple(
                    replace(hit, labels=labels.get(number, {})) for number, hit in zip(numbers, hits, strict=True)
                )
        if self._appearances is not None:
            with clock.stage("people"):
                everybody = self._appearances.people(numbers)
                hits = tuple(
                    replace(hit, people=people.of_hit(number, everybody.get(number, ())))
                    for number, hit in zip(numbers, hits, strict=True)
                )
        return hits

    def _moments(self, ranked: RankedQuery, video: Embeddings, span: Span, count: int) -> tuple[HitMoment, ...]:
        """Return at most `count` stretches of a hit, the one that is shown first."""
        if ranked.example is not None:
            scores = examples.moment_likeness(ranked.example, video, self._model.scoring)
        else:
            scores = similarities(video.moments, ranked.vector, self._model.scoring)
        spans = [span, *further_spans(scores, video, span, count - 1)]
        return tuple(HitMoment(one.start, one.end) for one in spans)


def _is_decided_by_people(ranked: RankedQuery, options: ResultOptions) -> bool:
    """Return whether a query asks for nothing but people, who are there."""
    asks = asks_for_people_only(ranked.query, options.restriction.people)
    return not options.min_relevance and len(ranked.ranking.numbers) > 0 and asks


def _example_remarks(ranked: RankedQuery, options: ResultOptions) -> tuple[str, ...]:
    """Return what to say of what is not done for a query with an example."""
    if ranked.example is None or options.reranker is None:
        return ()
    return ("not re-ranked: that asks what a sentence says, and there is an example besides",)


def _nothing_found(result: SearchResult, options: ResultOptions) -> bool:
    return not result.is_found and options.min_relevance != 0


def _shown(ranking: Ranking, result: SearchResult, options: ResultOptions) -> Ranking:
    """Return the candidates that a result shows: the best one alone where nothing was found."""
    if _nothing_found(result, options):
        return ranking.first(1)
    return ranking.relevant(options.min_relevance or 0.0).fold(options.groups).first(options.top)
