"""Vocabularies: the most frequent entities, actions and relations of a corpus, with their counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..types import Labels
from ..utils.wording import counted
from .labels import triplet_text

LEVELS = ("entities", "actions", "relations")
# What the levels of models that learn these labels are called (`protocols.ModelWithAttributes`).
LABELS_OF: Mapping[str, str] = {"entity": "entities", "action": "actions", "relation": "relations"}


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Names, most frequent first, and how many sentences have each."""

    names: tuple[str, ...]
    counts: tuple[int, ...]
    _places: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_places", {name: place for place, name in enumerate(self.names)})

    @classmethod
    def most_frequent(cls, sentences: Iterable[Iterable[str]], size: int) -> Vocabulary:
        """Return the `size` names that most sentences have (fewer, where there are fewer); of equally frequent ones
        those that come first in the alphabet.

        >>> Vocabulary.most_frequent([["dog", "cat"], ["dog"], ["ant"]], 2)
        Vocabulary(names=('dog', 'ant'), counts=(2, 1))
        """
        counter = Counter(name for sentence in sentences for name in dict.fromkeys(sentence))
        ranked = sorted(counter.items(), key=lambda entry: (-entry[1], entry[0]))[:size]
        return cls(tuple(name for name, _ in ranked), tuple(count for _, count in ranked))

    def __len__(self) -> int:
        return len(self.names)

    def multi_hot(self, names: Iterable[str]) -> NDArray[np.bool_]:
        """Return which of the vocabulary's names are among these (K,); others are passed over."""
        row = np.zeros(len(self), dtype=np.bool_)
        row[[self._places[name] for name in names if name in self._places]] = True
        return row

    def coverage(self, sentences: Iterable[Iterable[str]]) -> float:
        """Return the share of the sentences' names that the vocabulary has; 1 where they have none."""
        names = [name for sentence in sentences for name in sentence]
        return sum(name in self._places for name in names) / len(names) if names else 1.0

    def as_dict(self) -> dict[str, int]:
        """Return names with their counts, for JSON; the order is the vocabulary's."""
        return dict(zip(self.names, self.counts, strict=True))

    @classmethod
    def from_dict(cls, counts: Mapping[str, int]) -> Vocabulary:
        """Return what `as_dict` says."""
        return cls(tuple(counts), tuple(counts.values()))


@dataclass(frozen=True, slots=True)
class Vocabularies:
    """One vocabulary for each level."""

    entities: Vocabulary
    actions: Vocabulary
    relations: Vocabulary

    @classmethod
    def of(cls, captions: Sequence[Labels], entities: int, actions: int, relations: int) -> Vocabularies:
        """Return the vocabularies of captions, with at most so many names each.

        Raises:
            UsageError: no caption has an entity, or none an action: they are in a language that the parser does not
                read, or say nothing that happens.
        """
        if not captions:
            raise UsageError("there are no captions to make vocabularies of")
        sizes = dict(zip(LEVELS, (entities, actions, relations), strict=True))
        vocabularies = {
            level: Vocabulary.most_frequent((level_names(one, level) for one in captions), sizes[level])
            for level in LEVELS
        }
        for level in ("entities", "actions"):
            if not len(vocabularies[level]):
                raise UsageError(
                    f"none of the {counted(len(captions), 'caption')} has {level} (nouns or verbs) that the parser "
                    f"knows: it reads English sentences"
                )
        return cls(**vocabularies)

    def level(self, name: str) -> Vocabulary:
        """Return the vocabulary of a level."""
        return {"entities": self.entities, "actions": self.actions, "relations": self.relations}[name]

    def multi_hot(self, labels: Labels) -> dict[str, NDArray[np.bool_]]:
        """Return the labels by level, as `Vocabulary.multi_hot`."""
        return {level: self.level(level).multi_hot(level_names(labels, level)) for level in LEVELS}

    def check(self, captions: Sequence[Labels], floor: float = 0.1) -> None:
        """Raise UsageError where less than a share `floor` of the captions' entities or actions is in the vocabularies:
        these are then those of another corpus."""
        for level in ("entities", "actions"):
            share = self.level(level).coverage(level_names(one, level) for one in captions)
            if share < floor:
                raise UsageError(
                    f"the vocabularies are of another corpus: they have {share:.0%} of the {level} of these captions; "
                    f"make them of the training captions"
                )

    def as_dict(self) -> dict[str, dict[str, int]]:
        """Return plain values for JSON."""
        return {level: self.level(level).as_dict() for level in LEVELS}

    @classmethod
    def from_dict(cls, document: Any) -> Vocabularies:
        """Return what `as_dict` says. Raises UsageError where it is something else."""
        if not isinstance(document, Mapping) or set(document) != set(LEVELS):
            raise UsageError(f"vocabularies have the levels {', '.join(LEVELS)}")
        return cls(**{level: Vocabulary.from_dict(document[level]) for level in LEVELS})


def level_names(labels: Labels, level: str) -> tuple[str, ...]:
    """Return the labels of a level as texts."""
    if level == "relations":
        return tuple(map(triplet_text, labels.relations))
    return labels.entities if level == "entities" else labels.actions


def names_by_level(labels: Labels) -> dict[str, frozenset[str]]:
    """Return the labels by the levels of models that learn them: {"entity": {"ring"}, "action": ...}."""
    return {level: frozenset(level_names(labels, kind)) for level, kind in LABELS_OF.items()}
