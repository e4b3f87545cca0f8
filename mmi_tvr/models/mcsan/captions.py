"""Captions as words, and their role graphs; a model's vocabularies, and labels as rows of numbers."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelNotFound, UsageError
from ...lexicon.conllu import ConlluParser
from ...lexicon.parsing import ParsedText, Parser, SpacyParser
from ...lexicon.roles import RoleArrays, RoleGraph, arrays, read_hgr, role_graph
from ...lexicon.store import PARSES_FILE, ParseStore
from ...lexicon.vocabulary import LEVELS as LABEL_LEVELS
from ...lexicon.vocabulary import Vocabularies
from ...types import Labels
from ...utils import array_cache
from ...utils.chinese import CHARACTERS
from ...utils.files import write_atomically
from ...utils.loading import late_property

PADDING, UNKNOWN = 0, 1  # numbers of words; those of the vocabulary follow
VERBS = 4  # nodes of a role graph that are verbs; phrases follow
_WORDS = re.compile(rf"[{CHARACTERS}]|[^\W_{CHARACTERS}]+(?:['’][^\W_{CHARACTERS}]+)*")
_MOST_WORDS = 30_000  # of a vocabulary


class ReadCaption(NamedTuple):
    """The words of a caption that are read, in lower case, at least one; and their role graph, where one is read."""

    words: tuple[str, ...]
    graph: RoleArrays | None


class CaptionReader:
    """Splits captions into words. With `roles` they are the parser's words, and a role graph comes with them.

    What lies behind the first words (`characters_read`) is not looked at, by the parser neither.
    """

    def __init__(self, *, roles: bool, words: int, parses: str | None = None) -> None:
        """Read the first `words` words of every caption.

        Args:
            roles: read role graphs.
            words: how many.
            parses: a CoNLL-U file of parsed captions; the parser gets what is not in it.
        """
        self._roles, self._words, self._parses = roles, words, parses
        self._read: dict[str, ReadCaption] = {}
        self._published: dict[str, RoleGraph] = {}  # by caption
        self._files: set[Path] = set()

    def use(self, path: Path) -> None:
        """Take role graphs from a file of HGR's; they come before the parser's. UsageError where it cannot be read."""
        if self._roles and path not in self._files:
            self._published |= read_hgr(path)
            self._files.add(path)

    def remember(self, captions: Iterable[str]) -> None:
        """Parse captions that will be read often; parses are kept in the user's cache. Without roles nothing is done.

        Raises MissingExtra where there is no parser.
        """
        if self._roles:
            texts = list(dict.fromkeys(self._cut(text) for text in captions if text not in self._published))
            if not texts:
                return
            with ParseStore(array_cache.folder() / PARSES_FILE, self._parser) as store:
                self._read |= dict(zip(texts, map(self._graph, store.parsed(texts)), strict=True))

    def read(self, captions: Sequence[str]) -> list[ReadCaption]:
        """Return each caption as words. Raises MissingExtra where there is no parser and one is needed."""
        if not self._roles:
            return [ReadCaption(_or_empty(split(text)[: self._words]), None) for text in captions]
        texts = {text: self._cut(text) for text in captions if text not in self._published}
        pending = [text for text in dict.fromkeys(texts.values()) if text not in self._read]
        parsed = dict(zip(pending, map(self._graph, self._parser.parse(pending)), strict=True)) if pending else {}
        known = {text: parsed[cut] if cut in parsed else self._read[cut] for text, cut in texts.items()}
        return [known[text] if text in known else self._with_graph(self._published[text]) for text in captions]

    def characters_read(self, text: str) -> int:
        """Return how many characters of a text, from its start, are read; len(text) where all are."""
        ends = [match.end() for match in islice(_WORDS.finditer(text), self._words + 1)]
        return ends[self._words - 1] if len(ends) > self._words else len(text)

    @late_property
    def _parser(self) -> Parser:
        return ConlluParser(Path(self._parses), SpacyParser()) if self._parses else SpacyParser()

    def _cut(self, text: str) -> str:
        """Return what the parser gets of a text: a file has whole ones."""
        return text if self._parses else text[: self.characters_read(text)]

    def _graph(self, parsed: ParsedText) -> ReadCaption:
        return self._with_graph(role_graph(parsed))

    def _with_graph(self, graph: RoleGraph) -> ReadCaption:
        words = _or_empty(tuple(word.lower() for word in graph.words)[: self._words])
        return ReadCaption(words, arrays(graph, self._words))


def split(text: str) -> tuple[str, ...]:
    """Return the words of a text in lower case; Chinese characters are words.

    >>> split("A man's red-ball, 左")
    ('a', "man's", 'red', 'ball', '左')
    """
    return tuple(word.lower() for word in _WORDS.findall(text))


def _or_empty(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words, or one empty one: a network reads at least one."""
    return words or ("",)


