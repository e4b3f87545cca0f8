"""Why a hit stands where it does, as rows that a terminal and a page can show."""

from __future__ import annotations

from itertools import zip_longest

from ..types import Answer, Explanation

Row = tuple[str, ...]


def aligned(why: Explanation) -> tuple[Row, list[Row]]:
    """Column titles, and rows: question, the query's answer, the video's. Where the two were asked different questions,
    each answer stands behind its own.

    >>> both = (Answer("q", "Who?", "a dog"),)
    >>> aligned(Explanation(both, both, 0.9, 0.5, 0.6))
    (('question', 'query', 'video'), [('Who?', 'a dog', 'a dog')])
    >>> aligned(Explanation(both, (Answer("v", "What?", "", (), "timed out"),), None, 0.5, None))
    (('query', 'video'), [('Who? a dog', 'What? no answer: timed out')])
    """
    videos = {line.question: line for line in why.video_skeleton}
    if why.text_skeleton and {line.question for line in why.text_skeleton} == videos.keys():
        rows: list[Row] = [(line.question, answer(line), answer(videos[line.question])) for line in why.text_skeleton]
        return ("question", "query", "video"), rows
    sides = zip_longest(why.text_skeleton, why.video_skeleton)
    return ("query", "video"), [
        tuple(f"{each.question} {answer(each)}" if each else "" for each in row) for row in sides
    ]


def answer(line: Answer) -> str:
    """An answer, or why there is none."""
    return f"no answer: {line.error}" if line.error else line.text


def times(why: Explanation) -> tuple[float, ...]:
    """Seconds of the key images that the video's answers came from."""
    return tuple(sorted({time for line in why.video_skeleton for time in line.times}))


def verdict(why: Explanation) -> str:
    """The numbers in words, or why there are none."""
    if why.failure is not None or why.probability is None or why.joint_score is None:
        return f"not re-ranked: {why.failure or 'no joint score'}"
    return f"joint {why.joint_score:.3f} from cosine {why.cosine:.3f} and probability {why.probability:.3f}"
