"""Sentences that say what is not to be there, by a small grammar: "a beach without people" is a beach, and no people.

A model that embeds the whole of such a sentence looks for people, too. Decision: the grammar splits what it is sure of
(a thing, a person, or something that happens, behind words that exclude it), and leaves every other sentence as it is:
what is negated otherwise ("is not moving", "without falling"), what cannot be seen ("no sound"), idioms ("no longer",
"nothing but"), quotations and other languages. The order of what happens ("a car and then a bike") is the model's
business.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..utils.chinese import has_chinese
from . import negation_chinese, negation_english

MAX_EXCLUDED = 4  # parts of one sentence
_MAX_CHARACTERS = 400  # a sentence or two: what is longer is a text, and read as it stands


@dataclass(frozen=True, slots=True)
class QueryParts:
    """A sentence as it is scored: what is looked for, and each thing that is not to be there."""

    positive: str
    excluded: tuple[str, ...] = ()


def split(text: str) -> QueryParts:
    """Return the parts of a sentence in English or Chinese; where nothing is excluded, the sentence itself.

    >>> split("a dog, but no person")
    QueryParts(positive='a dog', excluded=('person',))
    >>> split("没有人的街道")
    QueryParts(positive='街道', excluded=('人',))
    >>> split("a car and then a bike").excluded
    ()
    """
    if len(text) > _MAX_CHARACTERS:
        return QueryParts(text)
    grammar = negation_chinese if has_chinese(text) else negation_english
    rest = text
    excluded: list[str] = []
    while len(excluded) <= MAX_EXCLUDED:
        exclusion = grammar.first_exclusion(rest)
        if exclusion is None:
            break
        rest, parts = exclusion
        excluded += parts
    if not excluded or len(excluded) > MAX_EXCLUDED or not grammar.says_something(rest):
        return QueryParts(text)
    return QueryParts(rest, tuple(dict.fromkeys(excluded)))
