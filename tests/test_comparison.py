"""What of two skeletons is compared, and what is said of it, at every door alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmi_tvr.questions import selection
from mmi_tvr.questions.pool import load
from mmi_tvr.report import answer_table, verdict
from mmi_tvr.skeletons.comparison import agreement, comparable
from mmi_tvr.types import Answer, AnswerPair, Explanation, ScoreTerm


@pytest.mark.parametrize(
    ("query", "video", "expected"),
    [
        ("the red circle moves left", "The red circle moves left.", "agrees"),
        ("two dogs", "a dog, then two dogs and a cat", "agrees"),
        ("a dog and a cat", "a cat; a dog", "agrees"),  # nobody says in which order
        ("the dog barks, then the cat runs", "the dog barks, then the bird sings, then the cat runs", "agrees"),
        ("the dog barks, then the cat runs", "the cat runs, then the dog barks", "conflicts"),
        ("the cat runs after the dog barks", "the dog barks, then the cat runs", "agrees"),
        ("the cat runs after the dog barks", "the cat runs, then the dog barks", "conflicts"),
        ("after the dog barks, the cat runs", "the dog barks, then the cat runs", "agrees"),
        ("the dog barks, and after that the cat runs", "the dog barks before the cat runs", "agrees"),
        ("the cat runs; before that, the dog barks", "first the dog barks, then the cat runs", "agrees"),
        ("before the cat runs, the dog barks", "the dog barks, then the cat runs", "agrees"),
        ("before the cat runs, the dog barks", "the cat runs, then the dog barks", "conflicts"),
        ("the dog barks, then the cat runs", "the cat runs after the dog barks, and then it sleeps", "agrees"),
        ("the red circle moves left", "the red circle moves right", "conflicts"),
        ("the blue square moves left", "the blue square grows, then the red circle moves left", "conflicts"),
        ("the red circle moves left, then the blue square grows", "the red circle moves left", "partly"),
        ("a red circle and a yellow ring", "red and yellow", "partly"),
        ("the ring", "none", "conflicts"),  # the video was asked, and has none
        ("none", "the ring", None),
        ("the ring", "unknown", None),
        ("the ring", "", None),
        ("Unknown.", "nothing", None),
        ("红色圆环向左移动", "红色圆环向左移动，然后变大", "agrees"),
        ("红色圆环", "蓝色方块", "conflicts"),
        ("?!", "a dog", None),
    ],
)
def test_words_agree_or_not(query: str, video: str, expected: str | None) -> None:
    assert agreement(query, video, 0.1) == expected
    seen_as_one = "differs" if expected == "conflicts" else expected
    assert agreement(query, video, 0.9) == agreement(query, video, None) == seen_as_one


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_text_is_compared_and_one_with_itself_never_conflicts(query: str, video: str) -> None:
    assert agreement(query, video, 0.1) in ("agrees", "partly", "conflicts", "differs", None)
    assert agreement(query, query, 0.1) in ("agrees", None)


def answers(*ids_and_texts: tuple[str, str]) -> tuple[Answer, ...]:
    return tuple(Answer(id, f"{id}?", text) for id, text in ids_and_texts)


def test_comparable_are_the_same_question_and_counterparts_each_once() -> None:
    text = answers(("t1", "a dog"), ("t2", "red"), ("same", "it runs"), ("t3", "one"))
    video = answers(("v1", "blue"), ("same", "it runs"), ("v2", "a dog"), ("v3", "a dog"), ("v4", "one"))
    counterparts = {"v1": ("t9", "t2"), "v2": ("t1",), "v3": ("t1",), "v4": ("t4",)}
    pairs = comparable(text, video, counterparts, 0.2)
    assert pairs == (AnswerPair(0, 2, "agrees"), AnswerPair(1, 0, "conflicts"), AnswerPair(2, 1, "agrees"))
    failed = (Answer("v1", "v1?", "", error="timed out"),)
    assert comparable(text, failed, counterparts, 0.2) == (AnswerPair(1, 0, None),)
    assert comparable(text, (), counterparts, None) == comparable((), video, counterparts, None) == ()


def test_every_door_shows_one_explanation() -> None:
    text, video = answers(("t1", "a dog"), ("t2", "red")), answers(("v1", "blue"), ("v2", "a dog"), ("v3", "two"))
    pairs = comparable(text, video, {"v1": ("t2",), "v2": ("t1",)}, 0.25)
    terms = (ScoreTerm("cosine", 0.6, 0.5), ScoreTerm("probability", 0.3, 0.25))
    explanation = Explanation(
        text, video, 0.25, 0.5, 0.375, judge="llava", judged_by="choice", pairs=pairs, terms=terms
    )
    titles, rows = answer_table(explanation)
    assert titles == ("", "query", "video")
    assert rows == [
        ("agrees", "t1? a dog", "v2? a dog"),
        ("conflicts", "t2? red", "v1? blue"),
        ("", "", "v3? two"),
    ]
    formula = "joint 0.375 = 0.6 x cosine 0.500 + 0.3 x probability 0.250"
    assert verdict(explanation) == f"{formula} (llava, by choice)"
    document = explanation.as_dict()
    assert document["formula"] == formula
    assert document["pairs"][0] == {"text": 0, "video": 1, "agreement": "agrees"}
    assert document["joint"] == pytest.approx(sum(term["weight"] * term["value"] for term in document["terms"]))
    assert Explanation(text, video, None, 0.5, None, "the budget is spent").as_dict()["formula"] is None


def test_the_packaged_pools_name_counterparts_that_there_are() -> None:
    ids = {question.id for question in load("text").questions}
    named = [id for question in load("video").questions for id in question.counterparts]
    assert set(named) <= ids
    assert len(named) > 40
    chosen = {question.id for question in selection.selected_questions(load("text"))}
    compared = [q for q in selection.selected_questions(load("video")) if chosen.intersection(q.counterparts)]
    assert len(compared) >= 3


@pytest.mark.parametrize(
    ("query", "video", "expected"),
    [
        ("a red circle", "there is no red circle", "conflicts"),
        ("no red circle", "a red circle", "conflicts"),
        ("the circle moves", "the circle doesn't move", "conflicts"),
        ("一只狗", "没有一只狗", "conflicts"),
        ("it is not red", "it isn't red", "agrees"),
        ("a dog", "a dog without a leash", "agrees"),
    ],
)
def test_what_is_denied_is_not_what_is_said(query: str, video: str, expected: str) -> None:
    assert agreement(query, video, 0.1) == expected
