"""What one query may spend: counted across threads, cut off at the second, and never paid with a hit."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from chat_server import ChatServer
from skeleton_inputs import questions, view
from test_answerers import client, readable, texts
from test_rerank import FakeJudge

from mmi_tvr import plugins
from mmi_tvr.errors import AnswerError, UsageError
from mmi_tvr.rerank.skeleton import Options, SkeletonReranker
from mmi_tvr.skeletons.skeletons import Describer
from mmi_tvr.skeletons.store import SkeletonStore
from mmi_tvr.types import Explanation, Query
from mmi_tvr.utils.budget import Budget, BudgetLimits, current, spending

COUNT = 12  # candidates


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as running:
        yield running


def test_calls_are_counted_exactly_across_threads_and_in_every_budget_around() -> None:
    with spending(BudgetLimits(calls=50)) as outer, spending(BudgetLimits(calls=1000)):
        budget = current()
        with ThreadPoolExecutor(8) as pool:
            allowed = sum(pool.map(budget.take, [1] * 200))
        assert allowed == 50 == budget.usage.calls == outer.usage.calls
        assert budget.shortage == "this query has spent its 50 calls (budget.calls)"
        with pytest.raises(AnswerError, match="50 calls"):
            budget.begin()
    assert current().take(10**6) == 10**6  # outside nothing is limited
    shared = Budget(BudgetLimits(calls=500))
    with ThreadPoolExecutor(8) as pool:  # queries side by side, within one limit
        taken = pool.map(lambda _: sum(Budget(outer=shared).take(1) for _ in range(200)), range(8))
    assert sum(taken) == 500


def test_tokens_end_a_budget_once_they_are_known() -> None:
    with spending(BudgetLimits(tokens=100)) as budget:
        budget.begin()
        budget.add(tokens=99, cached=2)
        budget.begin()
        budget.add(tokens=99)
        assert budget.take(1) == 0
        assert "100 tokens" in budget.shortage
        assert budget.usage.as_dict() == {
            "calls": 2,
            "tokens": 198,
            "seconds": budget.usage.as_dict()["seconds"],
            "cached": 2,
        }


def test_seconds_of_loading_do_not_count() -> None:
    with spending(BudgetLimits(seconds=0.05)) as budget:
        with budget.paused():
            time.sleep(0.1)
        assert not budget.shortage
        time.sleep(0.06)
        assert budget.shortage == "this query has spent its 0.05 seconds (budget.seconds)"
        assert budget.remaining() == 0


@pytest.mark.parametrize(("word", "patience"), [("slow", 20.0), ("drip", 20.0), ("ill", 20.0)])
def test_whatever_a_server_does_a_request_ends_with_the_seconds(server: ChatServer, word: str, patience: float) -> None:
    server.slow = patience
    patient = client(server, retries=9, backoff=5.0, timeout=patience)
    patient.answer(texts("good"))
    started = time.monotonic()
    with spending(BudgetLimits(seconds=0.3)):
        answers = readable(patient.answer(texts(*[f"{word} {number}" for number in range(20)], "good")))
    assert time.monotonic() - started < 2.0
    assert all("this query has spent its 0.3 seconds" in answer for answer in answers[:20])


def test_no_call_starts_that_is_not_allowed(server: ChatServer) -> None:
    with spending(BudgetLimits(calls=5)) as budget:
        answers = readable(client(server).answer(texts(*[f"ask {number}" for number in range(20)])))
    assert sum(not answer.startswith("!") for answer in answers) == 5 == budget.usage.calls
    assert server.request_count("ask ") == 5
    assert {answer for answer in answers if answer.startswith("!")} == {
        "! this query has spent its 5 calls (budget.calls)"
    }
    with spending(BudgetLimits(calls=3)) as budget:
        client(server, retries=9).answer(texts("ill"))
    assert server.request_count("ill") == 3 == budget.usage.calls  # attempts are calls, too


def test_tokens_are_the_servers_and_else_estimated(server: ChatServer) -> None:
    with spending() as budget:
        client(server).answer(texts("counted 123"))
    assert budget.usage.tokens == 123
    with spending() as budget:
        client(server).answer(texts("one"))
    assert 20 < budget.usage.tokens < 200
    picture = np.zeros((64, 64, 3), np.uint8)
    with spending() as budget:
        client(server).answer([plain_picture_request(picture)])
    assert 2 * 576 < budget.usage.tokens < 3 * 576


def plain_picture_request(picture: Any) -> Any:
    from mmi_tvr.types import AnswerRequest

    return AnswerRequest("what is it?", pictures=(picture, picture))


# Re-ranking


def reranker(answerer: Any, store: SkeletonStore | None = None, **budget: Any) -> SkeletonReranker:
    looked = {number: view(str(number)) for number in range(COUNT)}
    describer = Describer(questions("What?"), questions("Who?", "Where?"), answerer, store)
    judge = FakeJudge(*np.linspace(0.1, 0.9, COUNT))
    return SkeletonReranker(Options(budget=budget), describer, judge, lambda numbers: looked)


def explain(one: SkeletonReranker) -> tuple[list[Explanation], float]:
    started = time.monotonic()
    explanations = one.rerank(Query("a dog"), np.arange(COUNT), np.linspace(0.9, 0.1, COUNT))
    return explanations, time.monotonic() - started


def test_what_the_budget_allows_is_judged_and_the_rest_keeps_its_place() -> None:
    with spending() as budget:
        explanations, _ = explain(reranker(plugins.build("answerers", "fake", {}), calls=12))
    judged = [explanation for explanation in explanations if explanation.joint_score is not None]
    assert budget.usage.calls == 9  # three quarters: what is left is the judge's
    assert len(judged) == 4  # of the query's question and eight others, two to each video
    assert explanations[-1].failure == "this query has spent its 9 calls (75% of budget.calls)"
    assert len(explanations) == COUNT


@pytest.mark.parametrize("question", ["slow", "drip"])
def test_a_server_that_hangs_costs_the_joint_score(server: ChatServer, question: str) -> None:
    server.slow = 30.0
    one = reranker(client(server, timeout=30.0), seconds=0.4)
    one.describer.video_questions = questions(f"Who? {question}")
    explanations, seconds = explain(one)
    assert seconds < 2.0
    assert [explanation.joint_score for explanation in explanations] == [None] * COUNT
    assert all("spent its 0.3 seconds" in (explanation.failure or "") for explanation in explanations)
    assert explanations[0].text_skeleton[0].text


@pytest.mark.parametrize("calls", [0, 1, 7])
def test_a_server_that_dies_after_some_calls(server: ChatServer, calls: int, tmp_path: Any) -> None:
    server.dies = calls
    with SkeletonStore(tmp_path / "store.sqlite") as store:
        one = reranker(client(server, concurrency=1, retries=1), store, seconds=20)
        explanations, seconds = explain(one)
        assert seconds < 3.0
        assert len(explanations) == COUNT
        judged = [explanation.joint_score is not None for explanation in explanations]
        assert sum(judged) == (0 if calls < 2 else 3 if calls % 2 else calls // 2)
        assert all(explanation.failure for explanation, good in zip(explanations, judged, strict=True) if not good)
        assert store.count() == max(0, calls - 1)


def test_what_was_answered_is_not_paid_again(server: ChatServer, tmp_path: Any) -> None:
    with SkeletonStore(tmp_path / "store.sqlite") as store:
        one = reranker(client(server), store)
        with spending() as first:
            explain(one)
        with spending() as second:
            explain(one)
    assert (first.usage.calls, first.usage.cached) == (1 + 2 * COUNT, 0)
    assert (second.usage.calls, second.usage.tokens, second.usage.cached) == (0, 0, 1 + 2 * COUNT)


def test_a_judge_is_not_asked_once_the_budget_is_spent(server: ChatServer, tmp_path: Any) -> None:
    with SkeletonStore(tmp_path / "store.sqlite") as store:
        explain(reranker(client(server), store))  # the videos are described by now
        one = reranker(client(server), store, tokens=1)
        one.describer.text_questions = questions("counted 123")
        explanations, _ = explain(one)
    assert isinstance(one.judge, FakeJudge)
    assert one.judge.requests == []
    assert {explanation.failure for explanation in explanations} == {
        "not judged: this query has spent its 1 tokens (budget.tokens)"
    }
    assert explanations[0].video_skeleton[0].text


def test_no_video_is_read_once_the_budget_is_spent(server: ChatServer) -> None:
    read: list[str] = []

    def pictures(number: int) -> list[Any]:
        read.append(str(number))
        return [np.zeros((4, 4, 3), np.uint8)]

    one = reranker(client(server), calls=1)
    views = {number: replace(view(str(number)), pictures=partial(pictures, number)) for number in range(COUNT)}
    one.views = lambda numbers: views
    explain(one)
    assert read == []


def test_ctrl_c_ends_pauses(server: ChatServer) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client(server, retries=5, backoff=60.0).answer(texts("ill", "ill, too", "good"), interrupt)
    deadline = time.monotonic() + 3
    while any(thread.name.startswith("ask") for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "a thread still waits for its next attempt"
        time.sleep(0.01)


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match=r"budget.calls"):
        plugins.options("rerank", "skeleton", {"budget": {"calls": 0}})
    assert plugins.options("rerank", "skeleton", {"budget": {"seconds": None}}).budget.limits.seconds is None
