"""Which characters are Chinese, for whatever reads sentences of both languages."""

from __future__ import annotations

import re

CHARACTERS = "\u3400-\u9fff"  # as they stand in a class of a regular expression
_CHINESE = re.compile(f"[{CHARACTERS}]")


def has_chinese(text: str) -> bool:
    """Return whether a text has a Chinese character.

    >>> has_chinese("一只 dog"), has_chinese("a dog")
    (True, False)
    """
    return bool(_CHINESE.search(text))
