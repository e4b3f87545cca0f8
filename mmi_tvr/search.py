"""Search: a query -> the best moment of the best videos, with the seconds that every stage took.

Stage one asks the index for candidates, by whole videos and by single key images. Stage two scores the candidates
exactly, as the model says (`types.Scoring`). A re-ranker, where there is one, may then reorder the best of them. A
search that is `exact` goes on asking until no other video can be among the best (`scoring.candidates`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError
from .protocols import Index, Model, RelevanceCalibration, Reranker
from .queries import (
    Expansion,
    PreparedQuery,
    characters_read,
    checked_relevance,
    checked_top,
    prepare,
    query_vectors,
)
from .scoring import exclusion, relevance
from .scoring.blocks import block_scores, similarities
from .scoring.candidates import Candidates, CandidateSearch
from .scoring.decision import NOTHING_INDEXED, Decision, decide
from .scoring.joint import permutation
from .scoring.moments import locate
from .scoring.similarity import Gallery
from .types import (
    Embeddings,
    Explanation,
    FloatArray,
    Hit,
    IdArray,
    Query,
    Span,
    moment_of,
    row_ids,
    video_of,
)
from .utils.budget import Usage, spending
from .utils.stage_clock import StageClock

MIN_CANDIDATES = 50  # stage one fetches at least so many vectors of each kind,
CANDIDATES_PER_HIT = 10  # and so many for each hit that is asked for
_DEEPER = 4  # times as many for a query that excludes something: the best of them may be what it excludes
_FEW = 1_000  # candidates; where more are to be fetched, it is worth counting how many there are
_QUERIES, _CELLS = 256, 1 << 22  # that are searched together, and candidates of all of them together


class VideoEntry(NamedTuple):
    """What a search needs of a video besides its vectors: `paths` of its content, and `segments` (K, 3) as in
    `types.Features`."""

    paths: tuple[Path, ...]
    segments: NDArray[np.float64]


# Video numbers -> entries of those that may be shown; a number that is missing is passed over.
Lookup = Callable[[Iterable[int]], Mapping[int, VideoEntry]]


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a library a search could see: videos by state."""

    searched: int = 0
    pending: int = 0
    quarantined: int = 0


@dataclass(frozen=True)
class SearchResult(Sequence[Hit]):
    """The hits, best first, and what else is worth knowing. An empty result is an answer, too.

    `decision` says whether something was found, and why; `closest` is the best video of all where none was good enough
    to be a hit. `characters_read` says how much of the query, from its start, was read, where it was longer than the
    model reads; else it is None. `candidates` is the number of videos that were scored; with `exact`, no other video of
    the collection scores as high as the best.

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
    decision: Decision = NOTHING_INDEXED
    usage: Usage = field(default_factory=Usage)  # what re-ranking and expansion spent on language models
    candidates: int = 0
    exact: bool = False
    without: tuple[str, ...] = ()
    expansion: Expansion | None = None

    @property
    def is_found(self) -> bool:
        """Whether the best hit is good enough, by the least relevance that was asked for, else by the model's own."""
        return self.decision.is_found

    def __len__(self) -> int:
        return len(self.hits)

    @overload
    def __getitem__(self, position: int) -> Hit: ...

    @overload
    def __getitem__(self, position: slice) -> tuple[Hit, ...]: ...

    def __getitem__(self, position: int | slice) -> Hit | tuple[Hit, ...]:
        return self.hits[position]


