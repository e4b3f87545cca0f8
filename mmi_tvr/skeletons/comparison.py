"""What of two skeletons can be compared, and whether it agrees: for people who ask why a hit is there.

Decision: words are compared, not meanings, clause by clause; where they differ, the judge decides whether that is a
conflict, because it has read both skeletons as wholes. So no explanation speaks of a conflict that the judge does not
see, and none is silent about words that differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ..types import Agreement, Answer, AnswerPair, Skeleton
from ..utils.description_words import query_words

Clause = frozenset[str]

_EVEN = 0.5  # a probability below it says that there are two scenes
_DENIALS = frozenset({"none", "nothing", "no", "无", "没有"})  # answers that say that there is none
_NO_ANSWERS = frozenset({"unknown", "n/a", "未知", "不知道"})
_CLAUSE_END = re.compile(
    r"[,;.!?，。；、！？]|\b(?:and|then|(?:before|after)(?:\s+(?:that|this|which))?|while)\b|"
    "然后|接着|随后|之后|最后|同时|和",
    re.IGNORECASE,
)
# What stands behind these in a clause is said not to be.
_NEGATION = re.compile(r"\b(?:no|not|never|without|nobody|neither|nor)\b|n['’]t\b|没有?|不|未", re.IGNORECASE)
# What stands behind these was before what stands in front of them.
_EARLIER = re.compile(r"\bafter\b(?!\s+(?:that|this|which))|\bbefore\s+(?:that|this|which)\b", re.IGNORECASE)
_BEFORE = re.compile(r"\bbefore\b(?!\s+(?:that|this|which))", re.IGNORECASE)
_IN_ORDER = re.compile(r"\b(?:then|before|after|first|finally)\b|先|然后|接着|随后|之后|最后", re.IGNORECASE)


def comparable(
    text: Skeleton, video: Skeleton, counterparts: Mapping[str, Sequence[str]], probability: float | None
) -> tuple[AnswerPair, ...]:
    """Return the answers that can be compared: those to the same question, and those to counterparts.

    Args:
        text: of the query.
        video: of the video.
        counterparts: by the id of a question about videos, those of questions about texts that it can be compared with.
        probability: that both skeletons describe one scene; None: nobody judged.

    Returns:
        Pairs in the order of the query's answers; no answer is in two of them.
    """
    partners: dict[int, int] = {}
    for number, answer in enumerate(video):
        ids = counterparts.get(answer.question_id, ())
        candidates = [
            place
            for place, other in enumerate(text)
            if place not in partners and (other.question == answer.question or other.question_id in ids)
        ]
        if candidates:
            partners[candidates[0]] = number
    return tuple(
        AnswerPair(place, number, agreement(_answer_text(text[place]), _answer_text(video[number]), probability))
        for place, number in sorted(partners.items())
    )


def agreement(query: str, video: str, probability: float | None) -> Agreement | None:
    """Return whether the words of two comparable answers agree; None where one of them says nothing.

    Args:
        query: the query's answer.
        video: the video's.
        probability: that both skeletons describe one scene; None: nobody judged.

    >>> agreement("the red circle moves left", "a red circle moves left, then it grows", 0.9)
    'agrees'
    >>> agreement("a red circle and a blue ring", "red and blue", 0.9)
    'partly'
    >>> agreement("the ring grows, then it moves", "the ring moves, then it grows", 0.2)
    'conflicts'
    >>> agreement("a bicycle", "a bike", 0.9), agreement("none", "a bike", 0.9)
    ('differs', None)
    >>> agreement("the ring moves", "the ring does not move", 0.1)
    'conflicts'
    """
    if _bare(query) in _DENIALS | _NO_ANSWERS or _bare(video) in _NO_ANSWERS:
        return None
    query_clauses, video_clauses = _clauses(query), [] if _bare(video) in _DENIALS else _clauses(video)
    if not query_clauses or not _bare(video):
        return None
    if _within(query_clauses, video_clauses, in_order=bool(_IN_ORDER.search(query))):
        return "agrees"
    if video_clauses and _within(video_clauses, query_clauses, in_order=bool(_IN_ORDER.search(video))):
        return "partly"
    return "conflicts" if probability is not None and probability < _EVEN else "differs"


def _answer_text(answer: Answer) -> str:
    return "" if answer.error else answer.text


def _bare(text: str) -> str:
    return text.strip(" \t.。!！").casefold()


def _clauses(text: str) -> list[Clause]:
    """Return the words of each clause that says something, in the order of what happens: "A after B" is B, then A."""
    clauses: list[Clause] = []
    end, between, turns = 0, "", False
    for match in (*_CLAUSE_END.finditer(text), None):
        clause = _clause(text[end : len(text) if match is None else match.start()])
        if clause:
            was_turned = turns  # by "before A, B"
            turns = not clauses and _BEFORE.search(between) is not None
            is_earlier = was_turned or (clauses and _EARLIER.search(between) is not None)
            clauses.insert(len(clauses) - 1 if is_earlier else len(clauses), clause)
            between = ""
        if match is not None:
            between += f"{match[0]} "
            end = match.end()
    return clauses


def _clause(text: str) -> Clause:
    """Return the words of a clause; those that it denies are others than those that it says."""
    stated, *denied = _NEGATION.split(text, maxsplit=1)
    return frozenset([*query_words(stated), *(f"not {word}" for word in query_words("".join(denied)))])


def _within(clauses: Sequence[Clause], others: Sequence[Clause], in_order: bool) -> bool:
    """Return whether each clause is a part of one of the others; in_order: of a later one than the clause before."""
    start = 0
    for clause in clauses:
        places = [place for place in range(start, len(others)) if clause <= others[place]]
        if not places:
            return False
        start = places[0] + 1 if in_order else 0
    return True
