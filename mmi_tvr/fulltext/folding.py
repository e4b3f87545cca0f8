"""Texts as the full-text index compares them: words, and single characters where a script has no spaces.

Decisions: upper and lower case, full and half width, accents of Latin, Greek and Cyrillic letters, and traditional and
simplified Chinese are one. Chinese is folded character by character (OpenCC's table), not by phrases: a part of a text
then folds as the whole does, and is found in it. Chinese, Japanese, Korean, Thai, Lao, Tibetan, Burmese and Khmer are
indexed by characters; a query looks for pairs of them (`query`).
"""

from __future__ import annotations

import re
import unicodedata
from importlib import metadata

from ..utils.chinese import has_chinese
from ..utils.hashing import digest
from ..utils.installation import require
from ..utils.loading import loaded_once

EXTRA = "fulltext"
_VERSION = 1  # of the rules below
# Thai, Lao, Tibetan, Burmese; Khmer; iteration marks, kana; Chinese; Korean; compatibility and rare Chinese characters.
_UNSPACED = re.compile(
    "[\u0e00-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
_KANA_OR_HANGUL = re.compile("[\u3040-\u30ff\uac00-\ud7af]")
_ACCENTED = re.compile("([A-Za-z\u00c0-\u058f])[\u0300-\u036f]+")


def tokens(text: str) -> list[str]:
    """Return the words of a text, folded, in order.

    >>> tokens("Crème brûlée, ＮＯ．７: 紅色的 car!")
    ['creme', 'brulee', 'no', '7', '红', '色', '的', 'car']
    """
    words = [""]  # the last one may go on
    for character in fold(text):
        if is_unspaced(character):
            words.extend((character, ""))
        elif unicodedata.category(character)[0] in "LMN":
            words[-1] += character
        else:
            words.append("")
    return [word for word in words if word]


def fold(text: str) -> str:
    """Return a text in which what counts as one is one. Folding twice changes nothing more.

    >>> fold("ÉCOLE 學校") == fold("école 学校")
    True
    """
    text = unicodedata.normalize("NFKD", text.casefold())
    text = unicodedata.normalize("NFKC", _ACCENTED.sub(r"\1", text)).casefold()
    return text if text.isascii() else text.translate(_simplified())


def simplified(text: str) -> str:
    """Return a Chinese text in simplified characters, and any other one, also a Japanese or Korean one, as it is.

    >>> simplified("設定 29 度"), simplified("時刻を設定する")
    ('设定 29 度', '時刻を設定する')
    """
    return text.translate(_simplified()) if has_chinese(text) and not _KANA_OR_HANGUL.search(text) else text


def is_unspaced(character: str) -> bool:
    """Return whether a character's script has no spaces between words."""
    return bool(_UNSPACED.match(character))


def fingerprint() -> str:
    """Return a hash of all that changes a folded text."""
    require("opencc", EXTRA)
    return digest(_VERSION, unicodedata.unidata_version, metadata.version("opencc"))


class _Simplified(dict[int, str]):
    """The simplified form of every character, by code point, as `str.translate` asks for it; looked up once."""

    def __init__(self) -> None:
        super().__init__()
        self._convert = require("opencc", EXTRA).OpenCC("t2s").convert

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if is_unspaced(character):
            simplified = self._convert(character)
            character = simplified if len(simplified) == 1 else character
        self[code] = character
        return character


@loaded_once
def _simplified() -> _Simplified:
    return _Simplified()
