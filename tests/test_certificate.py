"""The certificate of an exact search: against brute force, on whatever collections, and what it is made of."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from fakes import ClippedScore, FakeModel, unit
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_blocks import LAT, MCSAN, spoken, stored

from mmi_tvr.errors import UsageError
from mmi_tvr.index import open_index
from mmi_tvr.protocols import ExactIndex, Index
from mmi_tvr.scoring import bounds
from mmi_tvr.scoring.blocks import similarities
from mmi_tvr.scoring.candidates import Candidates, CandidateSearch, measured_reach
from mmi_tvr.scoring.similarity import Gallery
from mmi_tvr.search import Searcher, VideoEntry
from mmi_tvr.types import Block, Embeddings, Explanation, Filter, FloatArray, IdArray, Scoring, row_ids

PLAIN = (Block("all", 6),)  # stands for no blocks at all


def wide(squash: float, width: int = 6) -> tuple[Block, ...]:
    return (Block("global", width, 0.25, squash=squash), *(Block(f"b{n}", width, 0.25) for n in range(3)))


class MemoryIndex:
    """Vectors in memory: `search_exact` is a full sort, and `search` forgets every third vector."""

    def __init__(self, videos: list[Embeddings], numbers: list[int]) -> None:
        rows = [row_ids(number, len(video.moments)) for number, video in zip(numbers, videos, strict=True)]
        self._ids = np.concatenate([np.empty(0, np.int64), *rows])
        width = videos[0].video.shape[0] if videos else 1
        vectors = [np.vstack([video.video[None], video.moments]) for video in videos]
        self._vectors = np.concatenate([np.empty((0, width), np.float32), *vectors]).astype(np.float64)
        self._row = {id_: row for row, id_ in enumerate(self._ids.tolist())}
        self.searches = 0

    def search(self, queries: FloatArray, limit: int, where: Filter | None = None) -> tuple[FloatArray, IdArray]:
        return self._sorted(queries, limit, where, np.arange(len(self._ids)) % 3 > 0)

    def search_exact(self, queries: FloatArray, limit: int, where: Filter | None = None) -> tuple[FloatArray, IdArray]:
        self.searches += 1
        return self._sorted(queries, limit, where, np.ones(len(self._ids), bool))

    def get(self, ids: IdArray) -> FloatArray:
        return self._vectors[[self._row[id_] for id_ in ids.tolist()]].astype(np.float32)

    def count(self, where: Filter | None = None) -> int:
        return len(self._ids)

    def _sorted(
        self, queries: FloatArray, limit: int, where: Filter | None, allowed: NDArray[np.bool_]
    ) -> tuple[FloatArray, IdArray]:
        assert where is not None
        is_video, numbers = self._ids % 4096 == 0, self._ids // 4096
        allowed = allowed & (is_video == (where.level == "video"))
        if where.videos is not None:
            allowed &= np.isin(numbers, sorted(where.videos))
        rows = np.flatnonzero(allowed)
        scores = np.full((len(queries), limit), -np.inf, np.float32)
        ids = np.full((len(queries), limit), -1, np.int64)
        for row, query in enumerate(queries if len(rows) else ()):
            products = (self._vectors[rows] @ query.astype(np.float64)).astype(np.float32)
            order = np.lexsort((self._ids[rows], -products))[:limit]
            scores[row, : len(order)], ids[row, : len(order)] = products[order], self._ids[rows][order]
        return scores, ids


def make_videos(rng: np.random.Generator, count: int, blocks: tuple[Block, ...], copies: float) -> list[Embeddings]:
    """Return videos with one to three key images; a share of them are copies of earlier ones."""
    videos: list[Embeddings] = []
    for _ in range(count):
        if videos and rng.random() < copies:
            videos.append(videos[int(rng.integers(len(videos)))])
        else:
            moments = int(rng.integers(1, 4))
            videos.append(Embeddings(stored(rng, 1, blocks)[0], stored(rng, moments, blocks), np.zeros((moments, 3))))
    return videos


def brute_force(query: FloatArray, videos: list[Embeddings], scoring: Scoring) -> NDArray[np.float32]:
    return Gallery.pack(videos).score(query[None], scoring)[0] if videos else np.empty(0, np.float32)


@given(
    squash=st.floats(-12, 12),
    length=st.sampled_from([0.0, 0.3, 2.0, 8.0, 30.0]),
    family=st.sampled_from(["wide", "mcsan", "lat", "two sigmoids", "plain"]),
    moment_weight=st.sampled_from([0.0, 0.3, 1.0]),
    count=st.integers(1, 12),
    videos=st.integers(0, 60),
    copies=st.sampled_from([0.0, 0.3, 0.95]),
    hidden=st.booleans(),
    among=st.booleans(),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=100, deadline=None)
def test_the_certified_top_is_that_of_brute_force(
    squash: float,
    length: float,
    family: str,
    moment_weight: float,
    count: int,
    videos: int,
    copies: float,
    hidden: bool,
    among: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    blocks = {
        "wide": wide(squash),
        "mcsan": MCSAN,
        "lat": LAT,
        "two sigmoids": (Block("a", 4, 0.7, squash=squash), Block("b", 4, 0.3, squash=-squash)),
        "plain": PLAIN,
    }[family]
    scoring = Scoring(moment_weight, int(rng.integers(1, 3)), blocks=() if family == "plain" else blocks)
    collection = make_videos(rng, videos, blocks, copies)
    numbers = sorted(rng.choice(500, videos, replace=False).tolist())
    index = MemoryIndex(collection, numbers)
    query = spoken(rng, 1, blocks, length)[0]
    chosen = frozenset(numbers[::2]) if among else None
    shown = [n for n in numbers if (chosen is None or n in chosen) and not (hidden and n % 5 == 0)]
    lengths = {number: len(video.moments) for number, video in zip(numbers, collection, strict=True)}

    def count_moments(some) -> dict[int, int]:
        return {number: lengths[number] for number in some if number in shown}

    limit = count + int(rng.integers(0, 6))
    top = CandidateSearch(index, scoring, chosen).certified(query, count, limit, count_moments)
    by_number = dict(zip(numbers, brute_force(query, collection, scoring).tolist(), strict=True))
    expected = sorted(shown, key=lambda number: (-by_number[number], number))[:count]
    assert top.numbers <= set(shown)
    assert len(top.numbers) <= limit
    assert len(top.numbers) <= top.scored <= len(shown)
    rounding = 1e-5 * max(1, length)
    best = sorted((by_number[number] for number in top.numbers), reverse=True)[:count]
    np.testing.assert_allclose(best, [by_number[number] for number in expected], atol=rounding)
    others = [by_number[number] for number in shown if number not in top.numbers]
    if expected and others:
        assert max(others) <= by_number[expected[-1]] + rounding
    if expected:  # whoever is clearly among the best is there
        assert {n for n in expected if by_number[n] > by_number[expected[-1]] + rounding} <= top.numbers


def test_equal_videos_go_by_number_and_all_of_them_are_looked_at() -> None:
    rng = np.random.default_rng(0)
    one, other = make_videos(rng, 2, MCSAN, 0)
    index = MemoryIndex([one, *[other] * 40, one], list(range(42)))
    query = one.video * 8
    top = CandidateSearch(index, Scoring(blocks=MCSAN)).certified(
        query, 1, 2, lambda numbers: dict.fromkeys(numbers, 1)
    )
    assert sorted(top.numbers) == [0, 41]
    query = other.video * 8
    top = CandidateSearch(index, Scoring(blocks=MCSAN)).certified(
        query, 3, 3, lambda numbers: dict.fromkeys(numbers, 1)
    )
    assert (sorted(top.numbers), top.scored) == ([1, 2, 3], 42)
    one, other = make_videos(rng, 2, PLAIN, 0)
    index = MemoryIndex([one, *[other] * 40, one], list(range(42)))
    top = CandidateSearch(index, Scoring()).certified(other.video, 3, 3, lambda numbers: dict.fromkeys(numbers, 1))
    assert (sorted(top.numbers), top.scored) == ([1, 2, 3], 42)


@pytest.mark.parametrize(("squash", "length"), [(-2.0, 8.0), (8.0, 16.0)], ids=["by the chord", "by the tangent"])
def test_a_clear_answer_needs_few_candidates_and_few_searches(squash: float, length: float) -> None:
    rng = np.random.default_rng(1)
    blocks = wide(squash, 32)
    videos = make_videos(rng, 1000, blocks, 0)
    index, scoring = MemoryIndex(videos, list(range(1000))), Scoring(blocks=blocks)
    query = spoken(rng, 1, blocks, length)[0]
    lengths = {number: len(video.moments) for number, video in enumerate(videos)}
    top = CandidateSearch(index, scoring).certified(
        query, 5, 50, lambda numbers: {number: lengths[number] for number in numbers}
    )
    assert set(np.argsort(-brute_force(query, videos, scoring))[:5].tolist()) <= top.numbers
    assert top.scored < 200
    assert index.searches <= 3


def test_the_reach_is_measured_at_both_ends_among_what_passes_the_filter() -> None:
    rng = np.random.default_rng(3)
    blocks = (*wide(-4.0), Block("second", 5, 0.5, squash=1.0))
    videos, queries = make_videos(rng, 40, blocks, 0), spoken(rng, 3, blocks, 6.0)
    for video in videos:  # all lie to one side of the first query
        video.video[:6] = unit(video.video[:6] - 0.3 * queries[0, :6]) / np.sqrt(5)
    index, chosen = MemoryIndex(videos, list(range(40))), frozenset(range(5, 30))
    for where in (Filter("video"), Filter("moment"), Filter("video", chosen)):
        vectors = [video.video[None] if where.level == "video" else video.moments for video in videos]
        stacked = np.concatenate([rows for n, rows in enumerate(vectors) if where.videos is None or n in chosen])
        reach = measured_reach(queries, Scoring(blocks=blocks), where, index.search_exact)
        assert list(reach) == ["global", "second"]
        for name, columns in (("global", slice(0, 6)), ("second", slice(24, 29))):
            z = np.sqrt(5) * queries[:, columns] @ stacked[:, columns].T
            np.testing.assert_allclose(reach[name], np.stack([z.min(axis=1), z.max(axis=1)], axis=1), atol=1e-4)
            assert (reach[name][:, 0] <= z.min(axis=1)).all()
            assert (reach[name][:, 1] >= z.max(axis=1)).all()


@given(
    squash=st.floats(-40, 40),
    length=st.sampled_from([0.0, 1e-3, 1.0, 8.0, 40.0]),
    measured=st.booleans(),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=60, deadline=None)
def test_a_bound_is_never_below_the_score(squash: float, length: float, measured: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    blocks = (*wide(squash, 4), Block("second", 3, 0.5, squash=-squash / 2), Block("off", 2, 0.0, 1.0))
    scoring = Scoring(blocks=blocks)
    queries, vectors = spoken(rng, 3, blocks, length), stored(rng, 50, blocks)
    reach = None
    if measured:
        reach = {}
        for block in blocks:
            if block.squash is not None:
                probes = bounds.reach_probe(queries, scoring, block)
                z = probes @ vectors.T
                reach[block.name] = bounds.widened(z.min(axis=1), z.max(axis=1), probes)
    bound = bounds.bound(queries, scoring, reach)
    scores = similarities(queries, vectors, scoring)
    assert len(bound.probes) > 0
    for probes, offsets in zip(bound.probes, bound.offsets, strict=True):
        upper = probes @ vectors.T + offsets[:, None]
        assert (upper >= scores).all()


def test_the_lines_touch_the_sigmoid_and_lie_as_low_as_they_can() -> None:
    for squash, low, high in (
        (0.0, -9.0, 9.0),
        (-4.0, -6.0, 3.0),
        (3.0, -1.0, 8.0),
        (-10.0, -5.0, 5.0),
        (8.0, -1.0, 1.0),
    ):
        blocks = (Block("only", 1, squash=squash),)
        query = np.ones((1, 1), np.float32)
        bound = bounds.bound(query, Scoring(blocks=blocks), {"only": np.array([[low, high]])})
        z = np.linspace(low, high, 5001)
        curve = 1 / (1 + np.exp(-(squash + z)))
        assert len(bound.probes) > 0
        for slope, offset in zip(bound.probes[:, 0, 0], bound.offsets[:, 0], strict=True):
            gap = slope * z + offset - curve
            assert gap.min() >= 0
            assert gap.min() < 1e-4
        # Of all lines above it, the chord is the lowest at the lower end, unless the curve bends down there.
        if squash + low < 0:
            assert bound.probes[0, 0, 0] * low + bound.offsets[0, 0] == pytest.approx(curve[0], abs=1e-5)


def test_without_a_measured_reach_the_lengths_of_the_vectors_bound_it() -> None:
    rng = np.random.default_rng(2)
    queries = spoken(rng, 4, MCSAN, 12.0)
    reach = {"global": np.tile([-12.012, 12.012], (4, 1))}
    scoring = Scoring(blocks=MCSAN)
    np.testing.assert_allclose(
        bounds.probe(queries, scoring), bounds.bound(queries, scoring, reach).probes[0], rtol=1e-4
    )


def test_what_an_index_is_asked_with_is_the_query_itself_where_there_are_no_blocks() -> None:
    queries = spoken(np.random.default_rng(0), 3, PLAIN)
    assert bounds.probe(queries, Scoring(0.4)).tobytes() == queries.tobytes()
    lat = spoken(np.random.default_rng(0), 3, LAT)
    probe = bounds.probe(lat, Scoring(blocks=LAT))
    np.testing.assert_allclose(probe[:, :6], lat[:, :6] * math.sqrt(2), rtol=1e-6)
    assert not probe[:, 6:].any()  # the block of the other direction


# The whole search


class BlockModel(FakeModel):
    """Every query is this vector."""

    def __init__(self, vector: FloatArray, scoring: Scoring) -> None:
        super().__init__(scoring=scoring)
        self.vector = vector

    def embed_queries(self, queries):
        return np.stack([self.vector for _ in queries])


def searcher(index: Index, videos: list[Embeddings], query: FloatArray, scoring: Scoring) -> Searcher:
    entries = {number: VideoEntry((Path(f"{number}.mp4"),), video.segments) for number, video in enumerate(videos)}
    return Searcher(
        BlockModel(query, scoring),
        index,
        lambda numbers: {n: entries[n] for n in numbers if n in entries},
        ClippedScore(),
    )


@pytest.mark.parametrize(("name", "options"), [("flat", {}), ("faiss", {"graph_from": 1}), ("milvus", {})])
def test_every_index_certifies(tmp_path: Path, name: str, options: dict[str, int]) -> None:
    rng = np.random.default_rng(5)
    blocks = wide(-4.0, 8)
    videos = make_videos(rng, 300, blocks, 0.1)
    index = open_index(name, options, path=tmp_path, dim=32, fingerprint="f")
    ids = [row_ids(number, len(video.moments)) for number, video in enumerate(videos)]
    index.add(np.concatenate(ids), np.concatenate([np.vstack([v.video[None], v.moments]) for v in videos]))
    index.flush()
    assert isinstance(index, ExactIndex)
    for weight in (0.0, 0.4):
        scoring = Scoring(weight, 1, blocks=blocks)
        query = spoken(rng, 1, blocks, 16.0)[0]
        result = searcher(index, videos, query, scoring).search("anything", top=7, min_relevance=0, exact=True)
        scores = brute_force(query, videos, scoring)
        expected = np.sort(scores)[::-1][:7]
        np.testing.assert_allclose([hit.score for hit in result], expected, atol=1e-5)
        assert result.exact
        assert 7 <= result.candidates <= 300
        assert list(result[0].scores) == ["global", "b0", "b1", "b2", "moment"]
        video = videos[int(result[0].path.stem)]
        if not weight:
            assert sum(list(result[0].scores.values())[:4]) / 4 == pytest.approx(result[0].score, abs=1e-6)
        moment = similarities(video.moments, query, scoring).max()
        assert result[0].scores["moment"] == pytest.approx(moment, abs=1e-6)
    index.close()


def test_an_exact_search_sees_what_a_forgetful_index_misses_and_certifies_all_that_a_reranker_reads() -> None:
    class Backwards:
        depth, seconds = 120, {}

        def rerank(self, query, candidates, cosines):
            assert len(candidates) == 120
            return [Explanation((), (), 0.5, float(cosine), -float(cosine)) for cosine in cosines]

    rng = np.random.default_rng(6)
    videos = make_videos(rng, 200, PLAIN, 0)
    index, query = MemoryIndex(videos, list(range(200))), spoken(rng, 1, PLAIN)[0]
    finder = searcher(index, videos, query, Scoring())
    best = np.argsort(-brute_force(query, videos, Scoring()))
    exact = finder.search("anything", top=20, min_relevance=0, exact=True)
    assert [int(hit.path.stem) for hit in exact] == best[:20].tolist()
    missed = finder.search("anything", top=20, min_relevance=0)
    assert not missed.exact
    assert [hit.path for hit in missed] != [hit.path for hit in exact]
    assert 20 <= missed.candidates < 200
    turned = finder.search("anything", top=2, min_relevance=0, reranker=Backwards(), exact=True)
    assert [int(hit.path.stem) for hit in turned] == best[[119, 118]].tolist()


def test_an_index_that_cannot_search_exactly_says_so() -> None:
    class Approximate:
        def __init__(self, index: MemoryIndex) -> None:
            self.search, self.get, self.count = index.search, index.get, index.count

    videos = make_videos(np.random.default_rng(0), 3, PLAIN, 0)
    finder = searcher(Approximate(MemoryIndex(videos, [0, 1, 2])), videos, videos[0].video, Scoring())
    assert finder.search("anything").candidates > 0
    with pytest.raises(
        UsageError, match=r"an exact search needs an index that can.*Approximate cannot: leave out exact"
    ):
        finder.search("anything", exact=True)


def test_nothing_to_search_is_nothing_certified() -> None:
    index = MemoryIndex([], [])
    for scoring in (Scoring(), Scoring(0.5), Scoring(blocks=(Block("only", 1, squash=0.0),))):
        top = CandidateSearch(index, scoring).certified(np.ones(1, np.float32), 3, 5, lambda numbers: {})
        assert top == Candidates(frozenset(), 0)
