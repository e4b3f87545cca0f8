"""How much of a long text is read: a tower reads so many tokens, and what lies behind them counts for nothing."""

from __future__ import annotations

from collections.abc import Callable

# Of a text, more is never handed to a tokenizer: ten times what any text tower here reads, and milliseconds of work.
MAX_CHARACTERS = 8192
_SURROUNDING = 8  # tokens that a tower sets around a text, at most


def characters_read(text: str, tokens: Callable[[str], int], limit: int) -> int:
    """Return how many characters of a text, from its start, a tower reads.

    Args:
        text: the text.
        tokens: counts the tokens of a text, with those that stand around it.
        limit: the tokens that the tower reads.
    Returns:
        The length of the longest beginning that has at most `limit` tokens.
    """
    least, most = 0, min(len(text), MAX_CHARACTERS)
    if text.isascii() and len(text) <= limit - _SURROUNDING:  # the usual case: none has less than a character
        return len(text)
    if tokens(text[:most]) <= limit:
        return most
    while least < most - 1:  # `least` characters fit, `most` do not
        middle = (least + most) // 2
        if tokens(text[:middle]) <= limit:
            least = middle
        else:
            most = middle
    return least
