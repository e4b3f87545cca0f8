"""The words of descriptions, as SQLite's full-text search (FTS5) takes them in English and in Chinese.

Decision: words are cut here, and FTS5 counts them (BM25). Chinese has no spaces, so a run of it is its characters and
its pairs of neighbours; of English words the plural goes (the S-stemmer of Harman, "How effective is suffixing?",
1991).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from ..utils.chinese import CHARACTERS, has_chinese

_RUN = re.compile(rf"[{CHARACTERS}]+|[^\W{CHARACTERS}]+")  # all of one language
_COMMON = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "at",
        "by",
        "for",
        "from",
        "has",
        "have",
        "in",
        "into",
        "is",
        "it",
        "its",
        "of",
        "on",
        "or",
        "that",
        "the",
        "their",
        "then",
        "there",
        "they",
        "this",
        "to",
        "was",
        "were",
        "which",
        "with",
        "的",
        "了",
        "在",
        "是",
        "着",
        "有",
        "和",
    ]
)


def indexed_words(text: str) -> list[str]:
    """Return the words by which a text is found.

    >>> indexed_words("Two dogs"), indexed_words("红圆环")
    (['two', 'dog'], ['红', '圆', '环', '红圆', '圆环'])
    """
    words: list[str] = []
    for run in _runs(text):
        if has_chinese(run):
            words += [*run, *(run[at : at + 2] for at in range(len(run) - 1))]
        else:
            words.append(stem(run))
    return words


def query_words(text: str) -> tuple[str, ...]:
    """Return the words that a query looks for, each once, without those that are everywhere.

    >>> query_words("the red dog and a red cat"), query_words("一只狗")
    (('red', 'dog', 'cat'), ('一只', '只狗'))
    """
    words: list[str] = []
    for run in _runs(text):
        if not has_chinese(run):
            words.append(stem(run))
        else:
            words += [run] if len(run) == 1 else [run[at : at + 2] for at in range(len(run) - 1)]
    return tuple(dict.fromkeys(word for word in words if word not in _COMMON))


def stem(word: str) -> str:
    """Return an English word without the ending of its plural.

    >>> [stem(word) for word in ("dogs", "ponies", "grass", "boxes", "bus")]
    ['dog', 'pony', 'grass', 'boxe', 'bus']
    """
    if len(word) > 4 and word.endswith("ies") and word[-4] not in "ae":
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and word[-2] not in "us":
        return word[:-1]
    return word


def _runs(text: str) -> Iterator[str]:
    for match in _RUN.finditer(unicodedata.normalize("NFKC", text).casefold()):
        yield match[0]
