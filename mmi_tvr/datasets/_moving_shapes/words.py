"""Tables and lists of words."""

from __future__ import annotations

from collections.abc import Sequence


def table(text: str) -> dict[str, tuple[tuple[str, ...], ...]]:
    """Read lines of "action: form|form" as a mapping from each action to its synonyms.

    >>> table("up: rises|rise")
    {'up': (('rises', 'rise'),)}
    """
    synonyms: dict[str, tuple[tuple[str, ...], ...]] = {}
    for line in text.strip().splitlines():
        action, forms = line.split(": ")
        synonyms[action] = (*synonyms.get(action, ()), tuple(forms.split("|")))
    return synonyms


def listed(words: Sequence[str], comma: str = ", ", last: str = " and ") -> str:
    """Join words as a list in a sentence.

    >>> listed(["a ring"]), listed(["a ring", "a cross", "a star"])
    ('a ring', 'a ring, a cross and a star')
    """
    return last.join([comma.join(words[:-1]), words[-1]] if len(words) > 1 else words)
