"""Why a hit stands where it does, as rows that a terminal and a page can show."""

from __future__ import annotations

from itertools import zip_longest

from ..types import Agreement, Answer, Explanation

Cells = tuple[str, ...]
_MARKS: dict[Agreement, str] = {
    "agrees": "agrees",
    "partly": "agrees in part",
    "differs": "other words",
    "conflicts": "conflicts",
}


def answer_table(explanation: Explanation) -> tuple[Cells, list[Cells]]:
    """Return column titles, and rows: whether two answers agree, the query's and the video's, each behind its question.

    Answers that can be compared come first, side by side (`Explanation.pairs`). The others stand below, beside whatever
    is left on the other side, and nothing is said of them.

    >>> from mmi_tvr.types import AnswerPair
    >>> text = (Answer("t", "Who?", "a dog"), Answer("u", "Where?", "a beach"))
    >>> video = (Answer("v", "How many?", "", (), "timed out"), Answer("w", "Who?", "a dog"))
    >>> _, rows = answer_table(Explanation(text, video, 0.9, 0.5, None, pairs=(AnswerPair(0, 1, "agrees"),)))
    >>> rows
    [('agrees', 'Who? a dog', 'Who? a dog'), ('', 'Where? a beach', 'How many? no answer: timed out')]
    """
    text, video, pairs = explanation.text_skeleton, explanation.video_skeleton, explanation.pairs
    rows: list[Cells] = [
        (
            "says nothing" if pair.agreement is None else _MARKS[pair.agreement],
            _question_and_answer(text[pair.text]),
            _question_and_answer(video[pair.video]),
        )
        for pair in pairs
    ]
    texts, videos = {pair.text for pair in pairs}, {pair.video for pair in pairs}
    others = zip_longest(
        (answer for place, answer in enumerate(text) if place not in texts),
        (answer for place, answer in enumerate(video) if place not in videos),
    )
    rows += [("", _question_and_answer(one), _question_and_answer(other)) for one, other in others]
    return ("", "query", "video"), rows


def answer_text(answer: Answer) -> str:
    """Return an answer, or why there is none."""
    return f"no answer: {answer.error}" if answer.error else answer.text


def key_image_times(explanation: Explanation) -> tuple[float, ...]:
    """Return the seconds of the key images that the video's answers came from, or that the judge looked at."""
    times = {time for answer in explanation.video_skeleton for time in answer.times}
    return tuple(sorted(times.union(explanation.visual.times if explanation.visual else ())))


def verdict(explanation: Explanation) -> str:
    """Return how the joint score comes about, with the numbers of this hit, or why there is none."""
    if explanation.failure is not None or explanation.formula is None:
        return f"not re-ranked: {explanation.failure or 'no joint score'}"
    return f"{explanation.formula}{_remark(explanation)}"


def _question_and_answer(answer: Answer | None) -> str:
    return f"{answer.question} {answer_text(answer)}" if answer else ""


def _remark(explanation: Explanation) -> str:
    """Return in brackets who judged, by what, and what a look says before its prior is taken off; empty where nobody is
    named.

    >>> from mmi_tvr.types import VisualJudgement
    >>> look = VisualJudgement(0.9, 0.75, 0.75)
    >>> _remark(Explanation((), (), None, 0.8, 1.1, judge="a", judged_by="samples", visual=look))
    ' (a, by samples; look: yes 0.900, to anything 0.750)'
    """
    remarks = [] if explanation.judge is None else [f"{explanation.judge}, by {explanation.judged_by}"]
    visual = explanation.visual
    if visual is not None and visual.prior is not None:
        remarks.append(f"look: yes {visual.probability:.3f}, to anything {visual.prior:.3f}")
    return f" ({'; '.join(remarks)})" if remarks else ""
