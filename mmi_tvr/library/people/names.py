"""Names of people: which can be given, and when two are one."""

from __future__ import annotations

import unicodedata

from ...errors import UsageError
from ...queries.names import folded
from ...utils.names import composed
from ...utils.printable import UNSAFE, printable

MAX_LENGTH = 80  # characters
_BRACKETS = "[]"


def checked_name(name: str) -> str:
    """Return a name in the composed form of Unicode, with one space between words and none around them.

    Raises UsageError for what cannot stand in brackets in a query, or cannot be told from something else: an empty
    name, one with brackets, with control or invisible characters, a number (unnamed people have those), what begins as
    an option does, one without a letter, and one of more than MAX_LENGTH characters.
    """
    written = composed(name)
    shown = f"'{printable(written)}'"
    if not written.strip():
        raise UsageError("a name is needed: mmi-tvr people add NAME PHOTO...")
    if UNSAFE.search(written):
        raise UsageError(f"{shown}: a name has no control or invisible characters; leave them out")
    cleaned = " ".join(written.split())
    if any(mark in cleaned for mark in _BRACKETS):
        raise UsageError(f"{shown}: a name has no brackets, because queries put it in brackets; leave them out")
    if cleaned.isdigit():
        raise UsageError(f"{shown}: numbers are those of people without a name; write a name with a letter")
    if cleaned.startswith("-"):
        raise UsageError(f"{shown}: a name does not begin with '-'; leave it out")
    if not any(unicodedata.category(character)[0] in "LNS" for character in cleaned):
        raise UsageError(f"{shown}: a name has a letter; write one")
    if len(cleaned) > MAX_LENGTH:
        raise UsageError(f"{shown[:20]}...': {len(cleaned)} characters are too long for a name; at most {MAX_LENGTH}")
    return cleaned


def same_name(one: str, other: str) -> bool:
    """Return whether two names are one, as queries read them: in any case, with any spaces or underscores.

    >>> same_name("Zoë  Müller", "zoe\\u0308_müller"), same_name("Ann", "Anna")
    (True, False)
    """
    return folded(one) == folded(other)
