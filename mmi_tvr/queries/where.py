"""What a search is restricted to, as people write it: LEVEL=NAME."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import UsageError


def parse_where(texts: Iterable[str]) -> dict[str, set[str]]:
    """Return names of classes by level. Raises UsageError for a text without a level or a name.

    >>> parse_where(["action=spins", "entity = red ring"])
    {'action': {'spins'}, 'entity': {'red ring'}}
    """
    classes: dict[str, set[str]] = {}
    for text in texts:
        level, equals, name = text.partition("=")
        if not equals or not level.strip() or not name.strip():
            raise UsageError(f"where: a class is written LEVEL=NAME, such as action=spins, not {text!r:.60}")
        classes.setdefault(level.strip(), set()).add(name.strip())
    return classes
