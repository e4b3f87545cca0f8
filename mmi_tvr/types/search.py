"""What is searched for, and what comes back."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError
from .answers import Explanation
from .examples import QueryExample
from .facets import Where
from .media import MediaFacts, MediaKind
from .people import Appearance, Person
from .text import clean_text

_HANDLE = re.compile(r"\[([^\[\]]+)\]")
_SOMEBODY = "a person"
SEEN = "seen"  # the channel that every library has: key images through its model


@dataclass(frozen=True, slots=True)
class Query:
    """What a person asks for, cleaned (`clean_text`). `cut`: it was longer, and this is its beginning.

    `where` restricts the search to videos that show all of these classes, by level: {"action": {"spins"}}. A single
    name, or a list, may stand for a set.

    `persons` maps handles to who stands at their place in the text, in brackets: "[anna] dances" and {"anna": Person}.
    Brackets that hold no handle are text like any other. Somebody whose handle is not in the text is to be in the
    video, whatever the text says.

    With an `example`, hits are to be like it, besides what the text says, which may be empty then.
    """

    text: str
    cut: bool = False
    where: Where = field(default_factory=dict, hash=False)
    persons: Mapping[str, Person] = field(default_factory=dict, hash=False)
    example: QueryExample | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise UsageError(f"the text of a query is a str, not {self.text!r:.60} ({type(self.text).__name__})")
        object.__setattr__(self, "text", clean_text(self.text))
        object.__setattr__(self, "where", as_where(self.where))

    @property
    def spoken(self) -> str:
        """The text for whoever reads text alone: names, or "a person", at the places of handles.

        >>> face = np.ones((1, 1), np.float32)
        >>> Query("[a] waves to [b]", persons={"a": Person(face, "", "anna"), "b": Person(face, "")}).spoken
        'anna waves to a person'
        """
        return self.text_with({handle: person.name or _SOMEBODY for handle, person in self.persons.items()})

    @property
    def title(self) -> str:
        """What is looked for, as people read it: the text, and what it is to be like."""
        like = f"like {self.example.title}" if self.example else ""
        return ", ".join(part for part in (self.text, like) if part)

    def pieces(self) -> Iterator[tuple[str, Person | None]]:
        """Yield the text in order: stretches of it with None, and handles, without brackets, with who stands there."""
        start = 0
        for place in _HANDLE.finditer(self.text):
            if place[1] in self.persons:
                yield self.text[start : place.start()], None
                yield place[1], self.persons[place[1]]
                start = place.end()
        yield self.text[start:], None

    def without_names(self) -> Query:
        """Return the query with people who have no names, for language models: names stay on this machine."""
        if not self.persons:
            return self
        return replace(self, persons={handle: replace(one, name="") for handle, one in self.persons.items()})

    def without_faces(self) -> Query:
        """Return the query with people who have names alone, for models that read faces otherwise, or none."""
        if not self.persons:
            return self
        nobody = np.empty((0, 0), np.float32)
        return replace(self, persons={key: replace(one, faces=nobody, maker="") for key, one in self.persons.items()})

    def text_with(self, words: Mapping[str, str]) -> str:
        """Return the text with words, by handle, at the places of handles; other brackets stay as they are."""
        return _HANDLE.sub(lambda place: words.get(place[1], place[0]), self.text)


def as_where(value: object) -> dict[str, frozenset[str]]:
    """Return names of classes by level, cleaned; a level without any is left out. UsageError for anything else."""
    if not isinstance(value, Mapping) or not all(_are_names(*item) for item in value.items()):
        example = "{'action': ['spins']}"
        raise UsageError(f"where maps levels to names of classes, such as {example}, not {value!r:.60}")
    classes: dict[str, frozenset[str]] = {}
    for level, names in value.items():
        listed = [names] if isinstance(names, str) else names
        if listed:
            classes[clean_text(level)] = frozenset(clean_text(name).strip() for name in listed)
    return classes


def _are_names(level: object, names: object) -> bool:
    """Return whether these are a level and a name, or a list of names."""
    return isinstance(level, str) and isinstance(names, Collection) and all(isinstance(name, str) for name in names)


@dataclass(frozen=True, slots=True)
class DescriptionMatch:
    """What a video was described as, and how that matches a query: the `words` that both have, the `cosine` of the two,
    and how well it matches by words (BM25, 0 or more)."""

    text: str
    words: tuple[str, ...]
    cosine: float
    word_score: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract: `description` of a hit)."""
        return {"text": self.text, "words": list(self.words), "cosine": self.cosine}