@dataclass(frozen=True)
class Lexicon:
    """The `words` that a model knows, and its vocabularies of `labels`."""

    words: tuple[str, ...]
    labels: Vocabularies
    _word_numbers: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_word_numbers", {word: number for number, word in enumerate(self.words, UNKNOWN + 1)})

    @classmethod
    def of(cls, captions: Iterable[ReadCaption], labels: Vocabularies) -> Lexicon:
        """Return the lexicon of training captions: all their words, the most frequent ones of very many."""
        counts = Counter(word for caption in captions for word in caption.words if word)
        ranked = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))[:_MOST_WORDS]
        return cls(tuple(word for word, _ in ranked), labels)

    @property
    def word_rows(self) -> int:
        """The number of words with padding and the unknown word."""
        return len(self.words) + UNKNOWN + 1

    def numbers(self, captions: Sequence[ReadCaption], longest: int) -> NDArray[np.int64]:
        """Return the words of captions as numbers (B, longest), PADDING behind."""
        rows = np.full((len(captions), longest), PADDING, dtype=np.int64)
        for row, caption in zip(rows, captions, strict=True):
            row[: len(caption.words)] = [self._word_numbers.get(word, UNKNOWN) for word in caption.words]
        return rows

    def multi_hot(self, labels: Sequence[Labels]) -> dict[str, NDArray[np.bool_]]:
        """Return which labels hold, (B, K) for each level of `lexicon.vocabulary.LEVELS`; unknown ones are left out."""
        rows = {level: np.zeros((len(labels), len(self.labels.level(level))), dtype=np.bool_) for level in LABEL_LEVELS}
        for number, one in enumerate(labels):
            for level, row in self.labels.multi_hot(one).items():
                rows[level][number] = row
        return rows

    def write(self, path: Path) -> None:
        """Write the lexicon as JSON."""
        document = {"words": list(self.words), "labels": self.labels.as_dict()}
        write_atomically(path, json.dumps(document, ensure_ascii=False).encode())

    @classmethod
    def load(cls, path: Path) -> Lexicon:
        """Return what `write` wrote. ModelNotFound where that is missing or damaged."""
        try:
            document: Any = json.loads(path.read_text(encoding="utf-8"))
            return cls(tuple(map(str, document["words"])), Vocabularies.from_dict(document["labels"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
            raise ModelNotFound(f"{path}: no vocabularies of a trained model; copy the folder once more") from error


def caption_remarks(caption: ReadCaption, lexicon: Lexicon, levels: Sequence[str]) -> list[str]:
    """Return what the `levels` of words cannot make of a caption: it has no known word, or its graph no verb."""
    if (lexicon.numbers([caption], len(caption.words)) == UNKNOWN).all():
        return [
            "the model knows none of the words of this query, which are of another language or world than those it was "
            f"trained on: of {', '.join(levels)} it says nothing"
        ]
    if "action" in levels and caption.graph is not None and not caption.graph.masks[:VERBS].any():
        return ["the query has no verb: its action is read off all its words"]
    return []
