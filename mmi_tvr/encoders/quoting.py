"""A person's text as part of a prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

TOKEN_CHARACTERS = 32  # more than a token has on average: what lies behind is not read, and not looked at


def quote(text: str, limit: int, special_tokens: Sequence[str], first_tokens: Callable[[str, int], str]) -> str:
    """Return the first tokens of a text, in which neither a special token nor the end of a quotation can be written.

    Args:
        text: of a person.
        limit: in tokens.
        special_tokens: of the tokenizer.
        first_tokens: returns the beginning of a text that has so many tokens at most.
    """
    text = text[: TOKEN_CHARACTERS * limit].replace('"', "'")
    for special in sorted(special_tokens, key=len, reverse=True):
        text = text.replace(special, f"{special[0]} {special[1:]}")
    return first_tokens(text, limit)


def first_tokens(tokenizer: Any, text: str, limit: int) -> str:
    """Return the beginning of a text that has so many tokens at most."""
    offsets = tokenizer(text, add_special_tokens=False, truncation=True, max_length=limit, return_offsets_mapping=True)[
        "offset_mapping"
    ]
    return text[: offsets[-1][1]] if offsets else ""