@dataclass(frozen=True, slots=True)
class HitMoment:
    """A stretch of a hit, in seconds, by the channel that found it; `text` is what is said or written there."""

    start: float
    end: float
    found_by: str = SEEN
    text: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract: one of `moments` of a hit)."""
        return {
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "found_by": self.found_by,
            "text": self.text,
        }


@dataclass(frozen=True, slots=True)
class SimilarItem:
    """A near-duplicate of a hit: its number in the library, and its path."""

    id: int
    path: Path

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract: one of `similar` of a hit)."""
        return {"id": self.id, "path": str(self.path)}


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer: the best moment of a video.

    `score` is that of the search, re-ranked or not, by the model's own measure, and comparable within one query;
    `relevance` is in 0..1 and comparable across queries (see `mmi_tvr.search`); `scores` names the parts that made
    `score`; `copies` are further paths of the same content; `explanation` is there after a re-ranking.

    Existing files come first among `path` and `copies`; `missing` are those at which there is no file now, because it
    was moved or deleted, or because its disk is away. Where `path` itself is missing, all are.

    `description` is what the video answered, where it was described. `labels` holds, by level, what the query names and
    the video reliably shows, the likeliest first, where the model reads such classes off. `people` are those who were
    recognised in the video, first those whom the query names, in order of time.

    `id` is the video's number in its library, which no other video is ever given; None outside of one. `facts` say
    whether it is a video or a picture, and when and where it was taken; `companions` are further files of the same item
    (the clip of a live photo, the RAW photo of a picture). The times of a still picture are 0.

    `found_by` names the channels that found it, the surest first, and `moments` the stretches that they found, the best
    first; none: what was seen, from `start` to `end`. Where nothing can be seen in an item, or the model saw nothing of
    the query in it, `score` is that of the channel.

    `similar` are near-duplicates that would have been hits behind it, and are shown as one with it.
    """

    path: Path
    start: float
    end: float
    time: float
    score: float
    relevance: float
    scores: Mapping[str, float] = field(default_factory=dict)
    copies: tuple[Path, ...] = ()
    explanation: Explanation | None = None
    missing: tuple[Path, ...] = ()
    description: DescriptionMatch | None = None
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    id: int | None = None
    people: tuple[Appearance, ...] = ()
    facts: MediaFacts = field(default_factory=MediaFacts)
    companions: tuple[Path, ...] = ()
    found_by: tuple[str, ...] = (SEEN,)
    moments: tuple[HitMoment, ...] = ()
    similar: tuple[SimilarItem, ...] = ()

    @property
    def kind(self) -> MediaKind:
        """Whether it is a video, an image or audio."""
        return self.facts.kind

    @property
    def is_missing(self) -> bool:
        """Whether there is no file at any of its paths."""
        return self.path in self.missing

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract: a hit of `mmi-tvr search --json`)."""
        document: dict[str, Any] = {
            "id": self.id,
            "path": str(self.path),
            "kind": self.kind,
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "time": round(self.time, 3),
            "score": self.score,
            "relevance": self.relevance,
            "scores": dict(self.scores),
            "also": [str(path) for path in self.copies],
            "missing": self.is_missing,
            "also_missing": [str(path) for path in self.copies if path in self.missing],
            "found_by": list(self.found_by),
            "moments": [moment.as_dict() for moment in self.moments or (HitMoment(self.start, self.end),)],
        }
        if self.similar:
            document["similar"] = [item.as_dict() for item in self.similar]
        if self.companions:
            document["companions"] = [str(path) for path in self.companions]
        if self.facts.date_source:
            date = self.facts.local_date()
            document |= {"date": date and date.isoformat(), "date_source": self.facts.date_source}
        if self.labels:
            document["labels"] = {level: list(names) for level, names in self.labels.items()}
        if self.people:
            document["people"] = [one.as_dict() for one in self.people]
        if self.description:
            document["description"] = self.description.as_dict()
        if self.explanation:
            document["skeleton"] = self.explanation.as_dict()
        return document
