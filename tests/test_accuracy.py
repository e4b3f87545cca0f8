"""How often answers are right, by kind of question; skeletons of a whole data set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from skeleton_inputs import questions, view

from mmi_tvr import plugins
from mmi_tvr.datasets.moving_shapes import answerable, truth
from mmi_tvr.errors import AnswerError, MediaError, UsageError
from mmi_tvr.questions import answer_accuracy, pool
from mmi_tvr.skeletons import dataset
from mmi_tvr.skeletons.skeletons import Describer
from mmi_tvr.types import AnswerRequest, Features, Sample, Video
from mmi_tvr.utils.intervals import wilson

VIDEOS = 40


class Knows:
    """Answers with what is true, but for one question, and fails at another."""

    name, video_input = "knows", "features"

    def __init__(self, wrong: str, dead: str) -> None:
        self.wrong, self.dead = wrong, dead
        self.specs = plugins.build("datasets", "moving_shapes", {"split": "val", "count": VIDEOS}).specs()

    def answer(
        self, requests: Sequence[AnswerRequest], advance: Callable[[], object] = lambda: None
    ) -> list[str | AnswerError]:
        return [self._one(request) for request in requests]

    def _one(self, request: AnswerRequest) -> str | AnswerError:
        assert request.text is not None
        if request.question == self.dead:
            return AnswerError("timed out")
        if request.question == self.wrong:
            return "a purple elephant"
        return f" {truth(request.question, 'text')(self.specs[int(request.text)], True).upper()}. "

    def fingerprint(self) -> str:
        return "knows"


def test_answers_are_counted_by_kind() -> None:
    known = [question for question in pool.load("text").enabled if question.text in answerable("text")]
    of_order = [question for question in known if question.kind == "order"]
    one = Knows("What happens first?", "What happens last?")
    done: list[int] = []
    accuracies = answer_accuracy.answer_accuracy(
        one,
        known,
        VIDEOS,
        lambda question, number: AnswerRequest(question, text=str(number)),
        lambda question, number: truth(question, "text")(one.specs[number], True),
        done.append,
    )
    assert sum(done) == VIDEOS
    assert accuracies["entities"].percent == 100
    assert accuracies["order"].n == VIDEOS * len(of_order)
    assert accuracies["order"].correct == VIDEOS * (len(of_order) - 2)
    assert accuracies["order"].failed == VIDEOS
    assert accuracies["order"].ci95 == pytest.approx(wilson(0.5, VIDEOS))  # all videos are alike
    assert accuracies["all"].n == sum(accuracy.n for kind, accuracy in accuracies.items() if kind != "all")
    lines = answer_accuracy.accuracy_table({"text": accuracies}).splitlines()
    assert lines[-1].startswith("all")
    assert f"of {accuracies['order'].n}" in next(line for line in lines if line.startswith("order"))
    by_question = answer_accuracy.answer_accuracy(
        one,
        known,
        VIDEOS,
        lambda question, number: AnswerRequest(question, text=str(number)),
        lambda question, number: truth(question, "text")(one.specs[number], True),
        group=lambda question: question.text,
    )
    assert {text: accuracy.percent for text, accuracy in by_question.items()} == {
        **{question.text: 100.0 for question in known},
        one.wrong: 0.0,
        one.dead: 0.0,
        "all": accuracies["all"].percent,
    }


def test_unknown_truths_are_said() -> None:
    with pytest.raises(UsageError, match="the true answer is known"):
        answer_accuracy.answer_accuracy(
            Knows("", ""), questions("Who?"), 2, lambda q, n: AnswerRequest(q, text="0"), lambda q, n: None
        )


def test_pairs_without_skeletons_have_no_probability() -> None:
    judge = plugins.build("judges", "fake", {"probability": 1.0})
    answerer = plugins.build("answerers", "fake", {"rule": "a dog"})
    describer = Describer(questions("What?"), questions("What?"), answerer)
    texts, videos = dataset.describe(
        describer, ["a", "b"], [view("1"), view("2", gone=True)], lambda what, count: None, lambda count: None
    )
    pairs = dataset.PairJudge(texts, videos, judge)
    np.testing.assert_array_equal(pairs.probabilities(0, [0, 1]), [1.0, np.nan])
    np.testing.assert_array_equal(pairs.probabilities(0, [1, 0, 1]), [np.nan, 1.0, np.nan])
    silent = dataset.PairJudge([()], videos, judge)
    assert np.isnan(silent.probabilities(0, [0])).all()
    described = dataset.PairJudge(texts, [videos[0]] * 2, judge)
    described.videos[1] = "another"
    described._judge = plugins.build("judges", "fake", {"fail": ["another"], "probability": 0.5})
    np.testing.assert_array_equal(described.probabilities(0, [0, 1]), [0.5, np.nan])
    with pytest.raises(AnswerError, match="fake judged none of 1 pair: no judgement, as it was told"):
        described.probabilities(0, [1])


def test_views_of_a_data_set_are_read_at_use(tmp_path: Path) -> None:
    samples = [Sample(name, Video(tmp_path / f"{name}.mp4"), ("",)) for name in ("a", "b", "c")]
    features = Features(np.array([[0, 2, 0.5], [2, 4, 3.0]]), {})

    class Stored(dict):  # type: ignore[type-arg]
        def __init__(self) -> None:
            super().__init__({0: features, 2: features})
            self.failures = {1: MediaError("b.mp4", "no video stream")}

        def key(self, number: int) -> str:
            return f"content {number}"

    views = dataset.video_views(samples, Stored(), "sampling", [2, 1])  # type: ignore[arg-type]
    assert [(view.content, view.key_images, view.times) for view in views] == [
        ("content 2", "sampling", (0.5, 3.0)),
        ("content 1", "sampling", ()),
    ]
    assert views[0].features() is features
    with pytest.raises(MediaError, match="no video stream"):
        views[1].pictures()
    assert len(dataset.video_views(samples, Stored(), "sampling")) == 3  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["--answers", "--rerank", "--by"])
def test_the_command(option: str, tmp_path: Path) -> None:
    """With answers that are the text itself, or the number of key images: some p, and no answer right."""
    words = ["evaluate", "moving_shapes", "--model", "moving-shapes", "--limit", "6", option, "--json"]
    if option == "--by":
        words = ["evaluate", "answers", "moving_shapes", *words[2:-2], "--by", "question", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "mmi_tvr.cli", *words, "--set", "rerank.answerer.name=fake"],
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    if option == "--answers":
        assert document["videos"] == 6
        assert document["answers"]["video"]["order"]["n"] > 6
        assert set(document["answers"]["text"]["all"]) == {"n", "accuracy", "ci95", "failed"}
    elif option == "--by":
        by_question = document["answers"]["video"]
        assert by_question["v13 What does the background look like?"]["n"] == 6
        assert by_question["all"]["n"] == 6 * (len(by_question) - 1)
    else:
        assert set(document["rerank"]["gains"]) == {"t2v", "v2t"}
        assert document["rerank"]["searched"]["t2v"]["R@1"] >= 0
