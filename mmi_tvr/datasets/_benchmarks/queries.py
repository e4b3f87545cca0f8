"""Queries about people from what is known of samples: who is in them, where, and doing what."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np

from ...errors import UsageError
from ...media.names import PICTURE_SUFFIXES
from ...types import EvaluationQuery, Person, PersonPicture, Query, Video, clean_text
from .benchmark import Benchmark

SOMEBODY = "a person"
_WORDS = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class SampleFacts:
    """What is known of a sample; `person` is a handle, "" where nobody is named."""

    sample_id: str
    person: str
    places: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BenchmarkWithQueries(Benchmark):
    """A split with queries of its own (`protocols.QueryDataset`), of people to learn from (`protocols.PersonDataset`).

    `queries` name samples that are there alone; `pictures` show people by handle; `people` are the handles of the
    samples, in their order, and `names` those that are spoken.
    """

    queries: tuple[EvaluationQuery, ...] = ()
    pictures: Mapping[str, tuple[PersonPicture, ...]] = field(default_factory=dict)
    people: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)

    def evaluation_queries(self) -> tuple[EvaluationQuery, ...]:
        return self.queries

    def person_pictures(self) -> Mapping[str, tuple[PersonPicture, ...]]:
        return self.pictures

    def identities(self) -> tuple[str, ...]:
        return self.people

    def person_names(self) -> Mapping[str, str]:
        return self.names


def handle_of(name: str) -> str:
    """Return the handle of somebody's name, which stands in brackets in a query.

    >>> handle_of("Zoë  [Saldaña]"), handle_of("n000012")
    ('Zoë Saldaña', 'n000012')
    """
    return " ".join(clean_text(name).replace("[", " ").replace("]", " ").split())


def person_queries(
    facts: Iterable[SampleFacts],
    templates: Mapping[str, str],
    names: Mapping[str, str],
    group_of: Callable[[str, str], str] = lambda group, person: group,
) -> list[EvaluationQuery]:
    """Return a query for every combination that some sample has, in the order of the samples.

    Args:
        facts: of the samples.
        templates: by group, with {p}, {place} and {action} at their places.
        names: what is spoken of people, by handle.
        group_of: the group that a query is reported with, of a template's group and a handle.
    """
    right: dict[tuple[str, str, str], dict[str, None]] = {}  # group, handle and text -> ids
    for one in facts:
        for group, template in templates.items():
            handle = one.person if "{p}" in template else ""
            for text in _texts(template, one):
                right.setdefault((group_of(group, handle), handle, text), {})[one.sample_id] = None
    nobody = np.zeros((0, 0), np.float32)
    return [
        EvaluationQuery(
            Query(text, persons={handle: Person(nobody, "", names.get(handle, ""))} if handle else {}),
            frozenset(ids),
            group,
        )
        for (group, handle, text), ids in right.items()
    ]


def _texts(template: str, facts: SampleFacts) -> Iterator[str]:
    """Yield a template with all places and actions of a sample; nothing where it has not what the template says."""
    places = facts.places if "{place}" in template else ("",)
    actions = facts.actions if "{action}" in template else ("",)
    speaks_of_people = "{p}" in template
    person = f"[{facts.person}]" if facts.person else SOMEBODY
    for place, action in product(places, actions):
        if facts.person or not speaks_of_people or place or action:
            yield template.format(p=person, place=place, action=action)


def portrait_folders(root: Path) -> dict[str, tuple[PersonPicture, ...]]:
    """Return the pictures of people in folders of their names, by the letters and digits of these (`key_of`).

    Raises UsageError where `root` is no folder.
    """
    if not root.is_dir():
        raise UsageError(f"{root}: not a folder of pictures of people (a folder for each, of their name)")
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    return {key_of(folder.name): portraits_in(folder) for folder in folders}


def portraits_in(folder: Path) -> tuple[PersonPicture, ...]:
    """Return the pictures in a folder, by name."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file())
    return tuple(PersonPicture(Video(path.absolute(), picture=True)) for path in files)


def key_of(name: str) -> str:
    """Return a name as it is looked up: lower case, with one space for whatever is no letter or digit.

    >>> key_of("Zoe_Saldana "), key_of("zoe saldana")
    ('zoe saldana', 'zoe saldana')
    """
    return _WORDS.sub(" ", clean_text(name).casefold()).strip()
