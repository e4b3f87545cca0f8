"""What is told and what is lost, against plain loops; the law that a model brings."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from fakes import FakeModel
from hypothesis import given
from hypothesis import strategies as st

from mmi_tvr.errors import UsageError
from mmi_tvr.evaluation import nothing_found, score_laws
from mmi_tvr.evaluation.nothing_found import Trials
from mmi_tvr.evaluation.query_sets import CAPTIONS, QuerySet, sets_of_queries
from mmi_tvr.evaluation.score_laws import RAW
from mmi_tvr.scoring import relevance
from mmi_tvr.scoring.similarity import Gallery
from mmi_tvr.types import Embeddings, EvaluationQuery, PartialQueries, Person, Query, ScoreLaw, Scoring

VIDEOS, CAPTIONS_EACH, DIM = 12, 2, 4  # as wide as the vectors of a FakeModel


@pytest.fixture(scope="module")
def embeddings() -> list[Embeddings]:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((VIDEOS, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [Embeddings(vector, vector[None], np.zeros((1, 3))) for vector in vectors]


@pytest.fixture(scope="module")
def queries(embeddings: list[Embeddings]) -> QuerySet:
    rng = np.random.default_rng(1)
    owners = np.repeat(np.arange(VIDEOS), CAPTIONS_EACH)
    captions = np.stack([embeddings[owner].video for owner in owners])
    captions = captions + 0.4 * rng.standard_normal(captions.shape)
    return QuerySet(captions.astype(np.float32), owners, {"sentences": rng.standard_normal((3, DIM))})


raw = partial(score_laws.margins, RAW)


@pytest.mark.parametrize("size", [3, 5, 12, 100])
def test_best_hits_are_those_of_a_plain_loop(embeddings, queries, size: int) -> None:
    model = FakeModel(scoring=Scoring())
    trials = nothing_found.trials(model, embeddings, queries, size, shuffles=2, calibrate=raw)
    present, absent, sentences, searched = [], [], [], 0
    for shuffle in range(2):
        for part, outside in nothing_found.collections(VIDEOS, size, shuffle):
            for caption, owner in zip(queries.captions, queries.owners, strict=True):
                scores = {video: float(caption @ embeddings[video].video) for video in part}
                if owner in part:
                    searched += 1
                    if max(scores, key=scores.get) == owner:
                        present.append(max(scores.values()))
                if owner in outside:
                    absent.append(max(scores.values()))
                elif owner in part and not len(outside):
                    absent.append(max(score for video, score in scores.items() if video != owner))
            sentences += [max(float(line @ embeddings[video].video) for video in part) for line in
                          queries.others["sentences"]]  # fmt: skip
    assert sorted(trials.present) == pytest.approx(sorted(present), abs=1e-6)
    assert sorted(trials.absent[CAPTIONS]) == pytest.approx(sorted(absent), abs=1e-6)
    assert sorted(trials.absent["sentences"]) == pytest.approx(sorted(sentences), abs=1e-6)
    assert trials.right_first == pytest.approx(len(present) / searched)
    assert trials.size == min(size, VIDEOS)
    assert trials.n[CAPTIONS] == len(set(trials.absent_owners)) <= VIDEOS
    assert len(trials.present) == len(trials.present_owners)


@pytest.mark.parametrize("size", [3, 5, 12])
def test_a_query_may_be_true_of_several_videos(embeddings, queries, size: int) -> None:
    rng = np.random.default_rng(2)
    true = rng.random((len(queries.captions), VIDEOS)) < 0.2
    true[np.arange(len(true)), queries.owners] = True
    true[0] = True  # absent nowhere
    several = QuerySet(queries.captions, queries.owners, {}, true)
    trials = nothing_found.trials(FakeModel(scoring=Scoring()), embeddings, several, size, calibrate=raw)
    present, absent = {}, {}
    for part, outside in nothing_found.collections(VIDEOS, size, 0):
        for number, (caption, owner) in enumerate(zip(queries.captions, queries.owners, strict=True)):
            scores = {video: float(caption @ embeddings[video].video) for video in part}
            false = [scores[video] for video in part if not true[number, video]]
            if owner in part and true[number, max(scores, key=scores.get)]:
                present[number] = max(scores.values())
            is_absent = len(false) == len(part) if len(outside) else bool(false)
            if owner in (outside if len(outside) else part) and is_absent:
                absent[number] = max(false)
    assert dict(zip(trials.present_queries, trials.present, strict=True)) == pytest.approx(present, abs=1e-6)
    searched = zip(trials.absent_queries[CAPTIONS], trials.absent[CAPTIONS], strict=True)
    assert dict(searched) == pytest.approx(absent, abs=1e-6)


@pytest.mark.parametrize("size", [3, 5, 12])
def test_every_caption_is_inside_once_and_outside_once(size: int) -> None:
    parts = list(nothing_found.collections(VIDEOS, size, 0))
    inside = np.concatenate([part for part, _ in parts])
    outside = np.concatenate([outside for _, outside in parts])
    assert len(set(inside)) == len(inside) == VIDEOS // size * size
    assert sorted(outside) == (sorted(inside) if len(parts) > 1 else [])
    assert all(not set(part) & set(others) for part, others in parts)


def test_a_collection_has_a_video(embeddings, queries) -> None:
    with pytest.raises(UsageError, match="at least 1 video, not 0"):
        nothing_found.trials(FakeModel(), embeddings, queries, 0)
    with pytest.raises(UsageError, match="at least once, not 0 times"):
        nothing_found.trials(FakeModel(), embeddings, queries, 3, shuffles=0)
    with pytest.raises(UsageError, match="1 video: nothing is absent"):
        nothing_found.trials(FakeModel(), embeddings[:1], queries, 3)


def test_where_nothing_is_right_first_nothing_can_be_lost(embeddings, queries) -> None:
    wrong = replace(queries, captions=-queries.captions)
    with pytest.raises(UsageError, match="no caption finds its video first"):
        nothing_found.trials(FakeModel(scoring=Scoring()), embeddings, wrong, 12, calibrate=raw)
    trials = trials_of([0.5, 0.6], [0.1, 0.2])
    for share in (-0.1, 1.0, float("nan")):
        with pytest.raises(UsageError, match="below 100 %"):
            trials.threshold(share)
    with pytest.raises(UsageError, match="at least 2 parts, not 1"):
        trials.cross_validated(0.1, 1)
    of_one_video = replace(trials, present_owners=np.zeros(2, np.int64))
    with pytest.raises(UsageError, match="nothing to choose a threshold by"):
        of_one_video.cross_validated(0.1, 2)


def trials_of(present: list[float], absent: list[float]) -> Trials:
    owners = np.arange(len(present)), np.arange(len(absent))
    n = {"present": len(present), CAPTIONS: len(absent)}
    absent_sets = {CAPTIONS: np.array(absent)}
    return Trials(9, np.array(present), owners[0], absent_sets, owners[1], owners[0], {CAPTIONS: owners[1]}, n, 1.0)


values = st.lists(st.sampled_from([0.1, 0.2, 0.25, 0.5, 0.9]), min_size=1, max_size=12)


@given(values, values, st.sampled_from([0.0, 0.1, 0.25, 0.5]))
def test_thresholds_areas_and_curves(present: list[float], absent: list[float], lost: float) -> None:
    trials = trials_of(present, absent)
    threshold = trials.threshold(lost)
    assert sum(value < threshold for value in present) <= lost * len(present)
    higher = [value for value in present if value > threshold]
    assert not higher or sum(value < min(higher) for value in present) > lost * len(present)  # none is larger
    naive = np.mean([[1.0 if one > other else 0.5 if one == other else 0.0 for other in absent] for one in present])
    assert trials.area(CAPTIONS) == pytest.approx(naive)
    curve = trials.curve(CAPTIONS)
    assert curve == sorted(curve)
    assert all(0 <= share <= 1 for point in curve for share in point)


def test_what_is_judged_does_not_choose() -> None:
    # Of each video, alone: the others choose 0.6 as the least of theirs, except for the video that has the 0.1.
    trials = trials_of([0.1, 0.6, 0.6, 0.6], [0.5, 0.5, 0.5, 0.5])
    lost, rejected = trials.cross_validated(lost=0.0, folds=4)
    assert (lost, rejected) == (1 / 4, 1 / 4)
    assert (trials.lost(trials.threshold(0.0)), trials.rejected(CAPTIONS, trials.threshold(0.0))) == (0, 0)


def test_tables_have_n_and_intervals() -> None:
    trials = trials_of([0.1] + [0.9] * 99, [0.2] * 90 + [0.95] * 10)
    rows = nothing_found.table([trials], 0.5)
    assert rows[0] == "| videos | right first | lost | told: absent | area: absent |"
    assert rows[2] == "| 9 | 100.0 | 1.0 [0.2, 5.4] | 90.0 [82.6, 94.5] | 0.891 |"
    assert nothing_found.curve_table([trials])[2:4] == ["| 0.5 | 0.0 |", "| 1 | 90.0 |"]
    document = trials.as_dict(0.5)
    assert document["n"] == {"present": 100, "captions": 100}
    assert document["told"]["captions"] == {"share": 90.0, "ci95": [82.56, 94.48]}


# The law that a model brings


def test_a_law_is_fitted_to_what_was_measured() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(0, 1, 20_000)
    answered = rng.random(20_000) < 1 / (1 + np.exp(-12 * (scores - 0.5)))
    trials = trials_of(scores[answered].tolist(), scores[~answered].tolist())
    law = score_laws.fit(RAW, {CAPTIONS: [trials]}, {CAPTIONS: 0.01})
    assert law.slope == pytest.approx(12, rel=0.05)
    assert law.middle == trials.threshold(0.01) == nothing_found.common_threshold([trials, trials], 0.01)


def test_a_law_may_spare_queries_that_say_a_part_as_well() -> None:
    captions, short = trials_of([0.5, 0.6, 0.7, 0.8], [0.1]), trials_of([0.2, 0.3, 0.4, 0.9], [0.1])
    measured = {CAPTIONS: [captions], "short": [short, trials_of([0.25] * 4, [0.1])]}
    assert score_laws.fit(RAW, measured, {CAPTIONS: 0.25}).middle == 0.6
    assert score_laws.fit(RAW, measured, {CAPTIONS: 0.25, "short": 0.25}).middle == 0.25
    assert score_laws.fit(RAW, measured, {CAPTIONS: 0.25, "short": 0.0}).middle == 0.2


def test_a_law_goes_before_the_collection(embeddings) -> None:
    gallery = Gallery.pack(embeddings)
    scores = np.array([-50.0, 0.3, 0.4, 0.5, 50.0])
    model = FakeModel(scoring=Scoring(score_law=ScoreLaw(0.4, 20)))
    relevances = np.asarray(relevance.calibrate(model, gallery, len(gallery)).relevance(scores, np.ones(DIM)))
    assert relevances[2] == 0.5
    assert (np.diff(relevances) > 0).all()
    assert relevances.min() >= 0
    assert relevances.max() <= 1
    assert isinstance(relevance.calibrate(FakeModel(scoring=Scoring()), gallery, 12), relevance.GumbelLaw)


def test_a_law_reads_how_much_a_query_says() -> None:
    """Whole queries point one way and have high scores, partial ones the other way, the higher the more videos."""
    rng = np.random.default_rng(0)
    measured = []
    for whole, direction in ((True, 1.0), (False, -1.0)):
        vectors = rng.standard_normal((200, DIM))
        vectors[:, 0] = direction
        sizes = []
        for size in (10, 1000):
            line = 0.7 if whole else 0.1 + 0.05 * np.log(size)
            owners = np.arange(200)
            absent = {CAPTIONS: line + 0.02 - 0.4 * rng.random(200)}
            present = line - 0.02 + 0.4 * rng.random(200)
            sizes.append(Trials(size, present, owners, absent, owners, owners, {CAPTIONS: owners}, {}, 1.0))
        measured.append((QuerySet(vectors, owners, {}), sizes))
    law = score_laws.fit_partial(measured)
    for size in (10, 1000):
        middles = relevance.middles(law, np.eye(DIM)[[0, 0]] * [[1.0], [-1.0]], size)
        assert middles == pytest.approx([0.7, 0.1 + 0.05 * np.log(size)], abs=0.08)
    raised = score_laws.fit(law, {CAPTIONS: measured[0][1]}, {CAPTIONS: 0.0})
    assert raised.partial is not None
    assert law.partial is not None
    assert raised.middle - law.middle == pytest.approx(raised.partial.middle - law.partial.middle)


def test_a_set_of_queries_weighs_the_same_whatever_its_size() -> None:
    queries = QuerySet(np.ones((8, DIM), np.float32), np.arange(8), {})
    for present, absent in ((3, 1), (1, 8)):
        measured = (queries, [trials_of([0.5] * present, [0.1] * absent)])
        examples = score_laws._examples([measured, measured])  # captions, which count three times, and a part
        assert examples.weights[examples.signs > 0].sum() == pytest.approx(5 * 3 + 5)
        assert examples.weights[examples.signs < 0].sum() == pytest.approx(3 + 1)


def test_the_middle_of_a_query_lies_between_those_of_a_part_and_of_the_whole() -> None:
    law = ScoreLaw(0.8, 20, PartialQueries(middle=0.1, growth=0.05, weights=(2.0, 0.0), bias=1.0))
    queries = np.array([[9.0, 5.0], [-0.5, 5.0], [-9.0, 5.0]])
    assert relevance.middles(law, queries, 1) == pytest.approx([0.8, 0.45, 0.1], abs=1e-6)
    assert relevance.middles(law, queries, 100)[2] == pytest.approx(0.1 + 0.05 * np.log(100), abs=1e-6)
    model = FakeModel(scoring=Scoring(score_law=law))
    gallery = Gallery.pack(
        [Embeddings(np.eye(2, dtype=np.float32)[0], np.eye(2, dtype=np.float32)[:1], np.zeros((1, 3)))]
    )
    calibration = relevance.calibrate(model, gallery, 100)
    for query in queries:
        [middle] = relevance.middles(law, query[None], 100)
        assert calibration.relevance(np.array([middle]), query)[0] == pytest.approx(0.5)


def test_queries_of_a_data_set_are_searched_by_kind_and_those_that_say_everything_first() -> None:
    def a_query(text: str, group: str, *right: str, who: str = "") -> EvaluationQuery:
        persons = {who: Person(np.zeros((0, 4), np.float32), "")} if who else {}
        return EvaluationQuery(Query(text, persons=persons), frozenset(right), group)

    queries = [
        a_query("[a]", "single/seen", "x", "y", who="a"),
        a_query("[a] red", "compound/seen", "y", who="a"),
        a_query("[a] green", "compound/seen", "x", "lost", who="a"),
        a_query("[b] red", "compound/unseen", "y", who="b"),
        a_query("[b] blue", "compound/unseen", "lost", who="b"),  # its video cannot be read
        a_query("red", "text_only", "y"),
        a_query("green", "text_only", "x"),
    ]
    others = {"sentences": np.ones((2, DIM), np.float32)}
    embed = FakeModel().embed_queries
    sets = sets_of_queries(queries, {"x": 0, "y": 1}, embed, others)
    assert list(sets) == ["compound", "single", "text_only"]
    compound = sets["compound"]
    np.testing.assert_array_equal(compound.captions, embed([query.query for query in queries[1:4]]))
    assert compound.others == others
    assert not sets["single"].others
    np.testing.assert_array_equal(compound.truths(2), [[False, True], [True, False], [False, True]])
    assert compound.owners.tolist() == [1, 0, 1]
    assert compound.people is not None
    assert sets["text_only"].people is not None
    assert (compound.people.tolist(), sets["text_only"].people.tolist()) == ([0, 0, 1], [0, 1])
    assert list(sets_of_queries(queries[5:] + queries[:1], {"x": 0, "y": 1}, embed, {})) == ["text_only", "single"]
    with pytest.raises(UsageError, match="no queries about these videos"):
        sets_of_queries(queries[4:5], {"x": 0}, embed, {})


def test_queries_about_one_person_count_once(embeddings, queries) -> None:
    people = replace(queries, people=np.arange(len(queries.owners)) % 5)
    trials = nothing_found.trials(FakeModel(scoring=Scoring()), embeddings, people, 12, calibrate=raw)
    assert len(trials.present) > 5
    assert trials.n == {"present": 5, CAPTIONS: 5, "sentences": 3}
    assert set(trials.present_owners) == set(range(5))
