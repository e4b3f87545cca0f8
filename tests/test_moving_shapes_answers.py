"""What is true of a moving-shapes video or of its caption: the answers to the questions of the pools."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml
from test_moving_shapes import scene

from mmi_tvr import config
from mmi_tvr.datasets._moving_shapes.generate import split
from mmi_tvr.datasets._moving_shapes.world import Spec
from mmi_tvr.datasets.moving_shapes import (
    CONTRASTS,
    OPPOSITE,
    answerable,
    truth,
    twin,
    twin_contrasts,
)


def test_pool_questions_have_true_answers() -> None:
    """Told of one scene by hand; and the packaged pools ask them."""
    things = (("red", "ring", 1), ("blue", "cross", 2))
    seen_of = scene((0, "chases", 1), (1, "swells"), things=things)
    expected = {
        "What key concepts are mentioned in this text?": "two blue crosses and a red ring",
        "In which order do the events take place?": (
            "the red ring chases the two blue crosses to the right, then the two blue crosses swell and shrink back"
        ),
        "Where are the things in relation to each other?": "the two blue crosses are to the right of the red ring",
        "What is above or below something else?": "unknown",
        "Who or what follows or chases whom?": "the red ring chases the two blue crosses to the right",
        "What gets bigger or smaller?": "the two blue crosses",
        "What turns, spins or rolls?": "none",
        "How many of each kind of thing are there?": "two blue crosses and one red ring",
        "What mood or feeling does the text convey?": "unknown",
    }
    assert {question: truth(question, "text")(seen_of, True) for question in expected} == expected
    silent = replace(seen_of, relation_stated=False)
    assert truth("Where are the things in relation to each other?", "text")(silent, True) == "unknown"
    seen_by = truth("What are the relationships of these entities in this video?", "video")
    assert seen_by(silent, False) == "the two blue crosses are to the right of the red ring"
    for about in ("text", "video"):
        pool = yaml.safe_load(config.find("prompts", about).read_text(encoding="utf-8"))
        assert set(answerable(about)) <= {entry["text"] for entry in pool["questions"]}
        assert len(answerable(about)) == len(set(answerable(about))) > 25


def test_answers_about_one_thing_leave_out_the_others() -> None:
    things = (("red", "ring", 1), ("blue", "cross", 1), ("green", "star", 1))
    spec = scene((0, "blinks"), (1, "grows"), (0, "left"), things=things, relation="above")

    def about_video(question: str) -> str:
        return truth(question, "video")(spec, False)

    def about_text(question: str) -> str:
        return truth(question, "text")(spec, True)

    assert about_video("What disappears, or is hidden for a while?") == "the red ring"
    assert about_video("What stays in its place the whole time?") == "the green star"
    assert about_text("What does the main subject do?") == "vanishes for a moment and moves left"
    assert about_text("What is above or below something else?") == "the blue cross is below the red ring"
    assert about_text("What is on the left, and what is on the right?") == "unknown"
    assert "the blue cross is below the red ring" in about_video("Which thing is above or below another?")
    assert about_video("What does the background look like?") == "plain"
    assert truth("What does the background look like?", "video")(spec, True) == "unknown"
    unstated = replace(spec, relation_stated=False)
    assert truth("What is above or below something else?", "text")(unstated, True) == "unknown"
    alone = scene((0, "left"), things=things[:1], relation="", relation_stated=False)
    assert truth("Which thing is to the left of which?", "video")(alone, False) == "none"


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_twins_have_other_answers(contrast: str) -> None:
    """What a twin changes shows in the answers about the video; the order of the things in a spec does not."""
    specs = [item.spec for item in split("val", 60, 1)]
    with_two = [spec for spec in specs if len(spec.things) == 2]
    with_twin = [spec for spec in specs if contrast in twin_contrasts(spec)]
    assert min(len(with_two), len(with_twin)) > 3
    for spec in with_two:
        events = (replace(event, actor=1 - event.actor, other=_other(event.other)) for event in spec.events)
        turned = replace(spec, things=spec.things[::-1], relation=OPPOSITE[spec.relation], events=tuple(events))
        assert _answers(spec) == _answers(turned)
    for spec in with_twin:
        assert _answers(spec) != _answers(twin(spec, contrast))


def _other(number: int) -> int:
    return 1 - number if number >= 0 else number


def _answers(spec: Spec) -> list[str]:
    return [truth(question, "video")(spec, False) for question in answerable("video")]
