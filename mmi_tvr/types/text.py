"""Texts of people and of servers, as everything behind may take them."""

from __future__ import annotations

import re
import unicodedata

# Controls that are white space (tab, line breaks, U+0085) part words; all others, and byte order marks, mean nothing.
_CONTROLS = {code: " " if chr(code).isspace() else None for code in (*range(0x20), *range(0x7F, 0xA0), 0xFEFF)}
_UNCLEAN = re.compile("[\0-\x1f\x7f-\x9f\ufeff\ud800-\udfff]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_MAX_MARKS = 30  # on one letter: Unicode's stream-safe format (UAX 15); composing takes the square of their number
_SHORT = 4096  # characters that are composed quickly whatever they are


def clean_text(text: str) -> str:
    """Return a text that every tokenizer, file format and page can take; ordinary text stays as it is.

    Halves of a character (lone surrogates) become U+FFFD and two that belong together one character; NUL and other
    control characters go, those that part words (tabs, line breaks) become spaces; the rest is in the composed form of
    Unicode (NFC), so that a word is the same word however it was typed. Cleaning twice changes nothing more.

    >>> clean_text("a\\tdog\\0 \\ud83d"), clean_text("cafe\\u0301") == "caf\\u00e9"
    ('a dog \ufffd', True)
    """
    if text.isascii() and text.isprintable():
        return text
    if _UNCLEAN.search(text):
        if _SURROGATES.search(text):
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        text = text.translate(_CONTROLS)
    return _without_stacked_marks(unicodedata.normalize("NFC", _without_stacked_marks(text)))


def _without_stacked_marks(text: str) -> str:
    """Drop the combining marks of a long text that stand behind the first _MAX_MARKS of a letter."""
    if len(text) <= _SHORT:
        return text
    characters, marks = [], 0
    for character in text:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks <= _MAX_MARKS:
            characters.append(character)
    return "".join(characters)
