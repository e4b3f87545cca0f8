"""Accuracy of an answerer by kind of question, where the true answers are known (moving shapes)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import AnswerError, UsageError
from ..evaluation.bootstrap import share_with_ends
from ..protocols import Answerer
from ..types import AnswerRequest
from ..utils.tables import interval, text_table
from .pool import PoolQuestion

_VIDEO_BATCH = 32  # videos whose questions are asked at once
_ALL = "all"

# (a question's text, number of the video) -> the true answer; None where it is not known.
TrueAnswer = Callable[[str, int], str | None]
MakeRequest = Callable[[str, int], AnswerRequest]  # of a question about a video, or about its caption


@dataclass(frozen=True, slots=True)
class AnswerAccuracy:
    """How many questions about videos have the correct answer.

    Questions about one video rise and fall together, so whole videos are drawn for the interval (`share_with_ends`).
    """

    outcomes: Sequence[bool]  # of each question: whether it was answered correctly
    videos: Sequence[int]  # that it is about
    failed: int = 0  # questions that got no answer

    @property
    def n(self) -> int:
        return len(self.outcomes)

    @property
    def correct(self) -> int:
        return sum(self.outcomes)

    @property
    def percent(self) -> float:
        return 100 * self.correct / self.n

    @property
    def ci95(self) -> tuple[float, float]:
        _, low, high = share_with_ends(self.outcomes, self.videos)
        return low, high

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"n": self.n, "accuracy": self.percent, "ci95": list(self.ci95), "failed": self.failed}


def answer_accuracy(
    answerer: Answerer,
    questions: Sequence[PoolQuestion],
    videos: int,
    make_request: MakeRequest,
    true_answer: TrueAnswer,
    advance: Callable[[int], object] = lambda count: None,
    group: Callable[[PoolQuestion], str] = lambda question: question.kind,
) -> dict[str, AnswerAccuracy]:
    """Return the accuracy of an answerer by kind of question, and of all questions ("all").

    An answer is correct where it is the true one but for case, spaces and a full stop (decision: the true answers have
    one wording). A question that gets no answer counts as wrong.

    Args:
        answerer: is asked every question about every video whose true answer is known.
        questions: the questions.
        videos: number of videos (or of their captions).
        make_request: makes the request of a question about a video, by its number.
        true_answer: knows the true answers.
        advance: called with the number of videos that are done.
        group: names what a question is counted with, in place of its kind.

    Raises:
        UsageError: where no true answer is known.
    """
    counted: defaultdict[str, list[tuple[int, bool, bool]]] = defaultdict(list)  # video, correct, failed
    for first in range(0, videos, _VIDEO_BATCH):
        numbers = range(first, min(first + _VIDEO_BATCH, videos))
        requests, facts = [], []
        for number in numbers:
            for question in questions:
                truth = true_answer(question.text, number)
                if truth is not None:
                    requests.append(make_request(question.text, number))
                    facts.append((group(question), number, truth))
        for (group_name, number, truth), answer in zip(facts, answerer.answer(requests), strict=True):
            failed = isinstance(answer, AnswerError)
            correct = not failed and normalized_answer(str(answer)) == normalized_answer(truth)
            for name in (group_name, _ALL):
                counted[name].append((number, correct, failed))
        advance(len(numbers))
    if not counted:
        raise UsageError("of none of these questions the true answer is known; ask those of the packaged pools")
    names = sorted(counted, key=lambda name: name == _ALL)  # all of them last
    return {name: _accuracy(counted[name]) for name in names}


def _accuracy(counted: Sequence[tuple[int, bool, bool]]) -> AnswerAccuracy:
    videos, outcomes, failures = zip(*counted, strict=True)
    return AnswerAccuracy(outcomes, videos, sum(failures))


def normalized_answer(answer: str) -> str:
    """Return an answer without case, extra spaces and full stop, by which two answers are compared.

    >>> normalized_answer(" A red  ring. ")
    'a red ring'
    """
    return " ".join(answer.lower().split()).rstrip(".")


def accuracy_table(columns: Mapping[str, Mapping[str, AnswerAccuracy]]) -> str:
    """Return a table: a row for each group of questions, a column for each thing asked about ("text", "video")."""
    kinds = list(dict.fromkeys(kind for column in columns.values() for kind in column))
    kinds.sort(key=lambda kind: kind == _ALL)
    rows = [["answers right, %", *columns]]
    rows += [[kind, *(_cell(column.get(kind)) for column in columns.values())] for kind in kinds]
    return "\n".join(text_table(rows, widths=[18] + [24] * len(columns)))


def _cell(accuracy: AnswerAccuracy | None) -> str:
    if accuracy is None:
        return "-"
    return f"{interval(accuracy.percent, *accuracy.ci95)} of {accuracy.n}"
