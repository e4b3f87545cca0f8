"""Vectors of questions, clusters, and the choice of one question of each by trying them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from fakes import COLOURS, FakeModel
from hypothesis import given, settings
from hypothesis import strategies as st

from mmi_tvr import plugins, prompt_templates
from mmi_tvr.answerers.fake import FakeAnswerer
from mmi_tvr.errors import AnswerError, UsageError
from mmi_tvr.questions import clustering, examples, leave_one_out, proposals, trials
from mmi_tvr.questions.examples import Example
from mmi_tvr.questions.pool import Pool, PoolQuestion
from mmi_tvr.skeletons.skeletons import VideoView
from mmi_tvr.types import Features, Query

SHOWN = ("red", "green", "blue", "yellow")


class Counting(FakeModel):
    """Remembers what it embedded."""

    def __init__(self) -> None:
        super().__init__()
        self.queries: list[str] = []

    def embed_queries(self, queries: Sequence[Query]) -> np.ndarray:
        self.queries += [query.text for query in queries]
        return super().embed_queries(queries)


def example(colour: str) -> Example:
    features = Features(np.array([[0.0, 1.0, 0.5]]), {"mean": np.array([COLOURS[colour]], np.float32)})
    (embeddings,) = FakeModel().embed_videos([features])
    return Example(colour, f"something {colour}", embeddings, VideoView((0.5,), lambda: features, lambda: ()))


EXAMPLES = [example(colour) for colour in SHOWN]


def answerer(**options: object) -> FakeAnswerer:
    fake: FakeAnswerer = plugins.build("answerers", "fake", options)
    return fake


def pool_of(*texts: str, about: str = "text") -> Pool:
    questions = tuple(PoolQuestion(f"t{at:02d}", text, "mood") for at, text in enumerate(texts, 1))
    return Pool(Path("text.yaml"), about, questions)  # type: ignore[arg-type]


def blobs(counts: Sequence[int], spread: float = 0.05) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.concatenate([rng.normal(size=(count, 6)) * spread + 3 * np.eye(6)[at] for at, count in enumerate(counts)])


def test_a_question_is_the_mean_of_its_words_each_embedded_once() -> None:
    model = Counting()
    vectors = clustering.question_vectors(["Red, blue?", "BLUE red blue", "…"], model)
    red, blue, dots = FakeModel().embed_queries([Query(text) for text in ("red", "blue", "…")]).astype(float)
    np.testing.assert_allclose(vectors, [(red + blue) / 2, (red + 2 * blue) / 3, dots], atol=1e-6)
    assert sorted(model.queries) == ["blue", "red", "…"]


def test_the_number_of_clusters_is_found() -> None:
    clusters = clustering.cluster(blobs([6, 9, 5]))
    assert clusters.k == 3
    assert clusters.labels.tolist() == [0] * 6 + [1] * 9 + [2] * 5
    assert max(clusters.silhouettes, key=lambda k: clusters.silhouettes[k]) == 3
    assert list(clusters.silhouettes) == list(range(2, 13))
    assert clusters.stability == 1.0


def test_groups_are_sorted_by_distance_to_their_centre() -> None:
    points = blobs([4, 3, 8], spread=0.5)
    clusters = clustering.cluster(points, 3)
    assert not clusters.silhouettes
    for label, group in enumerate(clusters.groups()):
        centre = points[clusters.labels == label].mean(axis=0)
        np.testing.assert_allclose(clusters.centres[label], centre)
        distances = np.linalg.norm(points[list(group)] - centre, axis=1)
        assert (np.diff(distances) >= -1e-6).all()
        assert clusters.closest()[label] == group[0]
    assert sorted(each for group in clusters.groups() for each in group) == list(range(15))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(*[st.integers(-3, 3)] * 2), max_size=9), st.none() | st.integers(1, 10))
def test_any_points(points: list[tuple[int, int]], k: int | None) -> None:
    array = np.array(points, dtype=float).reshape(-1, 2)
    distinct = len(set(points))
    if distinct < (k or 1):
        with pytest.raises(UsageError, match="enable more, or ask for fewer clusters"):
            clustering.cluster(array, k)
        return
    one, other = clustering.cluster(array, k), clustering.cluster(array, k)
    assert one.labels.tolist() == other.labels.tolist()
    assert one.distances.tolist() == other.distances.tolist()
    assert one.k == len(set(one.labels.tolist())) == (k or one.k)
    assert one.k <= max(2, len(points) - 1) or k


def test_nearly_the_same_whatever_all_have_in_common() -> None:
    points = np.array([[1, 0.1, 0], [1, 0.101, 0], [1, -0.1, 0], [1, 0, 0.1], [1, 0, -0.1]])
    ((one, other, cosine),) = clustering.similar_pairs(points, 0.9)
    assert (one, other) == (0, 1)
    assert cosine > 0.99
    assert clustering.similar_pairs(points[:1], 0.0) == []


def grouped(pool: Pool, labels: Sequence[int], distances: Sequence[float]) -> clustering.Clustering:
    return clustering.Clustering(np.array(labels), np.array(distances), np.zeros((max(labels) + 1, 2)), {}, 1.0)


def choose(
    pool: Pool, clusters: clustering.Clustering, who: FakeAnswerer, rule: trials.Rule, **options: object
) -> list[trials.Trial]:
    limits = trials.TrialOptions(**options)  # type: ignore[arg-type]
    return trials.run_trials(pool, clusters, EXAMPLES, who, FakeModel(), rule, limits)


def test_the_answer_finds_its_video_and_hedges_do_not() -> None:
    pool = pool_of("What is it?", "Who is it?", "Which door?")
    who = answerer(answers={"Who is it?": "Not visible."}, fail=["Which door?"])
    results = choose(pool, grouped(pool, [0, 0, 0], [3, 2, 1]), who, "argmin")
    assert [trial.question.id for trial in results] == ["t03", "t02", "t01"]
    failed, hedged, good = results
    assert [each.rank for each in good.demonstrations] == [1, 1, 1, 1]
    assert [each.example for each in good.demonstrations] == list(SHOWN)
    assert (good.hedged, good.answer_length, good.chosen) == (0.0, 2.0, True)
    assert (hedged.hedged, hedged.chosen, hedged.verdict) == (1.0, False, "t01: tells more")
    assert [each.rank for each in failed.demonstrations] == [4, 4, 4, 4]
    assert failed.demonstrations[0].error == "no answer, as it was told"
    assert trials.chosen_ids(results) == ["t01"]


def test_argmin_goes_by_length_then_rank_then_distance() -> None:
    long = "What, if you were asked by somebody who cannot see it, would you say is there?"
    pool = pool_of(long, "What is it?", "Who is it?", "Why is it?")
    who = answerer(answers={"Who is it?": "red", "Why is it?": "red"})
    results = choose(pool, grouped(pool, [0, 0, 0, 0], [1, 4, 2, 3]), who, "argmin")
    assert {trial.question.id: trial.verdict for trial in results} == {
        "t01": "t02: shorter question",
        "t03": "t02: better rank",
        "t04": "t02: better rank",
        "t02": "the smallest of its cluster",
    }
    table = trials.trial_table(results)
    assert [line.split()[1] for line in table.splitlines() if line.startswith("*")] == ["t02"]
    closest = choose(pool, grouped(pool, [0, 0, 0, 0], [1, 4, 2, 3]), answerer(rule="red"), "argmin")
    assert trials.chosen_ids(closest) == ["t03"]


def test_first_satisfying_goes_outwards_and_no_further_than_it_must() -> None:
    pool = pool_of("One?", "Two?", "Three?", "Four?", "Five?", "Six?")
    who = answerer(answers={"One?": "unknown", "Two?": "word " * 13, "Five?": "none", "Six?": "none"})
    clusters = grouped(pool, [0, 0, 0, 0, 1, 1], [1, 2, 3, 4, 1, 2])
    results = choose(pool, clusters, who, "first_satisfying")
    assert trials.chosen_ids(results) == ["t03", "t05"]
    assert "Four?" not in {ask.question for ask in who.requests}
    verdicts = {trial.question.id: trial.verdict for trial in results}
    assert verdicts["t01"] == "more than 25% of the answers tell nothing"
    assert verdicts["t02"] == "the answers have more than 12 words"
    assert verdicts["t03"] == "the first that satisfies"
    assert verdicts["t05"].startswith("the closest: none satisfies")
    lenient = choose(pool, clusters, who, "first_satisfying", nabla=["door"], answer=20)
    assert trials.chosen_ids(lenient) == ["t01", "t05"]


def test_video_questions_are_about_the_video() -> None:
    pool = pool_of("What is it?", about="video")
    who = answerer()
    (trial,) = choose(pool, grouped(pool, [0], [1]), who, "argmin")
    assert trial.demonstrations[0].answer == "1 key images"
    assert all(ask.features is not None and ask.text is None for ask in who.requests)
    with pytest.raises(UsageError, match="no examples"):
        trials.run_trials(pool, grouped(pool, [0], [1]), [], who, FakeModel(), "argmin", trials.TrialOptions())


def test_leaving_out_the_one_that_tells() -> None:
    questions = pool_of("What is it?", "Who is it?", "Where is it?").questions
    who = answerer(answers={"Who is it?": "unknown"}, fail=["Where is it?"])
    report = leave_one_out.leave_one_out(EXAMPLES, questions, "text", who, FakeModel())
    what, whom, where = report.questions
    assert report.n == 4
    assert what.drop == report.r1 - whom.alone > 0
    assert whom.drop == report.r1 - what.alone
    assert what.low <= what.drop <= what.high
    assert (what.alone, what.hedged) == (100.0, 0.0)
    assert whom.hedged == 1.0
    assert (where.drop, where.alone, where.hedged) == (0.0, 0.0, 1.0)
    with pytest.raises(UsageError, match="at least 2"):
        leave_one_out.leave_one_out(EXAMPLES, questions[:1], "text", who, FakeModel())
    silent = answerer(fail=[question.text for question in questions])
    with pytest.raises(UsageError, match="answered none"):
        leave_one_out.leave_one_out(EXAMPLES, questions, "text", silent, FakeModel())


def test_no_answer_finds_nothing() -> None:
    vectors = examples.embed_answers(["something red", "", "something blue", ""], FakeModel())
    assert examples.video_ranks(vectors, EXAMPLES, FakeModel()).tolist() == [1, 4, 1, 4]
    assert examples.embed_answers(["", ""], FakeModel()).shape == (2, 0)


def generate(pool: Pool, who: FakeAnswerer, count: int = 3) -> proposals.Proposals:
    words = prompt_templates.generate()
    return proposals.generate(pool, EXAMPLES, who, FakeModel(), words, count, origin="fake", similar=0.99)


def test_proposals_are_disabled_and_say_where_they_come_from() -> None:
    pool = pool_of("Who is it?", "What is red?", "What is green?")
    generated = generate(pool, answerer(rule='1. "How many blue things are there?"'))
    (kept,) = generated.kept
    assert (kept.id, kept.text, kept.kind) == ("t04", "How many blue things are there?", "counts")
    assert not kept.enabled
    assert set(kept.provenance) == {"model", "template", "date"}
    assert generated.proposed == 3
    assert [reason for _, reason in generated.dropped] == ["the same as another proposal"] * 2


def test_proposals_that_are_there_already_or_nearly() -> None:
    pool = pool_of("Who is it?", "What is red there?", "What is green there?")
    assert generate(pool, answerer(rule="what is RED there")).dropped[0][1] == "the same as t02"
    similar = generate(pool, answerer(rule="Where is red now?"), 1)
    assert similar.kept == ()
    assert similar.dropped[0][1].startswith("nearly the same as t02")
    assert generate(pool, answerer(rule="x" * 900), 1).dropped[0][1].startswith("the question has 900 characters")
    words = prompt_templates.generate()
    with pytest.raises(AnswerError, match="nothing was proposed"):
        generate(pool, answerer(fail=[words.text.partition("{texts}")[2].strip()]))


def test_captions_are_data_for_proposals() -> None:
    who = answerer()
    generate(pool_of("Who is it?"), who, 2)
    assert len(who.requests) > 0
    for ask in who.requests:
        assert ask.text is not None
        assert all(f"something {colour}" in ask.text for colour in SHOWN)
        assert "something" not in ask.question
        assert "Write one short question" in ask.question
    seeing = answerer()
    generate(pool_of("Who is it?", about="video"), seeing, 2)
    assert len(seeing.requests) > 0
    assert all(ask.features is not None and "{" not in ask.question for ask in seeing.requests)


@pytest.mark.parametrize(
    ("reply", "question"),
    [
        ("Question: What is red?", "What is red?"),
        ("- What is red? Because it matters.", "What is red?"),
        ("Here you are:\n\n2) “What is red?”", "What is red?"),
        ("什么是红色的？好", "什么是红色的？"),
        ("no question", "no question"),
        ("\n", ""),
    ],
)
def test_the_question_in_a_reply(reply: str, question: str) -> None:
    assert proposals.question_in(reply) == question
