"""What a person types, as a question to the full-text index.

Words stand in any order and need not all be there; the rarer ones that are, count more (BM25). What stands in quotation
marks must be there, letter for letter but for what folding makes one (`folding`). Of a script without spaces, every two
neighbouring characters count as a word, as in Lucene: single characters say too little, and no dictionary is needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from .folding import is_unspaced, tokens

_QUOTED = re.compile('"([^"]*)"|“([^”]*)”|「([^」]*)」|『([^』]*)』')
_MOST_TERMS = 256  # what a query has beyond them is not looked for


@dataclass(frozen=True, slots=True)
class WordQuery:
    """Terms of one word or of several that follow one another, folded, with single spaces."""

    terms: tuple[str, ...]
    exact: tuple[str, ...]  # must be there as they are

    @property
    def expression(self) -> str | None:
        """The query in the language of FTS5; None where there is nothing to look for."""
        exact = [phrase(words) for words in self.exact]
        ranked = " OR ".join(exact + [phrase(words) for words in self.terms])
        return " AND ".join([*exact, f"({ranked})"]) if ranked else None


def parse(text: str) -> WordQuery:
    """Return what is looked for.

    >>> parse('the "red car" in 北京市')
    WordQuery(terms=('the', 'in', '北 京', '京 市'), exact=('red car',))
    """
    quoted = [" ".join(tokens("".join(filter(None, match.groups())))) for match in _QUOTED.finditer(text)]
    exact = dict.fromkeys(words for words in quoted if words)
    terms = dict.fromkeys(_terms(_QUOTED.sub(" \n ", text)))
    return WordQuery(tuple(terms)[:_MOST_TERMS], tuple(exact)[:_MOST_TERMS])


def _terms(text: str) -> Iterator[str]:
    run: list[str] = []
    for part in text.split():
        for token in tokens(part):
            if is_unspaced(token):
                run.append(token)
                continue
            yield from _pairs(run)
            run = []
            yield token
        yield from _pairs(run)
        run = []


def _pairs(run: list[str]) -> Iterator[str]:
    """Neighbouring characters of a run; a lone one by itself."""
    if len(run) == 1:
        yield run[0]
    for one, other in pairwise(run):
        yield f"{one} {other}"


def phrase(words: str) -> str:
    """Return words that follow one another in the language of FTS5."""
    return f'"{words}"'
