r"""Names and texts of others as a person may safely see them: nothing that a terminal would obey, nothing invisible.

File names are bytes. What of them is no text is spelled as Python spells it (`\xff`), and so are control characters
(`\x1b`, `\n`) and what turns the direction of writing (`\u202e`), in terminals, tables and pages alike. For programs
there is JSON, which says the bytes themselves (`utils.strict_json`).
"""

from __future__ import annotations

import os
import re

# Control characters, line and paragraph separators, marks of direction, invisible characters, halves of characters.
# Joiners (U+200C, U+200D) stay: scripts and emoji need them.
UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def printable(text: object, keep: str = "") -> str:
    r"""Return a text (or path) on one line, with everything that a terminal would obey or hide spelled out.

    keep: of these characters, those that are layout here ("\n" in a text of several lines).

    >>> printable("a\x1b[31m\n\udcff.mp4"), printable("two\nlines", keep="\n")
    ('a\\x1b[31m\\n\\xff.mp4', 'two\nlines')
    """
    plain = str(text)
    if plain.isprintable():
        return plain
    return UNSAFE.sub(lambda match: match[0] if match[0] in keep else spelled(match[0]), decoded(plain))


def decoded(text: str) -> str:
    """Return a file name as UTF-8 where its bytes are that and the locale did not know; else as it is."""
    try:
        return os.fsencode(text).decode("utf-8")
    except UnicodeError:
        return text


def spelled(character: str) -> str:
    """Return one character (or byte of a name that is no text) as Python writes it in a literal."""
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is no text (PEP 383)
        return f"\\x{number - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
