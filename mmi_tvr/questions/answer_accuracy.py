"""How often an answerer is right, by kind of question, where the truth is known (moving shapes)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import AnswerError, UsageError
from ..protocols import Answerer
from ..types import AnswerRequest
from ..utils.tables import interval, text_table
from .pool import PoolQuestion

_Z = 1.959964  # 97.5 % of a normal distribution lie below
_TOGETHER = 32  # videos whose questions are asked at once

# (question's words, number of the video) -> the true answer; None where nobody knows.
Truth = Callable[[str, int], str | None]
Made = Callable[[str, int], AnswerRequest]  # the question about a video, or about its caption


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Of `n` answers, the percentage that is right; the interval is Wilson's (1927). `failed` got no answer."""

    n: int
    right: int
    failed: int = 0

    @property
    def percent(self) -> float:
        return 100 * self.right / self.n

    @property
    def ci95(self) -> tuple[float, float]:
        share, n = self.right / self.n, self.n
        middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
        spread = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n * n))
        return 100 * max(0.0, middle - spread), 100 * min(1.0, middle + spread)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"n": self.n, "accuracy": self.percent, "ci95": list(self.ci95), "failed": self.failed}


def accuracy(
    answerer: Answerer,
    questions: Sequence[PoolQuestion],
    videos: int,
    make: Made,
    truth: Truth,
    advance: Callable[[int], object] = lambda count: None,
) -> dict[str, Accuracy]:
    """Every question asked of `videos` videos (or their captions): accuracy by kind, and of all together ("all").

    An answer is right where it is the true one but for case, spaces and a full stop (decision: the true answers have
    one wording). A question that gets no answer counts as wrong. advance: called with the number of videos done.
    UsageError where the truth is known of no question.
    """
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for first in range(0, videos, _TOGETHER):
        numbers = range(first, min(first + _TOGETHER, videos))
        wanted = [
            (question, number, true)
            for number in numbers
            for question in questions
            if (true := truth(question.text, number)) is not None
        ]
        answers = answerer.answer([make(question.text, number) for question, number, _ in wanted])
        for (question, _, true), answer in zip(wanted, answers, strict=True):
            failed = isinstance(answer, AnswerError)
            right = not failed and plain(str(answer)) == plain(true)
            for kind in (question.kind, "all"):
                for at, value in enumerate((1, right, failed)):
                    counts[kind][at] += value
        advance(len(numbers))
    if not counts:
        raise UsageError("of none of these questions the true answer is known; ask those of the packaged pools")
    return {kind: Accuracy(*count) for kind, count in sorted(counts.items(), key=lambda item: item[0] == "all")}


def plain(answer: str) -> str:
    """What two answers are compared by.

    >>> plain(" A red  ring. ")
    'a red ring'
    """
    return " ".join(answer.lower().split()).rstrip(".")


def table(found: Mapping[str, Mapping[str, Accuracy]]) -> str:
    """Rows by kind of question; a column for each thing that was asked about ("text", "video")."""
    kinds = list(dict.fromkeys(kind for column in found.values() for kind in column))
    kinds.sort(key=lambda kind: kind == "all")
    rows = [["answers right, %", *found]]
    rows += [[kind, *(_cell(column.get(kind)) for column in found.values())] for kind in kinds]
    return "\n".join(text_table(rows, widths=[18] + [24] * len(found)))


def _cell(each: Accuracy | None) -> str:
    if each is None:
        return "-"
    return f"{interval(each.percent, *each.ci95)} of {each.n}"
