"""Parses from a file of CoNLL-U, as CoreNLP, Stanza and UDPipe write them.

Ten columns with tabs between them, a line a word, an empty line behind a sentence
(https://universaldependencies.org/format.html). Comments, words of several tokens (1-2) and empty nodes (1.1) are
passed over. Dependencies are Universal ones (`universal.translated`), or ClearNLP's, as spaCy's English models have
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import UsageError
from ..types import clean_text
from ..utils import textfiles
from ..utils.hashing import file_digest
from .parsing import ParsedText, Parser, Token, is_latin, unparsed
from .universal import translated

_COLUMNS = 10
_ID, _FORM, _LEMMA, _PART, _HEAD, _DEPENDENCY = 0, 1, 2, 3, 6, 7
_CLEAR_NLP = frozenset({"dobj", "pobj", "nsubjpass", "auxpass", "attr", "acomp", "dative", "prep"})
_SHOWN = 60  # characters of a sentence in a message


class ConlluParser:
    """A `parsing.Parser` that knows the sentences of one file.

    A text is the sentences that have its letters and digits, one or several in a row: programs split words and texts
    as they like, and not all of them write the text down. One that is mostly not in Latin letters need not be there:
    it is left unparsed, as by `SpacyParser`.
    """

    def __init__(self, path: Path, otherwise: Parser | None = None) -> None:
        """Read the file.

        Args:
            path: of the file.
            otherwise: parses the texts that the file does not have; None: such a text is an error.

        Raises:
            UsageError: the file is no CoNLL-U.
        """
        self._path, self._otherwise = path, otherwise
        self._sentences = {_letters("".join(token.text for token in sentence)): sentence for sentence in read(path)}
        self._longest = max(map(len, self._sentences), default=0)

    def parse(self, texts: Sequence[str]) -> Iterator[ParsedText]:
        """Yield each text parsed, in order. Raises UsageError for one that nobody parses."""
        for text in texts:
            if not is_latin(text):
                yield unparsed(text)
            elif (parsed := self._parsed(text)) is not None:
                yield parsed
            elif self._otherwise is not None:
                yield from self._otherwise.parse([text])
            else:
                raise UsageError(
                    f"{self._path}: has no parse of {clean_text(text)[:_SHOWN]!r}: parse all captions of the data set"
                )

    def fingerprint(self) -> str:
        """Return the hash of the file."""
        return file_digest(self._path)

    def _parsed(self, text: str) -> ParsedText | None:
        """Return a text as the file has it; None where it does not."""
        rest = _letters(text)
        tokens: list[Token] = []
        while rest:
            lengths = range(min(len(rest), self._longest), 0, -1)
            length = next((length for length in lengths if rest[:length] in self._sentences), 0)
            if not length:
                return None
            start = len(tokens)
            tokens += [token._replace(head=token.head + start) for token in self._sentences[rest[:length]]]
            rest = rest[length:]
        return tuple(tokens)


def read(path: Path) -> list[ParsedText]:
    """Return the sentences of a CoNLL-U file. Raises UsageError, with the line, where it is none."""
    sentences, rows = [], list[tuple[int, list[str]]]()
    try:
        with path.open("rb") as stream:
            for number, line in textfiles.numbered_lines(stream, path):
                if line.strip():
                    if not line.startswith("#"):
                        rows.append((number, line.split("\t")))
                elif rows:
                    sentences.append(_sentence(rows, path))
                    rows = []
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    if rows:
        sentences.append(_sentence(rows, path))
    if not sentences:
        raise UsageError(f"{path}: has no sentence of CoNLL-U")
    return sentences


def _sentence(rows: Sequence[tuple[int, list[str]]], path: Path) -> ParsedText:
    for number, row in rows:
        if len(row) != _COLUMNS:
            raise UsageError(f"{path}, line {number}: {len(row)} columns with tabs between them, and CoNLL-U has 10")
    words = [(number, row) for number, row in rows if row[_ID].isdigit()]
    places = {row[_ID]: place for place, (_, row) in enumerate(words)}
    tokens = []
    for place, (number, row) in enumerate(words):
        head = place if row[_HEAD] == "0" else places.get(row[_HEAD])
        if head is None:
            raise UsageError(f"{path}, line {number}: depends on word {row[_HEAD]!r}, which the sentence does not have")
        lemma = row[_FORM] if row[_LEMMA] == "_" else row[_LEMMA]
        tokens.append(Token(row[_FORM], lemma.lower(), row[_PART], row[_DEPENDENCY], head))
    for place, (number, _) in enumerate(words):
        if not _has_root(tokens, place):
            raise UsageError(f"{path}, line {number}: depends on itself by way of other words; parse it once more")
    is_clear = any(token.dependency in _CLEAR_NLP for token in tokens)
    return tuple(tokens) if is_clear else translated(tuple(tokens))


def _has_root(tokens: Sequence[Token], place: int) -> bool:
    """Return whether the heads above a word end at a root."""
    for _ in tokens:
        if tokens[place].head == place:
            return True
        place = tokens[place].head
    return False


def _letters(text: str) -> str:
    """Return the letters and digits of a text, in lower case."""
    return "".join(character for character in text.lower() if character.isalnum())
