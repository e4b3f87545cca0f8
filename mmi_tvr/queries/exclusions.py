"""What is not to be there, said apart from the sentence: it counts as it does behind "without" in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..errors import UnreadableQuery, UsageError
from ..types import clean_text
from .negation import MAX_EXCLUDED
from .persons import names_people_only, says_only_what_is_excluded
from .prepared import PreparedQuery


def checked_exclusions(value: object) -> tuple[str, ...]:
    """Return sentences about what is not to be there, cleaned; one alone may stand for a list.

    Raises UsageError for one that is empty, says "no" itself, or is none, and where they are too many.

    >>> checked_exclusions([" people "])
    ('people',)
    """
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, Sequence) or isinstance(listed, bytes) or not all(isinstance(one, str) for one in listed):
        raise UsageError(f"without is a sentence or a list of such, not {value!r:.60} ({type(value).__name__})")
    texts = [clean_text(text).strip() for text in listed]
    if not all(texts):
        raise UsageError("without (--not) is empty: say what is not to be there")
    for text in texts:
        if says_only_what_is_excluded(text):
            raise UsageError(f"what is not to be there is said without a no (--not people), not {text!r:.60}")
    if len(texts) > MAX_EXCLUDED:
        raise UsageError(f"at most {MAX_EXCLUDED} things can be excluded, not {len(texts)}")
    return tuple(dict.fromkeys(texts))


def excluding(query: PreparedQuery, exclusions: Sequence[PreparedQuery]) -> PreparedQuery:
    """Return a query that excludes besides what these name, which are read as they stand: people by whom they were
    recognised, and all else by its score.

    Raises UnreadableQuery where one of them is what the query looks for, or nothing is looked for.
    """
    if not exclusions:
        return query
    if not query.positive.text and query.positive.example is None and not query.positive.persons:
        raise UnreadableQuery("the query says only what is not to be there; say what is")
    excluded, absent = [*query.excluded], [*query.absent]
    persons = dict(query.query.persons)
    for one in exclusions:
        if one.positive.text.casefold() in (query.positive.text.casefold(), query.query.text.casefold()):
            raise UnreadableQuery(f"{one.query.text!r:.60} is what the query looks for: it cannot be excluded as well")
        persons |= one.positive.persons
        if names_people_only(one.positive):
            absent += one.positive.persons
        else:
            excluded.append(one.positive.text)
    if len(excluded) > MAX_EXCLUDED:
        raise UnreadableQuery(f"at most {MAX_EXCLUDED} things can be excluded, not {len(excluded)}")
    remarks = (*query.remarks, *(remark for one in exclusions for remark in one.remarks))
    return replace(
        query,
        query=replace(query.query, persons=persons),
        excluded=tuple(dict.fromkeys(excluded)),
        absent=tuple(dict.fromkeys(absent)),
        remarks=tuple(dict.fromkeys(remarks)),
    )
