"""What a sentence excludes where people stand in it: "[anna] without [ben]" asks for one, and for no picture of the
other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..errors import UnreadableQuery
from ..types import Query
from ..utils.chinese import has_chinese
from .negation import QueryParts, split

_HANDLE = re.compile(r"\[([^\[\]]+)\]")
_BETWEEN = re.compile(r"\W|[和与跟及或]|\b(?:and|or|with|nor|the)\b", re.IGNORECASE)  # what joins people
_EXCEPT = re.compile(r"\b(?:not\s+with|except(?:\s+for)?)\s+(?=\[)", re.IGNORECASE)  # the grammar knows "without"
_SOMETHING = ("a dog, ", "一只狗，")  # in front of a sentence, so that it does not only exclude


@dataclass(frozen=True, slots=True)
class ParsedQuery:
    """A query in parts: what is looked for (`positive`, with its people alone), each thing that is not to be there,
    and the handles of the people who are not to be seen (`absent`)."""

    positive: Query
    excluded: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


def parse(query: Query) -> ParsedQuery:
    """Return the parts of a query (`negation`). Beside an example, a sentence may say only what is not to be there.

    People who are excluded by themselves are absent; an excluded part that says more of them ("[ben] on a bike") is one
    like any other. People whose handles are not in the text are to be seen, whatever it says.

    Raises:
        UnreadableQuery: nothing is asked for but that somebody is absent.
    """
    handles = [handle for handle in dict.fromkeys(_HANDLE.findall(query.text)) if handle in query.persons]
    if not handles:
        parts = split(query.text)
        if query.example is not None and says_only_what_is_excluded(query.text):  # the example is what is looked for
            return ParsedQuery(
                replace(query, text=""), split(_SOMETHING[has_chinese(query.text)] + query.text).excluded
            )
        return ParsedQuery(replace(query, text=parts.positive) if parts.excluded else query, parts.excluded)
    words = _stand_ins(query.text, handles)
    written = replace(query, text=_EXCEPT.sub("without ", query.text)).text_with(words)
    parts = _split(written, words)
    excluded, absent = [], []
    for part in parts.excluded:
        people = [handle for handle in _HANDLE.findall(part) if handle in words]
        if people and not _BETWEEN.sub("", _HANDLE.sub(" ", part)):
            absent += people
        else:
            excluded.append(part)
    if not parts.excluded:
        return ParsedQuery(query)
    elsewhere = {handle for handle in handles if f"[{handle}]" not in parts.positive}
    persons = {handle: person for handle, person in query.persons.items() if handle not in elsewhere}
    return ParsedQuery(replace(query, text=parts.positive, persons=persons), tuple(excluded), tuple(absent))


def says_only_what_is_excluded(text: str) -> bool:
    """Return whether a sentence says nothing but what is not to be there.

    >>> [says_only_what_is_excluded(text) for text in ("without people", "no dogs", "people", "没有人")]
    [True, True, False, True]
    """
    something = _SOMETHING[has_chinese(text)]
    parts = split(something + text)
    return bool(parts.excluded) and parts.positive.strip(" ,，") == something.strip(" ,，")


def names_people_only(query: Query) -> bool:
    """Return whether a query says nothing but whom it looks for.

    >>> import numpy as np
    >>> from mmi_tvr.types import Person
    >>> persons = {name: Person(np.zeros((0, 4), np.float32), "maker", name) for name in ("anna", "ben")}
    >>> [names_people_only(Query(text, persons=persons)) for text in ("[anna] and [ben]", "[anna] runs")]
    [True, False]
    """
    rest = query.text_with(dict.fromkeys(query.persons, " "))
    return bool(query.persons) and query.example is None and not _BETWEEN.sub("", rest)


def _split(text: str, words: Mapping[str, str]) -> QueryParts:
    """Return the parts of a sentence in which words stand for handles, with the handles put back."""
    parts = split(text)
    if not parts.excluded and says_only_what_is_excluded(text):
        raise UnreadableQuery('the query says only who is not to be there; say what is: "a beach without [ben]"')
    return QueryParts(_put_back(parts.positive, words), tuple(_put_back(part, words) for part in parts.excluded))


def _put_back(text: str, words: Mapping[str, str]) -> str:
    for handle, word in words.items():
        text = text.replace(word, f"[{handle}]").replace(word.removeprefix("the "), f"[{handle}]")
    return text


def _stand_ins(text: str, handles: list[str]) -> dict[str, str]:
    """Return a word for each handle that the grammar takes for a thing, and that the text has not.

    In English it has an article, behind which anything may be excluded ("[anna] but not [ben]").
    """
    stem = "qz"
    while stem in text:
        stem += "z"
    article = "" if has_chinese(_HANDLE.sub("", text)) else "the "
    return {handle: f"{article}{stem}{_letters(number)}x" for number, handle in enumerate(handles)}


def _letters(number: int) -> str:
    """Return a number in letters, a to z, none of which is the beginning of another of as many handles."""
    letters = ""
    while True:
        number, digit = divmod(number, 16)
        letters += chr(ord("a") + digit)
        if not number:
            return letters
