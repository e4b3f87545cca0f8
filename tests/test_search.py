"""Search against a naive loop; re-ranking, strange queries, and nothing embeddings."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import COLOURS, ClippedScore, FakeModel
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mmi_tvr import plugins
from mmi_tvr.encoder import Encoder
from mmi_tvr.errors import UsageError
from mmi_tvr.index import open_index
from mmi_tvr.library import Library
from mmi_tvr.queries import checked_query
from mmi_tvr.scoring.moments import locate
from mmi_tvr.scoring.relevance import LogisticLaw
from mmi_tvr.search import Searcher, VideoEntry, calibration_of
from mmi_tvr.types import Embeddings, Explanation, ScoreLaw, Scoring, clean_text, row_ids
from mmi_tvr.utils.reading import MAX_CHARACTERS


def gallery(seed: int, videos: int, dim: int = 12) -> dict[int, Embeddings]:
    rng = np.random.default_rng(seed)

    def unit(*shape: int) -> np.ndarray:
        rows = rng.normal(size=shape).astype(np.float32)
        return rows / np.linalg.norm(rows, axis=-1, keepdims=True)

    collection = {}
    for number in range(1, videos + 1):
        count = int(rng.integers(1, 5))
        edges = np.linspace(0, 10, count + 1)
        segments = np.stack([edges[:-1], edges[1:], (edges[:-1] + edges[1:]) / 2], axis=1)
        collection[number] = Embeddings(unit(dim), unit(count, dim), segments)
    collection[videos] = collection[1]  # a tie
    return collection


class OneVector(FakeModel):
    """Every query is this vector."""

    def __init__(self, vector: np.ndarray, scoring: Scoring) -> None:
        super().__init__(scoring=scoring)
        self.vector = vector

    def embed_queries(self, queries):
        return np.stack([self.vector for _ in queries])


@pytest.mark.parametrize("scoring", [Scoring(), Scoring(moment_weight=1.0), Scoring(moment_weight=0.4, top_moments=2)])
def test_search_equals_a_naive_loop(tmp_path, scoring):
    stored = gallery(seed=3, videos=40)
    index = open_index("flat", path=tmp_path, dim=12, fingerprint="f")
    for number, embeddings in stored.items():
        index.upsert(row_ids(number, len(embeddings.moments)), np.vstack([embeddings.video[None], embeddings.moments]))
    index.flush()
    for seed in range(5):
        query = gallery(seed=100 + seed, videos=1)[1].video
        model = OneVector(query, scoring)
        searcher = Searcher(
            model,
            index,
            lambda numbers: {n: VideoEntry((Path(f"{n}.mp4"),), stored[n].segments) for n in numbers},
            ClippedScore(),
        )
        naive = {}
        for number, embeddings in stored.items():
            cosines = sorted((float(moment @ query) for moment in embeddings.moments), reverse=True)[
                : scoring.top_moments
            ]
            naive[number] = (1 - scoring.moment_weight) * float(
                embeddings.video @ query
            ) + scoring.moment_weight * float(np.mean(cosines))
        expected = sorted(naive, key=lambda number: (-round(naive[number], 6), number))[:8]
        result = searcher.search("anything", top=8)
        assert [int(hit.path.stem) for hit in result] == expected
        assert [hit.score for hit in result] == pytest.approx([naive[number] for number in expected], abs=1e-6)
        for hit in result:
            embeddings = stored[int(hit.path.stem)]
            assert (hit.start, hit.end, hit.time) == locate(model, query[None], [embeddings])[0]
        few = searcher.search("anything", top=8, videos=frozenset(expected[3:5]))
        assert [int(hit.path.stem) for hit in few] == expected[3:5]
        sure = searcher.search("anything", top=8, min_relevance=max(0.0, result[2].relevance))
        assert [hit.path for hit in sure] == [hit.path for hit in result if hit.relevance >= result[2].relevance]
        assert set(result.seconds) == {"embed", "search", "score", "moments", "relevance", "total"}
    index.close()


def test_a_reranker_reorders_and_invents_nothing(folder, library):
    class Backwards:
        depth, seconds = 3, {"answer": 1.0}

        def rerank(self, query, candidates, cosines):
            assert len(candidates) == 3
            return [Explanation((), (), 0.5, float(cosine), -float(cosine)) for cosine in cosines]

    library.index(folder)
    searcher = library._reader.searcher(library._reader.catalogue())
    plain = searcher.search("red", top=9)
    turned = searcher.search("red", top=9, reranker=Backwards())
    assert [hit.path for hit in turned] == [plain[at].path for at in (2, 1, 0, 3)]
    assert [hit.score for hit in turned] == [plain[at].score for at in (2, 1, 0, 3)]
    assert [hit.explanation is None for hit in turned] == [False, False, False, True]
    assert turned[0].scores["joint"] == -turned[0].scores["cosine"]
    assert turned.seconds["rerank.answer"] == 1.0 > turned.seconds["rerank"]
    # Whether something is found is decided by the search's own best, here and there.
    searcher.model.scoring = replace(searcher.model.scoring, min_relevance=plain[0].relevance)
    assert [hit.path for hit in searcher.search("red", top=1, reranker=Backwards())] == [plain[2].path]
    searcher.model.scoring = replace(searcher.model.scoring, min_relevance=plain[0].relevance + 0.01)
    assert not searcher.search("red", top=9, reranker=Backwards())


def test_strange_queries(folder, library):
    library.index(folder)
    for text in ("", "  \n", "\0"):
        with pytest.raises(UsageError, match="query is empty"):
            library.search(text)
    for text in ("red\0", "红色", "\ud83d", "red " * 5000, *COLOURS):
        assert len(library.search(text, top=2)) == 2
    with pytest.raises(UsageError, match="top is at least 1 hit"):
        library.search("red", top=0)
    with pytest.raises(UsageError, match="between 0 and 1"):
        library.search("red", min_relevance=float("nan"))


class ShortSighted(FakeModel):
    """Reads a dozen characters of a sentence."""

    def characters_read(self, text: str) -> int:
        return min(12, len(text))


def test_how_much_of_a_long_query_was_read_is_said(folder, tmp_path):
    with Library(tmp_path / "library", model=ShortSighted()) as library:
        library.index(folder)
        assert library.search("red and green").characters_read == 12
        assert library.search("red or green \n").characters_read is None  # the space behind it is nothing to read
        assert library.search("red " * 10**6).characters_read == 12
    with Library(tmp_path / "library", model=FakeModel()) as library:  # a model that does not say
        assert library.search("red " * 100).characters_read is None
        result = library.search("red " * 10**6)
        assert result.characters_read == len(result.query.text.rstrip()) == MAX_CHARACTERS - 1


@settings(deadline=None)
@given(st.text(max_size=40), st.integers(0, 40_000))
@example(" \x08", 0)
def test_a_query_is_cut_once_and_never_to_nothing(text, more):
    query = checked_query(f"dog{text}{'é' * more}")
    assert len(query.text) <= MAX_CHARACTERS
    assert query.cut == (len(clean_text(f"dog{text}{'é' * more}".strip()).strip()) > MAX_CHARACTERS)
    assert checked_query(query) == query
    assert checked_query("\0" * 100 + " dog \x08").text == "dog"


def test_a_query_of_megabytes_costs_no_time():
    started = time.process_time()
    for text in ("é" * 10**7, "a" + "\u0315\u0300" * 10**6, " " * 10**7 + "dog", "\ud83d" * 10**6):
        checked_query(text)
    with pytest.raises(UsageError, match="query is empty"):
        checked_query("\0" * 10**7)
    assert time.process_time() - started < 2


def test_a_warning_says_how_many_sentences_were_too_long(caplog):
    encoder = Encoder(ShortSighted(), plugins.build("keyimages", "uniform", {"count": 2}))
    encoder.encode_query(["red", "a red circle moves"])
    assert [record.getMessage() for record in caplog.records] == ["fake reads only the beginning of 1 of 2 sentences"]
    encoder.encode_query("red")
    assert len(caplog.records) == 1


def test_a_model_that_reads_no_sentences_says_what_it_reads(folder, tmp_path):
    model = FakeModel()
    with Library(tmp_path / "library", model=model) as library:
        library.index(folder)
        model.reads = frozenset({"persons"})
        with pytest.raises(UsageError, match="fake reads no sentences: it answers by persons"):
            library.search("red")


def test_nothing_found_is_an_answer(folder, library):
    library.index(folder)
    assert [hit.path.stem for hit in library.search("red", top=9, min_relevance=0.8)] == ["red"]
    result = library.search("cyan", min_relevance=0.99)
    assert list(result) == []
    assert (result.model, result.coverage.searched) == ("fake", 4)
    assert len(library.search("red", top=100)) == 4


def test_the_default_calibration_ranks_present_above_absent(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MMI_TVR_CACHE", str(tmp_path / "cache"))
    with Library(tmp_path / "library", model=FakeModel()) as library:
        library.index(folder)
        present, absent = library.search("red", top=1)[0], library.search("magenta cyan", top=1)[0]
        assert 0 <= absent.relevance < present.relevance <= 1


class RecordingIndex:
    """An index that notes with what it is searched."""

    def __init__(self, index):
        self.index, self.searches = index, []

    def search(self, queries, limit, where):
        self.searches.append((where.level, limit, where.videos))
        return self.index.search(queries, limit, where)

    def get(self, ids):
        return self.index.get(ids)


@pytest.fixture
def collection():
    return gallery(seed=3, videos=20)


@pytest.fixture
def recording_index(tmp_path, collection):
    index = open_index("flat", path=tmp_path, dim=12, fingerprint="f")
    for number, embeddings in collection.items():
        index.upsert(row_ids(number, len(embeddings.moments)), np.vstack([embeddings.video[None], embeddings.moments]))
    index.flush()
    yield RecordingIndex(index)
    index.close()


def searcher_of(index, collection, scoring, copies=()):
    """A searcher whose every query is the vector of video 5; relevance is the clipped score."""
    entries = {
        number: VideoEntry((Path(f"{number}.mp4"), *map(Path, copies)), embeddings.segments)
        for number, embeddings in collection.items()
    }
    model = OneVector(collection[5].video, scoring)
    return Searcher(model, index, lambda numbers: {number: entries[number] for number in numbers}, ClippedScore())


@pytest.mark.parametrize(
    ("weight", "levels"), [(0.0, ["video"]), (0.5, ["video", "moment"]), (1.0, ["moment"])], ids=str
)
def test_the_index_is_asked_only_for_levels_that_count(recording_index, collection, weight, levels):
    searcher = searcher_of(recording_index, collection, Scoring(moment_weight=weight))
    searcher.search("anything", top=2, videos=frozenset([3, 5]))
    assert recording_index.searches == [(level, 50, frozenset([3, 5])) for level in levels]


def test_more_candidates_are_fetched_for_more_hits(recording_index, collection):
    searcher = searcher_of(recording_index, collection, Scoring())
    for top in (1, 5, 6, 40):
        searcher.search("anything", top=top)
    assert [limit for _, limit, _ in recording_index.searches] == [50, 50, 60, 400]


def test_no_more_candidates_are_fetched_than_there_are(recording_index, collection):
    recording_index.count = lambda: 83
    searcher = searcher_of(recording_index, collection, Scoring())
    for top in (100, 101, 10**30):
        assert len(searcher.search("anything", top=top)) == 20
    assert [limit for _, limit, _ in recording_index.searches] == [1000, 83, 83]


class EveryVideo:
    """Descriptions of which each is as near as the others; counts how often it is searched."""

    def __init__(self, numbers):
        self.numbers, self.searches = frozenset(numbers), 0

    def nearest(self, text, vector, limit):
        self.searches += 1
        return self.numbers

    def matches(self, text, vector, numbers):
        return {}


def test_descriptions_add_candidates_among_the_videos_that_are_searched(recording_index, collection, monkeypatch):
    monkeypatch.setattr("mmi_tvr.search.searcher.MIN_CANDIDATES", 2)
    monkeypatch.setattr("mmi_tvr.search.searcher.CANDIDATES_PER_HIT", 1)
    searcher = searcher_of(recording_index.index, collection, Scoring())
    assert searcher.search("anything", 2, 0.0).candidates == 2
    searcher.descriptions = descriptions = EveryVideo(collection)
    assert searcher.search("anything", 2, 0.0).candidates == len(collection)
    assert searcher.search("anything", 2, 0.0, videos=frozenset([3, 5, 7])).candidates == 3
    assert descriptions.searches == 2
    searcher.search("anything", 2, 0.0, exact=True)
    assert descriptions.searches == 2


def test_a_hit_says_what_its_score_is_made_of_and_where_copies_are(recording_index, collection):
    searcher = searcher_of(recording_index, collection, Scoring(moment_weight=0.25), copies=["b.mp4", "c.mp4"])
    result = searcher.search("anything", top=3)
    query = collection[5].video
    for hit in result:
        embeddings = collection[int(hit.path.stem)]
        assert hit.scores["video"] == pytest.approx(float(embeddings.video @ query), abs=1e-6)
        assert hit.scores["moment"] == pytest.approx(float((embeddings.moments @ query).max()), abs=1e-6)
        assert hit.score == pytest.approx(0.75 * hit.scores["video"] + 0.25 * hit.scores["moment"], abs=1e-6)
        assert hit.copies == (Path("b.mp4"), Path("c.mp4"))
        assert hit.relevance == pytest.approx(max(0.0, hit.score))
    assert result.closest is None
    assert result[0] is result.hits[0]
    assert result[1:] == result.hits[1:]
    assert result.seconds["total"] >= sum(seconds for stage, seconds in result.seconds.items() if stage != "total")


def test_the_closest_video_is_named_where_nothing_is_relevant_enough(recording_index, collection):
    searcher = searcher_of(recording_index, collection, Scoring())
    others = frozenset(number for number in collection if number != 5)  # their scores are below 1
    best = searcher.search("anything", videos=others)[0]
    nothing = searcher.search("anything", videos=others, min_relevance=1.0)
    assert (nothing.hits, nothing.closest) == ((), best)
    assert searcher.search("anything", videos=others, min_relevance=best.relevance).hits == (best,)
    searcher.model.scoring = Scoring(min_relevance=1.0)
    assert searcher.search("anything", videos=others).closest == best


def test_a_reranker_sees_the_best_with_their_scores_and_the_rest_keeps_its_order(recording_index, collection):
    class Reversing:
        depth, seconds = 4, {}

        def rerank(self, query, candidates, cosines):
            self.candidates, self.cosines = candidates.tolist(), cosines.tolist()
            return [Explanation((), (), 0.5, float(cosine), float(position)) for position, cosine in enumerate(cosines)]

    searcher, reranker = searcher_of(recording_index, collection, Scoring()), Reversing()
    plain = searcher.search("anything", top=8)
    numbers = [int(hit.path.stem) for hit in plain]
    reranked = searcher.search("anything", top=8, reranker=reranker)
    assert reranker.candidates == numbers[:4]
    assert reranker.cosines == pytest.approx([hit.score for hit in plain[:4]])
    assert [int(hit.path.stem) for hit in reranked] == [*reversed(numbers[:4]), *numbers[4:]]
    assert reranked[0].scores == {**plain[3].scores, "cosine": plain[3].score, "probability": 0.5, "joint": 3.0}
    assert "joint" not in reranked[4].scores


@pytest.mark.parametrize(
    ("least", "model_least", "is_found", "hits", "reason"),
    [
        (None, 0.5, True, 3, "the best hit has a relevance of 0.80, and fake is to be believed from 0.50 on"),
        (None, 0.8, True, 3, "the best hit has a relevance of 0.80, and fake is to be believed from 0.80 on"),
        (None, 0.8001, False, 0, "the best hit has a relevance of 0.8000, and fake is to be believed from 0.8001 on"),
        (0, 0.9, False, 3, "the best hit has a relevance of 0.80, and fake is to be believed from 0.90 on"),
        (0, 0.5, True, 3, "the best hit has a relevance of 0.80, and fake is to be believed from 0.50 on"),
        (0.7, 0.9, True, 1, "the best hit has a relevance of 0.80, and 0.70 is asked for"),
        (0.1, 0.9, True, 3, "the best hit has a relevance of 0.80, and 0.10 is asked for"),
        (0.9, 0.1, False, 0, "the best hit has a relevance of 0.80, and 0.90 is asked for"),
    ],
)
@pytest.mark.parametrize("reranked", [False, True])
def test_whether_something_was_found_is_said_with_the_reason(
    recording_index, collection, least, model_least, is_found, hits, reason, reranked
):
    class Given:
        """The relevance of the best three videos, by rank; of all others 0."""

        def relevance(self, scores, query):
            ranks = np.argsort(np.argsort(-scores))
            return np.array([0.8, 0.6, 0.4, *[0.0] * len(scores)])[ranks]

    class LastFirst:
        depth, seconds = 3, {}

        def rerank(self, query, candidates, cosines):
            return [Explanation((), (), 0.5, float(cosine), float(place)) for place, cosine in enumerate(cosines)]

    searcher = searcher_of(recording_index, collection, Scoring(min_relevance=model_least))
    searcher.calibration = Given()
    result = searcher.search("anything", 3, least, reranker=LastFirst() if reranked else None)
    assert (result.is_found, result.decision.is_found, result.decision.reason) == (is_found, is_found, reason)
    assert len(result) == hits
    assert (result.closest is None) == bool(hits)
    assert all(hit.relevance >= (least or 0) for hit in result)
    best_first = [hit.relevance for hit in (result.hits or (result.closest,))]
    assert best_first == sorted(best_first, reverse=not reranked)
    if least and is_found:  # what re-ranking puts first does not push a hit that is relevant enough out of the list
        assert len(searcher.search("anything", 1, least, reranker=LastFirst() if reranked else None)) == 1


def test_of_no_video_nothing_is_found(recording_index, collection):
    searcher = searcher_of(recording_index, collection, Scoring())
    for least in (None, 0, 0.5):
        result = searcher.search("anything", min_relevance=least, videos=frozenset())
        assert (result.hits, result.closest, result.is_found) == ((), None, False)
        assert result.decision.reason == "there was no video to search among"


def test_a_model_with_a_law_of_its_own_is_calibrated_without_a_look_at_the_vectors(tmp_path):
    index = open_index("flat", path=tmp_path / "vectors", dim=3, fingerprint="maker")
    ids = np.concatenate([row_ids(1, 2), row_ids(5, 1)])
    index.add(ids, np.eye(3, dtype=np.float32)[np.zeros(len(ids), int)])
    index.get = None
    law = ScoreLaw(middle=0.5, slope=10)
    assert calibration_of(FakeModel(scoring=Scoring(score_law=law)), index) == LogisticLaw(law, 2)
    index.close()
