"""Re-ranking: who moves, who stays and why; and what the settings say of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import FakeModel
from hypothesis import given
from hypothesis import strategies as st
from skeleton_inputs import pools, questions, view

from mmi_tvr import config, plugins
from mmi_tvr.errors import AnswerError, ConfigError, UsageError
from mmi_tvr.protocols import Reranker
from mmi_tvr.rerank import rerank_section
from mmi_tvr.rerank.skeleton import Options, SkeletonReranker
from mmi_tvr.scoring.joint import permutation
from mmi_tvr.skeletons.skeletons import Describer
from mmi_tvr.skeletons.store import SKELETONS_FILE, SkeletonStore
from mmi_tvr.types import Judgement, Query

COSINES = np.array([0.8, 0.7, 0.6, 0.5])
WHAT, WHERE = "What is there?", "Where is it?"


class FakeJudge:
    """p by video skeleton; raises what it is given."""

    name = "fake"

    def __init__(self, *values: float, error: Exception | None = None) -> None:
        self.values, self.error = values, error
        self.requests: list[tuple[str, list[str]]] = []

    def judge(self, text: str, videos: Sequence[str], advance: object = None) -> list[Judgement | AnswerError]:
        self.requests.append((text, [*videos]))
        if self.error:
            raise self.error
        return [Judgement(value, "samples") for value in self.values[: len(videos)]]

    def fingerprint(self) -> str:
        return "fake"


def reranker(judge: FakeJudge, answerer: dict[str, Any] | None = None, gone: set[int] = frozenset(), **options: Any):
    fake = plugins.build("answerers", "fake", {"rule": "a dog", **(answerer or {})})
    describer = Describer(questions(WHAT), questions(WHAT, WHERE), fake)
    looked = {number: view(str(number), gone=number in gone) for number in (1, 2, 3, 4)}
    return SkeletonReranker(Options(**options), describer, judge, lambda numbers: looked)


def explained(one: SkeletonReranker):
    return one.rerank(Query("a dog runs"), np.array([1, 2, 3, 4]), COSINES)


@given(st.lists(st.none() | st.floats(-1, 2), max_size=12))
def test_a_permutation_moves_scored_candidates_among_their_places(joint: list[float | None]) -> None:
    order = permutation(joint)
    assert sorted(order) == list(range(len(joint)))
    assert all(order[at] == at for at, score in enumerate(joint) if score is None)
    scores = [joint[at] for at in order if joint[at] is not None]
    assert scores == sorted(scores, reverse=True)
    assert permutation([0.5] * len(joint)) == list(range(len(joint)))


def test_the_joint_score_is_the_weighted_sum() -> None:
    judge = FakeJudge(0.1, 0.9, 0.5, 0.0)
    one = reranker(judge)
    explanations = explained(one)
    assert isinstance(one, Reranker)
    assert [each.probability for each in explanations] == [0.1, 0.9, 0.5, 0.0]
    assert [each.joint_score for each in explanations] == pytest.approx(
        0.6 * COSINES + 0.3 * np.array([0.1, 0.9, 0.5, 0.0])
    )
    assert [each.cosine for each in explanations] == COSINES.tolist()
    assert judge.requests == [("a dog", ["a dog; a dog"] * 4)]
    assert [(line.question, line.times) for line in explanations[0].video_skeleton] == [(WHAT, (0, 1)), (WHERE, (0, 1))]
    assert set(one.seconds) == {"answer", "judge"}
    explanations = explained(reranker(FakeJudge(0.1, 0.9, 0.5, 0.0), lambda_r=0.0, lambda_s=2.0))
    assert [each.joint_score for each in explanations] == pytest.approx([0.2, 1.8, 1.0, 0.0])


def test_a_candidate_without_a_skeleton_keeps_its_place_and_says_why() -> None:
    judge = FakeJudge(0.0, 0.5, 1.0)
    explanations = explained(reranker(judge, gone={2}))
    assert len(judge.requests[0][1]) == 3
    assert "the file is gone" in (explanations[1].failure or "")
    assert (explanations[1].joint_score, explanations[1].cosine) == (None, 0.7)
    assert permutation([each.joint_score for each in explanations]) == [3, 1, 2, 0]


def test_a_video_that_left_the_library_meanwhile() -> None:
    one = reranker(FakeJudge(0.5, 0.5, 0.5))
    one.views = lambda numbers: {number: view(str(number)) for number in numbers if number != 3}
    explanations = explained(one)
    assert [each.failure is None for each in explanations] == [True, True, False, True]


@pytest.mark.parametrize(
    ("answerer", "says"),
    [
        ({"fail": (WHAT,)}, "the query has no skeleton: no answer, as it was told"),
        ({"late": (WHAT,)}, "the query has no skeleton: no answer in time"),
        ({"dies": 0}, "the query has no skeleton: the fake answerer died"),
        ({"rule": " "}, "the query has no skeleton: the model said nothing"),
        ({"dies": 1}, "the fake answerer died after 1 answers"),
        ({"dies": 4}, "the fake answerer died after 4 answers"),
    ],
)
def test_an_answerer_that_fails_moves_nothing(answerer: dict[str, Any], says: str) -> None:
    judge = FakeJudge(0.0, 0.3, 0.6, 1.0)
    explanations = explained(reranker(judge, answerer))
    assert [each.joint_score for each in explanations] == [None] * 4
    assert all(says in (each.failure or "") for each in explanations)
    assert judge.requests == []


def test_what_was_kept_before_an_answerer_died_is_used(tmp_path: Path) -> None:
    store = SkeletonStore(tmp_path / SKELETONS_FILE)
    one = reranker(FakeJudge(0.2, 0.9))
    one.describer.store = store
    one.describer.video_skeletons([view("1"), view("4")])
    one.describer.answerer.options = one.describer.answerer.options.model_copy(update={"dies": 5})  # after the query
    explanations = explained(one)
    store.close()
    assert [each.joint_score is None for each in explanations] == [False, True, True, False]
    assert "died" in (explanations[1].failure or "")
    assert permutation([each.joint_score for each in explanations]) == [3, 1, 2, 0]


@pytest.mark.parametrize(
    ("judge", "says"),
    [
        (FakeJudge(error=UsageError("too long")), "not judged: too long"),
        (FakeJudge(error=RuntimeError("out of\nmemory")), "not judged: out of memory"),
        (FakeJudge(0.5), "not judged: fake judged 1 of 4"),
        (FakeJudge(float("nan"), float("nan"), float("inf"), float("nan")), "the judge gave no number"),
    ],
)
def test_a_judge_that_fails_moves_nothing(judge: FakeJudge, says: str) -> None:
    explanations = explained(reranker(judge))
    assert [(each.joint_score, each.failure) for each in explanations] == [(None, says)] * 4
    assert explanations[0].video_skeleton[0].text == "a dog"
    assert {(each.judge, each.judged_by) for each in explanations} == {("fake", None)}


def test_a_pair_that_cannot_be_judged_costs_itself() -> None:
    judge = plugins.build("judges", "fake", {"probability": 0.5, "fail": ["a dog; a cat"]})
    one = reranker(judge)
    replies = iter(["a dog", *["a dog", "a dog"] * 2, "a dog", "a cat", "a dog", "a dog"])
    one.describer.answerer.answer = lambda requests: [next(replies) for _ in requests]
    explanations = explained(one)
    assert [each.probability for each in explanations] == [0.5, 0.5, None, 0.5]
    assert explanations[2].failure == "not judged: no judgement, as it was told"
    assert [each.judged_by for each in explanations] == ["log-probabilities"] * 2 + [None, "log-probabilities"]


def test_a_bug_is_not_hidden() -> None:
    with pytest.raises(TypeError):
        explained(reranker(FakeJudge(error=TypeError("ours"))))


# Settings


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("rerank.dpeth=3", "unknown option 'dpeth'.*depth"),
        ("rerank.depth=0", "rerank.skeleton: depth"),
        ("rerank.answerer.name=oracle", "no answerer is called 'oracle'.*fake"),
        ("rerank.answerer.btach=3", "rerank.answerer: unknown option 'btach'.*batch"),
        ("rerank.judge.name=oracle", "no judge is called 'oracle'.*fake.*llava"),
        ("rerank.judge.wieghts=a", "rerank.judge: unknown option 'wieghts'.*weights"),
        ("rerank.name=magic", "no rerank is called 'magic'; there are: skeleton"),
    ],
)
def test_wrong_settings_are_one_line(override: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        config.load(None, [override])


def test_what_the_settings_leave_open_is_as_the_model_came() -> None:
    model = FakeModel()
    assert rerank_section(None, model) == config.RERANK
    carried = {"name": "skeleton", "lambda_s": 0.05, "answerer": {"name": "fake", "rule": "a dog"}}
    model.rerank_section = lambda: carried
    assert rerank_section(None, model).options["lambda_s"] == 0.05
    section = config.Section(name="skeleton", depth=50, answerer={"rule": "a cat"})
    options = Options(**rerank_section(section, model).options)
    assert (options.depth, options.lambda_s, options.answerer.options) == (50, 0.05, {"rule": "a cat"})
    assert rerank_section(config.Section(name="skeleton", lambda_s=0.2), model).options["lambda_s"] == 0.2
    section = config.Section(name="skeleton", answerer={"name": "transformers", "batch": 8})
    assert rerank_section(section, model).options == {
        "lambda_s": 0.05,
        "answerer": {"name": "transformers", "batch": 8},
    }
    assert (
        rerank_section(config.Section(name="another"), model).options == {}
    )  # a model's options are of its own re-ranker
    model.rerank_section = lambda: {"name": "visual", "depth": 3}
    unnamed = config.load(None, ["rerank.depth=4"]).rerank
    assert rerank_section(unnamed, model) == config.Section(name="visual", depth=4)


def test_a_model_without_language_says_what_to_do(tmp_path: Path) -> None:
    pool_options = pools(tmp_path, [WHAT], [WHERE])
    server = {"name": "openai"}
    for sections, verbs, parts in (
        ({}, "answer and judge", {"answerer", "judge"}),
        ({"answerer": server}, "judge", {"judge"}),
        ({"judge": server}, "answer", {"answerer"}),
        ({"answerer": server, "judge": {"name": "llava"}}, "judge", {"judge"}),
    ):
        with pytest.raises(UsageError, match=rf"^fake has no language model.* let a server {verbs}, with ") as raised:
            plugins.build("rerank", "skeleton", {**pool_options, **sections}, model=FakeModel(), views=dict)
        assert set(re.findall(r"--set rerank\.(\w+)\.name=openai", str(raised.value))) == parts
        assert "--model moving-shapes" in str(raised.value)
    swapped = {"text": pool_options["video"], "answerer": {"name": "fake"}, "judge": {"name": "fake"}}
    with pytest.raises(UsageError, match=r"video\.yaml: its questions are about a video"):
        plugins.build("rerank", "skeleton", swapped, model=FakeModel(), views=dict)