class Searcher:
    """Answers queries from an index. Holds nothing of the collection but what the index holds."""

    def __init__(self, model: Model, index: Index, lookup: Lookup, calibration: RelevanceCalibration) -> None:
        self.model = model
        self.index = index
        self.lookup = lookup
        self.calibration = calibration

    def search(
        self,
        query: str | Query | PreparedQuery,
        top: int = 5,
        min_relevance: float | None = None,
        videos: frozenset[int] | None = None,
        reranker: Reranker | None = None,
        exact: bool = False,
    ) -> SearchResult:
        """Return the best videos for a query, each with its best moment.

        Equal scores are ordered by video number.

        Args:
            query: What to look for. What a sentence excludes counts against a video (`queries.negation`), unless it was
                prepared otherwise.
            top: How many videos at most.
            min_relevance: Each hit has at least this relevance (0..1); 0 returns all. None: the best hit has the
                relevance from which the model's hits are to be believed (`Scoring.min_relevance`), or nothing is
                returned; re-ranking does not change that (decision): the relevance is that of the search's own score.
            videos: The numbers of the videos to search among; None for all.
            reranker: Reorders the best of them.
            exact: Certify that these (and those that the re-ranker sees) are the best of the whole collection, which
                may mean to score more of it. The index is searched exactly, also where it has a graph. A query that
                excludes something is not certified.

        Raises:
            UsageError: For an empty query, `top` below 1, `min_relevance` outside 0..1, or `exact` with an index that
                cannot search exactly.
        """
        return self.search_all([query], top, min_relevance, videos, reranker, exact)[0]

    def search_all(
        self,
        queries: Sequence[str | Query | PreparedQuery],
        top: int = 5,
        min_relevance: float | None = None,
        videos: frozenset[int] | None = None,
        reranker: Reranker | None = None,
        exact: bool = False,
    ) -> list[SearchResult]:
        """Return the result of each query, in order, as `search` does; the queries are embedded together.

        The seconds of what is done for several queries at once are shared out evenly among them.
        """
        checked = [prepare(query) for query in queries]
        top, min_relevance = checked_top(top), checked_relevance(min_relevance)
        if "text" not in self.model.reads:
            raise UsageError(
                f"{self.model.name} reads no sentences: it answers by {', '.join(sorted(self.model.reads))}"
            )
        if not checked:
            return []
        clock = StageClock()
        with clock.stage("embed"):
            vectors, excluded = query_vectors(self.model, checked)  # (N, D), and for each query (X, D)
        embedding = clock.share(len(checked))
        limit = max(MIN_CANDIDATES, CANDIDATES_PER_HIT * top)
        if limit > _FEW:
            limit = max(1, min(limit, self.index.count()))
        certified = max(top, reranker.depth if reranker is not None else 0) if exact else None
        results = []
        together = max(1, min(_QUERIES, _CELLS // limit))
        for first in range(0, len(checked), together):
            block = slice(first, first + together)
            clock = StageClock()
            with clock.stage("search"):
                candidates = self._candidates(checked[block], vectors[block], limit, certified, videos)
                entries = self.lookup(set().union(*(one.numbers for one in candidates)))
            searching = clock.share(len(candidates))
            for query, vector, unwanted, nearest in zip(
                checked[block], vectors[block], excluded[block], candidates, strict=True
            ):
                clock = embedding + searching
                if query.expansion:
                    clock += StageClock({"expand": query.expansion.seconds}, query.expansion.seconds)
                with clock.stage("score"):
                    ranking = self._score(vector, unwanted, {n: entries[n] for n in nearest.numbers if n in entries})
                result = self._result(query, vector, ranking, top, min_relevance, reranker, clock)
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
        many of the best are certainly among them."""
        search = CandidateSearch(self.index, self.model.scoring, videos)
        candidates = search.nearest(vectors, limit) if certified is None else [Candidates(frozenset())] * len(queries)
        for row, query in enumerate(queries):
            if query.excluded:
                [candidates[row]] = search.nearest(vectors[[row]], _DEEPER * limit)
            elif certified is not None:
                candidates[row] = search.certified(vectors[row], certified, max(limit, certified), self._count_moments)
        return candidates

    def _result(
        self,
        query: PreparedQuery,
        vector: FloatArray,
        ranking: _Ranking,
        top: int,
        min_relevance: float | None,
        reranker: Reranker | None,
        clock: StageClock,
    ) -> SearchResult:
        """Return what a query (its vector: (D,)) gets of its ranked candidates; the other arguments as `search`."""
        best_relevance = float(ranking.relevances.max()) if len(ranking.numbers) else None
        decision = decide(best_relevance, min_relevance, self.model.name, self.model.scoring.min_relevance)
        usage = query.expansion.usage if query.expansion else Usage()
        if reranker is not None and len(ranking.numbers):
            with clock.stage("rerank"), spending() as budget:
                best = ranking.first(reranker.depth)
                ranking = ranking.reordered(reranker.rerank(query.positive, best.numbers, best.scores))
            clock.add("rerank", reranker.seconds)
            usage += budget.usage
        nothing = not decision.is_found and min_relevance != 0
        shown = ranking.first(1) if nothing else ranking.relevant(min_relevance or 0.0).first(top)
        with clock.stage("moments"):
            spans = locate(self.model, np.tile(vector, (len(shown.vectors), 1)), shown.vectors)
        with clock.stage("relevance"):
            candidates = tuple(self._hits(shown, vector, spans))
        hits, closest = ((), next(iter(candidates), None)) if nothing else (candidates, None)
        return SearchResult(
            hits,
            query.query,
            self.model.name,
            clock.seconds(),
            closest=closest,
            decision=decision,
            characters_read=characters_read(self.model, query.query),
            without=query.excluded,
            expansion=query.expansion,
            usage=usage,
        )

    def _count_moments(self, numbers: Iterable[int]) -> dict[int, int]:
        """Return how many key images each of these videos has; those that may not be shown are left out."""
        return {number: len(entry.segments) for number, entry in self.lookup(numbers).items()}

    def _score(self, query: FloatArray, excluded: FloatArray, entries: Mapping[int, VideoEntry]) -> _Ranking:
        """Return the candidates with exact scores of a query (D,) from their stored vectors, best first; `excluded`
        (X, D) is what it excludes."""
        numbers = sorted(entries)
        if not numbers:
            return _Ranking(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0), [], [])
        ids = np.concatenate([row_ids(number, len(entries[number].segments)) for number in numbers])
        gallery = Gallery.from_index(self.index, ids)
        scores = gallery.score(query[None], self.model.scoring)[0]
        changes = {}
        if len(excluded):
            changes["excluded"] = -exclusion.penalties(gallery.score(excluded, self.model.scoring))
        vectors = []
        for row, number in enumerate(numbers):
            moments = gallery.moments[gallery.offsets[row] : gallery.offsets[row + 1]]
            vectors.append(Embeddings(gallery.videos[row], moments, entries[number].segments))
        paths = [entries[number].paths for number in numbers]
        relevances = self.calibration.relevance(scores)
        return _Ranking(np.array(numbers, dtype=np.int64), scores, relevances, paths, vectors, changes).by_score()

    def _hits(self, ranking: _Ranking, query: FloatArray, spans: Sequence[Span]) -> list[Hit]:
        """Return one hit a video: its best moment, which is at these spans."""
        if not len(ranking.numbers):
            return []
        hits = []
        for row, vectors in enumerate(ranking.vectors):
            parts = self._parts_of_score(vectors, query)
            parts |= {name: float(change[row]) for name, change in ranking.changes.items()}
            explanation = ranking.explanations.get(int(ranking.numbers[row]))
            if explanation is not None:
                parts |= _parts(explanation)
            path, *copies = ranking.paths[row]
            hits.append(
                Hit(
                    path=path,
                    start=spans[row].start,
                    end=spans[row].end,
                    time=spans[row].time,
                    score=float(ranking.scores[row]),
                    relevance=float(ranking.relevances[row]),
                    scores=parts,
                    copies=tuple(copies),
                    explanation=explanation,
                )
            )
        return hits

    def _parts_of_score(self, vectors: Embeddings, query: FloatArray) -> dict[str, float]:
        """Return what a query (D,) has in common with a video, or with each block of it, and with its best moment."""
        scoring = self.model.scoring
        blocks = block_scores(query[None], vectors.video[None], scoring)
        parts = {name: float(scores[0, 0]) for name, scores in blocks.items()} or {
            "video": float(vectors.video @ query)
        }
        return parts | {"moment": float(similarities(vectors.moments, query, scoring).max())}


@dataclass(frozen=True)
class _Ranking:
    """Candidates side by side: numbers (n,), scores of the model and their relevances (n,), paths, vectors; by name,
    what else changes each score (n,); after a re-ranking explanations, by number."""

    numbers: IdArray
    model_scores: FloatArray
    relevances: FloatArray
    paths: Sequence[tuple[Path, ...]]
    vectors: Sequence[Embeddings]
    changes: Mapping[str, FloatArray] = field(default_factory=dict)
    explanations: Mapping[int, Explanation] = field(default_factory=dict)

    @property
    def scores(self) -> FloatArray:
        """The scores that candidates are ordered by."""
        return sum(self.changes.values(), start=self.model_scores)

    def by_score(self) -> _Ranking:
        """Return the candidates ordered by their scores; ties go to the smaller number."""
        return self._take(np.lexsort((self.numbers, -self.scores)))

    def reordered(self, explanations: Sequence[Explanation]) -> _Ranking:
        """Return the first ones, which are explained, in the order of their joint scores; behind them the rest."""
        count = len(explanations)
        first = permutation([explanation.joint_score for explanation in explanations])
        order = np.array([*first, *range(count, len(self.numbers))], dtype=np.intp)
        by_number = dict(zip(self.numbers[:count].tolist(), explanations, strict=True))
        return replace(self, explanations=by_number)._take(order)

    def relevant(self, least: float) -> _Ranking:
        """Return the candidates of at least this relevance."""
        return self._take(np.flatnonzero(self.relevances >= least))

    def first(self, count: int) -> _Ranking:
        """Return the best `count` candidates."""
        return self._take(np.arange(min(count, len(self.numbers))))

    def _take(self, order: NDArray[np.intp]) -> _Ranking:
        return replace(
            self,
            numbers=self.numbers[order],
            model_scores=self.model_scores[order],
            relevances=self.relevances[order],
            changes={name: change[order] for name, change in self.changes.items()},
            paths=[self.paths[row] for row in order],
            vectors=[self.vectors[row] for row in order],
        )


def calibration_of(model: Model, index: Index) -> RelevanceCalibration:
    """Calibrate relevance on a collection, from an even sample of its videos."""
    ids = index.ids()
    starts = np.flatnonzero(moment_of(ids) < 0)  # where each video begins
    chosen = np.unique(np.linspace(0, len(starts) - 1, min(len(starts), relevance.SAMPLE)).astype(np.int64))
    in_sample = np.isin(video_of(ids), video_of(ids[starts[chosen]]))
    return relevance.calibrate(model, Gallery.from_index(index, ids[in_sample]), len(starts))


def _parts(explanation: Explanation) -> dict[str, float]:
    parts = {
        "cosine": explanation.cosine,
        "probability": explanation.probability,
        "joint": explanation.joint_score,
    }
    return {name: value for name, value in parts.items() if value is not None}
