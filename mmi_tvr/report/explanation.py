"""Why a hit stands where it does, as rows that a terminal and a page can show."""

from __future__ import annotations

from itertools import zip_longest

from ..types import Answer, Explanation, VisualJudgement

Cells = tuple[str, ...]


def answer_table(explanation: Explanation) -> tuple[Cells, list[Cells]]:
    """Return column titles, and rows: question, the query's answer, the video's.

    Where the two were asked different questions, each answer stands behind its question.

    >>> both = (Answer("q", "Who?", "a dog"),)
    >>> answer_table(Explanation(both, both, 0.9, 0.5, 0.6))
    (('question', 'query', 'video'), [('Who?', 'a dog', 'a dog')])
    >>> answer_table(Explanation(both, (Answer("v", "What?", "", (), "timed out"),), None, 0.5, None))
    (('query', 'video'), [('Who? a dog', 'What? no answer: timed out')])
    """
    text, video = explanation.text_skeleton, explanation.video_skeleton
    video_answers = {answer.question: answer for answer in video}
    if text and {answer.question for answer in text} == video_answers.keys():
        rows: list[Cells] = [
            (answer.question, answer_text(answer), answer_text(video_answers[answer.question])) for answer in text
        ]
        return ("question", "query", "video"), rows
    pairs = zip_longest(text, video)
    return ("query", "video"), [tuple(_question_and_answer(answer) for answer in pair) for pair in pairs]


def answer_text(answer: Answer) -> str:
    """Return an answer, or why there is none."""
    return f"no answer: {answer.error}" if answer.error else answer.text


def key_image_times(explanation: Explanation) -> tuple[float, ...]:
    """Return the seconds of the key images that the video's answers came from, or that the judge looked at."""
    times = {time for answer in explanation.video_skeleton for time in answer.times}
    return tuple(sorted(times.union(explanation.visual.times if explanation.visual else ())))


def verdict(explanation: Explanation) -> str:
    """Return the numbers in words, or why there are none."""
    if explanation.failure is not None or explanation.joint_score is None:
        return f"not re-ranked: {explanation.failure or 'no joint score'}"
    terms = [f"cosine {explanation.cosine:.3f}"]
    if explanation.probability is not None:
        terms.append(f"probability {explanation.probability:.3f}")
    if explanation.visual is not None:
        terms.append(_look(explanation.visual))
    *first, last = terms
    return f"joint {explanation.joint_score:.3f} from {', '.join(first)} and {last}{_judged_by(explanation)}"


def _look(visual: VisualJudgement) -> str:
    """Return what a look at the video says.

    >>> _look(VisualJudgement(0.9, 0.75, 0.75)), _look(VisualJudgement(0.9, None, 0.9))
    ('look 0.750 (yes 0.900, to anything 0.750)', 'look 0.900')
    """
    if visual.prior is None:
        return f"look {visual.normalised:.3f}"
    return f"look {visual.normalised:.3f} (yes {visual.probability:.3f}, to anything {visual.prior:.3f})"


def _question_and_answer(answer: Answer | None) -> str:
    return f"{answer.question} {answer_text(answer)}" if answer else ""


def _judged_by(explanation: Explanation) -> str:
    """Return who judged, and by what, as a remark; empty where nobody is named."""
    if explanation.judge is None:
        return ""
    return f" ({explanation.judge}, by {explanation.judged_by})"
