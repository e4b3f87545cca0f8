"""Servers that cannot do what is asked of them cost the joint scores, one clear line each, and no hit."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_server import Behaviour, ModelServer
from skeleton_inputs import questions, view

from mmi_tvr import config, plugins
from mmi_tvr.chat import content
from mmi_tvr.chat.content import data_url
from mmi_tvr.errors import AnswerError
from mmi_tvr.questions import pool, selection
from mmi_tvr.rerank.skeleton import Options, SkeletonReranker
from mmi_tvr.skeletons.skeletons import Describer
from mmi_tvr.types import AnswerRequest, Query

COUNT = 5
QUICK = {"backoff": 0.001, "retries": 1, "timeout": 5.0, "model": "tiny"}


def with_(**changes: Any) -> Behaviour:
    return replace(Behaviour(), **changes)


def reranked(behaviour: Behaviour, **budget: Any) -> tuple[set[str | None], list[float | None], int]:
    """Return the reasons why candidates have no joint score, their joint scores, and how many questions came."""
    with ModelServer(behaviour) as server:
        answerer = plugins.build("answerers", "openai", {"base_url": server.url, **QUICK})
        describer = Describer(questions("What colour?"), questions("What colour?", "Which?"), answerer)
        looked = {number: view(str(number), key_images=12) for number in range(COUNT)}
        judge = plugins.build("judges", "fake", {})
        reranker = SkeletonReranker(Options(budget=budget), describer, judge, lambda numbers: looked)
        explanations = reranker.rerank(Query("a red dog"), np.arange(COUNT), np.linspace(0.9, 0.1, COUNT))
        assert len(explanations) == COUNT
        reasons = {explanation.failure for explanation in explanations}
        return reasons, [explanation.joint_score for explanation in explanations], len(server.bodies)


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        (with_(blind="400"), "the server says 400: tiny is not a multimodal model (it reads no pictures"),
        (with_(blind="500"), "the server says 500: image input is not supported"),
        (with_(blind="silent"), "the model does not see pictures, though the server takes them"),
        (with_(blind="refuses"), "the model refuses: I'm unable to view images."),
        (with_(pictures=1), "At most 1 image(s) may be provided in one prompt. (a video is shown as several pictures"),
        (with_(refuses=True), "the query has no skeleton: the model refuses: I'm sorry"),
        (with_(context=700), "maximum context length is 700 tokens. (fewer key images, or a longer context"),
        (with_(thinks="tags"), "the reply was cut off after 48 tokens: give it more (max_tokens)"),
        (with_(page="<html>hello</html>"), "the server's reply is no chat completion: <html>hello</html>"),
        (with_(redirect="https://elsewhere/v1"), "the server says 301"),
        (with_(streams=True), "the server's reply is no chat completion: data:"),
        (with_(spent=True), "the server says 429: You exceeded your current quota"),
        (with_(key="secret"), "refuses the key in $MMI_TVR_API_KEY"),
        (with_(models=("another",)), "the server says 404: the model 'tiny' does not exist"),
    ],
)
def test_each_is_one_line_and_costs_no_hit(behaviour: Behaviour, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MMI_TVR_API_KEY", raising=False)
    reasons, joint_scores, _ = reranked(behaviour)
    assert joint_scores == [None] * COUNT
    (reason,) = reasons
    assert says in (reason or "")
    assert "\n" not in (reason or "")


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(),
        with_(yes="是", no="否"),
        with_(usage=False),
        with_(refused_fields=("max_tokens", "temperature")),
        with_(lists=False),
        with_(blind="", picture_tokens=1),  # counts the text alone, and sees
    ],
)
def test_servers_that_are_only_different_serve(behaviour: Behaviour) -> None:
    reasons, joint_scores, _ = reranked(behaviour)
    assert reasons == {None}
    assert None not in joint_scores


def test_what_a_server_cannot_do_is_not_tried_again() -> None:
    """Two questions to each of five videos, and one to the query: a server that says that it cannot is believed."""
    assert reranked(with_(blind="500"))[2] == 2 * COUNT + 1
    assert reranked(with_(spent=True))[2] == 1
    assert reranked(with_(blind="silent"))[2] == 2 * COUNT + 2  # the colour of a picture was asked once


def test_pictures_that_several_questions_are_about_are_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[str] = []
    monkeypatch.setattr(content, "data_url", lambda picture, kind: encoded.append(kind) or data_url(picture, kind))
    pictures = tuple(np.full((8, 8, 3), (128, 0, 128), np.uint8) for _ in range(12))
    with ModelServer(Behaviour()) as server:
        answerer = plugins.build("answerers", "openai", {"base_url": server.url, "concurrency": 1, **QUICK})
        assert (
            answerer.answer([AnswerRequest(text, pictures=pictures) for text in ("a?", "b?", "c?")]) == ["purple"] * 3
        )
    assert len(encoded) == 12


def test_thinking_is_switched_off_by_a_field_of_the_settings() -> None:
    with ModelServer(with_(thinks="tags")) as server:
        extra = {"chat_template_kwargs": {"enable_thinking": False}}
        options = {"base_url": server.url, "extra": extra, "detail": "low", **QUICK}
        quiet = plugins.build("answerers", "openai", options)
        request = AnswerRequest("What colour?", pictures=(np.full((8, 8, 3), (128, 0, 128), np.uint8),))
        assert quiet.answer([request]) == ["purple"]
        assert server.bodies[0]["chat_template_kwargs"] == {"enable_thinking": False}
        assert server.bodies[0]["messages"][0]["content"][0]["image_url"]["detail"] == "low"
        plain = plugins.build("answerers", "openai", {"base_url": server.url, **QUICK})
        assert isinstance(plain.answer([request])[0], AnswerError)
        assert quiet.fingerprint() != plain.fingerprint()


# The settings files of the recipes


@pytest.fixture(params=["rerank-vllm", "rerank-ollama", "rerank-cloud"])
def recipe(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_recipe_builds_what_it_names(recipe: str) -> None:
    section = config.load(recipe).rerank
    assert section is not None
    options = Options(**section.options)
    for room, part in (("answerers", options.answerer), ("judges", options.judge)):
        built = plugins.build(room, part.name, part.options)  # nobody is asked anything
        assert built.name == "openai"
        assert part.options["base_url"].startswith("https://" if recipe == "rerank-cloud" else "http://127.0.0.1:")
    template = plugins.options("answerers", "openai", options.answerer.options).prompt_template
    assert "in a few words" in template.text
    assert options.budget.limits.seconds


def test_the_recipes_work_up_to_the_server(recipe: str) -> None:
    """With a server in the place of theirs: the same answerer, template and budget."""
    section = config.load(recipe).rerank
    assert section is not None
    options = Options(**section.options)
    with ModelServer(with_(models=(options.answerer.options["model"],))) as server:
        values = {**options.answerer.options, "base_url": server.url}
        answerer = plugins.build("answerers", options.answerer.name, values)
        picture = np.full((336, 597, 3), (30, 160, 40), np.uint8)
        requests = [AnswerRequest("What colour?", text="a red dog"), AnswerRequest("Which?", pictures=(picture,) * 12)]
        assert answerer.answer(requests) == ["Red", "green"]


def test_the_costs_of_the_page_follow_its_formula() -> None:
    page = (Path(__file__).parent.parent / "docs" / "answerers.md").read_text(encoding="utf-8")
    rows = re.findall(r"\| ([\d,]+) \| ([\d,]+) \| ([\d.]+) million \|", page)
    assert len(rows) == 6
    asked_of_a_video = len(selection.selected_questions(pool.load("video")))
    for picture, video, hour in ((int(a.replace(",", "")), int(b.replace(",", "")), c) for a, b, c in rows):
        assert video == asked_of_a_video * (12 * picture + 60)
        assert hour == f"{60 * video / 1e6:.2f}"
