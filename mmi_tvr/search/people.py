"""The people that a query names: in which videos they were recognised, and what is said of the hits for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ..errors import UsageError
from ..protocols import AppearanceSource, Model, ModelReadingFaces
from ..queries import PreparedQuery
from ..scoring.appearances import merged, stretches
from ..scoring.decision import Decision, nobody_is_there
from ..types import Appearance
from ..utils.wording import model_title


@dataclass(frozen=True, slots=True)
class PeopleSelection:
    """Where the people of a query are: `videos` are those that may be searched (None: all).

    `appearances` are of the people who are looked for, by video; `counts` says in how many of the videos each of them
    is, by what they are called; `unseen` counts videos in which nobody has looked for faces.
    """

    videos: frozenset[int] | None = None
    appearances: Mapping[int, tuple[Appearance, ...]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    unseen: int = 0

    @property
    def restricts(self) -> bool:
        """Whether the search is among the videos in which people who are looked for were recognised."""
        return self.videos is not None and bool(self.counts)

    def seconds(self) -> dict[int, float]:
        """Return video -> how long those who are looked for are in its picture, all of them together."""
        return {number: sum(one.end - one.start for one in self.appearances[number]) for number in self.videos or ()}

    def confidences(self) -> dict[int, float]:
        """Return video -> how surely all who are looked for are in it, 0..1: by the one of whom that is least sure."""
        return {number: min(self._best(number).values()) for number in self.videos or ()}

    def _best(self, number: int) -> dict[str, float]:
        best: dict[str, float] = {}
        for one in self.appearances[number]:
            best[one.name] = max(best.get(one.name, 0.0), min(1.0, one.confidence))
        return best

    def seen(self, number: int) -> list[tuple[float, float]]:
        """Return the stretches of a video in which those who are looked for are in the picture."""
        return stretches(self.appearances.get(number, ()), self.counts)

    def decision(self, videos: int) -> Decision:
        """Return the decision where none of so many videos may be searched."""
        return nobody_is_there(self.counts, videos, self.unseen)

    def of_hit(self, number: int, everybody: Iterable[Appearance]) -> tuple[Appearance, ...]:
        """Return who is in a video, those who are looked for first."""
        first = self.appearances.get(number, ())
        names = {one.name for one in first}
        return (*first, *merged(one for one in everybody if one.name not in names))


EVERYBODY = PeopleSelection()


def reads_faces(model: Model, query: PreparedQuery) -> bool:
    """Return whether a model reads the faces of all people of a query: it reads some, and they are of its encoder."""
    if "persons" not in model.reads:
        return False
    if not isinstance(model, ModelReadingFaces):
        return True
    makers = {person.maker for person in query.query.persons.values() if len(person.faces)}
    return not makers or makers == {model.face_encoder().fingerprint()}


def select_people(
    source: AppearanceSource | None,
    model: Model,
    query: PreparedQuery,
    by_sight: bool,
    all_videos: Callable[[], frozenset[int]],
) -> PeopleSelection:
    """Return where the people of a query are.

    Args:
        source: who was recognised; None: nobody knows.
        model: what is called so where nobody knows.
        query: names people to look for, and people who are not to be there.
        by_sight: whether it is restricted to the videos in which they were recognised.
        all_videos: the numbers of the videos that are searched.

    Raises:
        UsageError: people are named, and nobody can know where they are; or their faces are of another encoder.
    """
    persons, absent = query.positive.persons, [query.query.persons[handle] for handle in query.absent]
    if not persons and not absent:
        return EVERYBODY
    if source is None:
        if not by_sight and not absent:
            return EVERYBODY
        raise UsageError(f"{model_title(model)} sees no faces, and nobody has looked for people in these videos")
    videos: frozenset[int] | None = None
    appearances: dict[int, list[Appearance]] = {}
    counts: dict[str, int] = {}
    for handle, person in persons.items():
        seen = source.appearances(person)
        counts[person.name or handle] = len(seen)
        for number, of_one in seen.items():
            appearances.setdefault(number, []).extend(of_one)
        if by_sight:
            videos = frozenset(seen) if videos is None else videos & frozenset(seen)
    for person in absent:
        videos = (all_videos() if videos is None else videos) - frozenset(source.appearances(person))
    joined = {number: tuple(merged(of_one)) for number, of_one in appearances.items()}
    return PeopleSelection(videos, joined, counts, source.unseen())
