"""The rules of the questions room at their limits: exact values, ties, orders and intervals against plain formulas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fakes import FakeModel
from test_clustering import EXAMPLES, answerer, grouped, pool_of

from mmi_tvr.questions import clustering, editing, leave_one_out, pool, proposals, selection, trials
from mmi_tvr.questions.answer_accuracy import AnswerAccuracy, normalized_answer
from mmi_tvr.questions.pool import Pool, PoolQuestion
from mmi_tvr.types import AnswerRequest


def trial(**changes: object) -> trials.Trial:
    values: dict[str, object] = {
        "question": PoolQuestion("t01", "Who?", "people"), "cluster": 0, "place": 1, "distance": 0.0, "length": 16,
        "answer_length": 12.0, "hedged": 0.25, "rank": 1.0, "demonstrations": (),
    }  # fmt: skip
    return trials.Trial(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({}, ""),
        ({"length": 17}, "the question has more than 16 words"),
        ({"hedged": 0.26}, "more than 25% of the answers tell nothing"),
        ({"answer_length": 12.1}, "the answers have more than 12 words"),
    ],
)
def test_a_limit_is_the_last_value_that_satisfies(changes: dict[str, object], missed: str) -> None:
    assert trials._missed_limit(trial(**changes), trials.TrialOptions()) == missed


@pytest.mark.parametrize(
    ("better", "worse", "reason"),
    [
        ({"hedged": 0.0, "length": 40}, {"hedged": 0.3, "length": 3}, "tells more"),
        ({"length": 15, "answer_length": 90.0}, {"length": 16, "answer_length": 1.0}, "shorter question"),
        ({"answer_length": 15.9, "rank": 9.0}, {"answer_length": 16.0, "rank": 1.0}, "shorter answers"),
        ({"length": 1, "rank": 1.0, "place": 2}, {"length": 15, "rank": 2.0, "place": 1}, "better rank"),
        ({"length": 15, "place": 1}, {"length": 1, "place": 2}, "closer to the centre"),
    ],
)
def test_argmin_compares_in_the_order_of_its_criteria(
    better: dict[str, object], worse: dict[str, object], reason: str
) -> None:
    judged = trials._argmin([trial(**worse), trial(**better)], trials.TrialOptions())
    assert [(item.chosen, item.verdict) for item in judged] == [
        (False, f"t01: {reason}"),
        (True, "the smallest of its cluster"),
    ]


def test_a_trial_says_the_median_rank_and_the_mean_length() -> None:
    texts = {"something red": "something red", "something green": "something red or so"}

    class ByCaption:
        name, video_input = "captions", "features"

        def answer(self, requests: list[AnswerRequest]) -> list[str]:
            return [texts.get(str(request.text), "") for request in requests]

        def fingerprint(self) -> str:
            return "captions"

    questions = pool_of("What is it?")
    steps: list[int] = []
    (result,) = trials.run_trials(
        questions, grouped(questions, [0], [0.5]), EXAMPLES, ByCaption(), FakeModel(), "argmin",  # type: ignore[arg-type]
        trials.TrialOptions(), steps.append,
    )  # fmt: skip
    ranks = [demonstration.rank for demonstration in result.demonstrations]
    assert ranks[0] == 1
    assert result.rank == np.median(ranks) != np.mean(ranks)
    assert result.answer_length == (2 + 4) / 4
    assert result.hedged == 0.5
    assert (result.place, result.distance, result.length) == (1, 0.5, 3)
    assert sum(steps) == len(EXAMPLES)


def test_steps_are_counted_in_answers() -> None:
    questions = pool_of("One?", "Two?", "Three?")
    steps: list[int] = []
    trials.run_trials(
        questions, grouped(questions, [0, 0, 0], [1, 2, 3]), EXAMPLES, answerer(), FakeModel(), "argmin",
        trials.TrialOptions(), steps.append,
    )  # fmt: skip
    assert sum(steps) == len(EXAMPLES) * 3


def test_the_smallest_of_equally_good_numbers_of_clusters_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustering, "_silhouettes", lambda points, ks, seed: dict.fromkeys(ks, 0.5))
    assert clustering.cluster(np.eye(6)).k == 2


def test_no_more_clusters_are_tried_than_questions_differ() -> None:
    points = np.repeat(np.eye(3), 3, axis=0)
    assert list(clustering.cluster(points).silhouettes) == [2, 3]


def test_the_stability_is_that_of_other_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    def labels(points: np.ndarray, k: int, seed: int) -> np.ndarray:
        seeds.append(seed)
        return np.arange(4) % 2 if seed == 7 else np.array([0, 0, 1, 1])

    monkeypatch.setattr(clustering, "_labels", labels)
    clusters = clustering.cluster(np.eye(4), 2, seed=7)
    assert seeds == [7, 8, 9, 10, 11]
    assert clusters.stability == -0.5  # adjusted Rand index of 0101 and 0011


def test_similar_pairs_come_with_the_most_similar_first() -> None:
    angles = np.radians([0, 1, 60, 63, 200])
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    pairs = clustering.similar_pairs(points, 0.5)
    assert [pair[2] for pair in pairs] == sorted((pair[2] for pair in pairs), reverse=True)
    assert pairs[0][:2] == (0, 1)
    centred = points - points.mean(axis=0)
    first, second = centred[0], centred[1]
    assert pairs[0][2] == pytest.approx(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


def test_a_drop_and_its_interval_are_those_of_a_paired_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    first = {"whole": [1, 1, 1, 0], "without": [1, 0, 0, 0], "other": [1, 1, 1, 1]}
    calls = iter(["whole", "without", "other", "other", "whole"])
    monkeypatch.setattr(leave_one_out, "_first_ranks", lambda *_: np.array(first[next(calls)], dtype=float))
    questions = pool_of("What is it?", "Who is it?").questions
    result = leave_one_out.leave_one_out(EXAMPLES, questions, "text", answerer(), FakeModel(), seed=3)
    resamples = np.random.default_rng(3).integers(4, size=(1000, 4))
    drops = np.array([0.0, 1, 1, 0])
    means = sorted(100 * drops[rows].mean() for rows in resamples)
    one, other = result.questions
    assert (result.r1, one.drop, one.alone) == (75.0, 50.0, 100.0)
    assert (one.low, one.high) == tuple(np.percentile(means, [2.5, 97.5]))
    assert (other.drop, other.alone) == (-25.0, 75.0)


def test_the_interval_of_an_accuracy_is_over_videos() -> None:
    outcomes = [True] * 30 + [False] * 10
    of_forty = AnswerAccuracy(outcomes, [*range(40)], 1)
    of_two = AnswerAccuracy(outcomes, [0] * 20 + [1] * 20)
    assert of_forty.as_dict() == {"n": 40, "accuracy": 75.0, "ci95": list(of_forty.ci95), "failed": 1}
    assert of_two.ci95 == (50.0, 100.0)  # either video alone, or both
    assert of_two.ci95[0] < of_forty.ci95[0] < 75 < of_forty.ci95[1]
    none_wrong = AnswerAccuracy([True] * 100, [0] * 50 + [1] * 50)
    assert none_wrong.ci95 == (pytest.approx(34.2, abs=0.1), 100.0)  # two videos, not a hundred questions


def test_answers_are_compared_without_case_spaces_and_full_stop() -> None:
    assert normalized_answer(" A  Red ring. ") == "a red ring"
    assert normalized_answer("a red ring") != normalized_answer("a red rings")


def test_a_question_may_have_500_characters() -> None:
    assert pool.text_problem("x" * 500) is None
    assert pool.text_problem("x" * 501) == "the question has 501 characters; at most 500 are asked: shorten it"
    assert "U+D800" in str(pool.text_problem("Who\ud800?"))


def test_the_next_id_is_after_the_highest_of_its_pool() -> None:
    texts = pool_of("Who?", "What?", about="video")
    assert editing.free_id(texts, ["t07", "t05"]) == "v08"
    named = Pool(Path("p"), "text", (PoolQuestion("first", "Who?", "people"),))
    assert editing.free_id(named) == "t01"


def test_a_field_that_an_editor_deletes_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "text.yaml"
    path.write_text("about: text\nquestions:\n- {id: t01, text: 'Who?', kind: people, note: often}\n", encoding="utf-8")
    assert editing.replace(path, "t01", "id: t01\ntext: Who?\nkind: mood\n")["t01"] == PoolQuestion(
        "t01", "Who?", "mood"
    )


def test_chosen_questions_keep_the_order_of_their_clusters(tmp_path: Path) -> None:
    questions = Pool(tmp_path / "text.yaml", "text", pool_of("One?", "Two?", "Three?").questions)
    lock = selection.from_clustering(
        questions, grouped(questions, [0, 1, 1], [0.0, 2.0, 1.0]), ["t01", "t03"], model="m", fingerprint="f"
    )
    reversed_lock = selection.Selection(
        about="text", pool=lock.pool, model="m", fingerprint="f", rule="closest", k=2, seed=0, stability=1.0,
        silhouettes={}, clusters=lock.clusters[::-1],
    )  # fmt: skip
    selection.write(reversed_lock, questions)
    assert [question.id for question in selection.selected_questions(questions)] == ["t03", "t01"]
    assert dict(lock.clusters[1].questions) == {"t03": 1.0, "t02": 2.0}
    assert selection.cluster_list(questions, lock).splitlines()[3:] == [
        "* t03    1.000  Three?",
        "  t02    2.000  Two?",
    ]


def test_a_dropped_proposal_drops_no_other() -> None:
    vectors = {"a?": [1.0, 0.0], "b?": [0.8, 0.6], "c?": [0.3, 0.954]}
    questions = Pool(Path("p"), "text", (PoolQuestion("t01", "a?", "mood"),))
    proposed = [PoolQuestion("t02", "b?", "mood"), PoolQuestion("t03", "c?", "mood")]

    class Fixed(FakeModel):
        def embed_queries(self, queries: list) -> np.ndarray:  # type: ignore[type-arg, override]
            return np.array([vectors[query.text] for query in queries])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proposals, "similar_pairs", lambda points, threshold: [(0, 1, 0.8), (1, 2, 0.81)])
        kept, dropped = proposals._split_similar(questions, proposed, Fixed(), 0.7)
    assert [question.id for question in kept] == ["t03"]  # it is like t02 alone, which is gone
    assert dropped == [("b?", "nearly the same as t01 (0.80)")]


def test_one_failed_request_for_a_proposal_fails_no_other() -> None:
    class Half:
        name, video_input = "half", "features"

        def answer(self, requests: list[AnswerRequest], advance: object = None) -> list[object]:
            from mmi_tvr.errors import AnswerError

            return [AnswerError("busy"), *["How many dogs are there?"] * (len(requests) - 1)]

        def fingerprint(self) -> str:
            return "half"

    from mmi_tvr import prompt_templates

    result = proposals.generate(
        pool_of("Who is it?"), EXAMPLES, Half(), FakeModel(), prompt_templates.generate(), 2, origin="x", similar=0.99  # type: ignore[arg-type]
    )  # fmt: skip
    assert [question.text for question in result.kept] == ["How many dogs are there?"]
    assert result.dropped == (("", "busy"),)
