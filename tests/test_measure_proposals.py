"""Our questions beside proposed ones, where it is known what is proposed from captions and what from videos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path

import pytest
from fakes import FakeModel
from skeleton_inputs import pools
from test_clustering import EXAMPLES, SHOWN
from test_query_scripts import script

from mmi_tvr.errors import AnswerError, UsageError
from mmi_tvr.experiments import question_proposals
from mmi_tvr.experiments.question_proposals import ProposedQuestions
from mmi_tvr.questions import pool
from mmi_tvr.types import AnswerRequest
from mmi_tvr.utils.progress import Silent


class Proposer:
    """Proposes questions about red and green of captions, and about blue, yellow and white of videos."""

    name, video_input = "proposer", "features"

    def __init__(self) -> None:
        self.requests: list[AnswerRequest] = []
        self._of_captions = cycle(["Is it red?", "1. Is it red?", "Is it green?"])
        self._of_videos = cycle(["Is it blue?", "Is it yellow?", "Is it white?"])

    def answer(
        self, requests: Sequence[AnswerRequest], advance: Callable[[], object] = lambda: None
    ) -> list[str | AnswerError]:
        self.requests += requests
        return [next(self._of_videos if request.text is None else self._of_captions) for request in requests]

    def fingerprint(self) -> str:
        return self.name


def propose(proposer: Proposer, questions: int) -> list[ProposedQuestions]:
    return [
        question_proposals.propose(about, EXAMPLES, proposer, FakeModel(), Silent(), count=3, questions=questions)
        for about in pool.ABOUT
    ]


def test_each_source_has_questions_that_can_be_asked() -> None:
    proposer = Proposer()
    of_captions, of_videos = propose(proposer, 2)
    assert [question.text for question in of_captions.chosen] == ["Is it red?", "Is it green?"]
    assert {question.text for question in of_videos.chosen} < {"Is it blue?", "Is it yellow?", "Is it white?"}
    assert all(question.enabled for question in (*of_captions.chosen, *of_videos.chosen))
    of_texts, of_pictures = proposer.requests[:3], proposer.requests[3:]
    assert all(f"something {colour}" in str(request.text) for request in of_texts for colour in SHOWN)
    assert [request.features is not None for request in of_pictures] == [True] * 3
    assert question_proposals.counts_table([of_captions, of_videos])[2:] == [
        "| captions      | 3        | 2    | 1       | 2      |",
        "| key images    | 3        | 3    | 0       | 2      |",
    ]
    with pytest.raises(UsageError, match="3 clusters cannot be made of 2 questions"):
        propose(proposer, 3)


def test_our_questions_are_those_of_the_package_and_those_that_are_chosen_as_proposals_are(tmp_path: Path) -> None:
    colours = [f"Is it {colour}?" for colour in ("cyan", "magenta", "black")]
    texts, videos = (pool.load(file) for file in pools(tmp_path, colours, ["What is it?", *colours]).values())
    cases = question_proposals.compared_cases(texts, videos, propose(Proposer(), 2), FakeModel(), 2)
    counts = {case.name: (len(case.texts), len(case.videos)) for case in cases}
    assert counts == {"edited": (3, 4), "edited, closest": (2, 2), "captions": (2, 2), "key images": (2, 2)}
    rows = question_proposals.questions_table(cases)
    assert sum("| edited by hand " in row and "| captions |" in row for row in rows) == 3
    assert sum("| proposed from captions " in row and "| both     | Is it" in row for row in rows) == 2


def test_the_script_measures_whoever_proposes_and_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    module = script("measure_proposals")
    monkeypatch.setattr(module, "EXAMPLES", 4)
    monkeypatch.setattr(module, "CHOSEN", 1)
    changes = ["rerank.judge.name=fake", "rerank.answerer.name=fake", "rerank.answerer.rule=How many things are there?"]
    recalls, counts, questions = module.measured_tables("moving-shapes", changes, 4, 3, 0, Silent())
    assert "paper" not in recalls
    assert [row.split(" | ")[1] for row in recalls.splitlines()[2:]] == ["-", "6, 6", "1, 1", "1, 1", "1, 1"]
    assert counts.splitlines()[2] == "| captions      | 3        | 1    | 2       | 1      |"
    assert questions.count("How many things are there?") == 2
