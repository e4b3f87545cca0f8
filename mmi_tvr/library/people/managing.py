"""What a person does with the people of a library: add, list, name, merge, split, hide, forget."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...config import Section, Settings
from ...errors import UsageError
from ...protocols import FaceEncoder
from ...utils.progress import Progress
from ...utils.wording import library_option
from ..catalogue import SEARCHABLE, Catalogue, Content
from ..catalogue_file import CATALOGUE
from . import forgetting
from .bound_database import face_encoder
from .looking import INDEXING
from .names import checked_name, same_name
from .persons import NO_CONSENT, Consent, StoredPerson
from .photos import (
    Photo,
    ReadPhotos,
    SeenPhoto,
    choose_among_several,
    copies,
    doubtful,
    list_photos,
    read_photos,
    see_photos,
)
from .recognition import recognise
from .seals import Sighting
from .store import PeopleStore

_SHOWN = 3  # photos that a message names
_NAMED_BY = 5  # faces of a group that somebody named: the best by which the person is recognised from then on


@dataclass(frozen=True, slots=True)
class Added:
    """What adding photos did: `person` as stored, how many photos were `added`, which files of folders were passed over
    and why, and whether somebody had the name before."""

    person: StoredPerson
    added: int
    skipped: tuple[tuple[Path, str], ...]
    was_known: bool

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract)."""
        skipped = [{"path": str(path), "reason": reason} for path, reason in self.skipped]
        return {**self.person.as_dict(), "added": self.added, "was_known": self.was_known, "skipped": skipped}


@dataclass(frozen=True, slots=True)
class SeenAt:
    """A sighting with the number and the path of its video; both None of one that is not indexed."""

    item: int | None
    path: Path | None
    sighting: Sighting

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract)."""
        return {
            "sighting": self.sighting.number,
            "id": self.item,
            "path": None if self.path is None else str(self.path),
            "from": self.sighting.start,
            "to": self.sighting.end,
            "confidence": self.sighting.confidence,
            "by_hand": self.sighting.by_hand,
        }


class People:
    """The people of the library in a folder.

    Every change is one transaction of the store: it is whole or was not made, also where the process is killed.
    """

    def __init__(self, folder: Path, settings: Settings | None = None) -> None:
        """Refer to a library. settings: `faces`, where it was set explicitly, says which face encoder describes them.

        Raises UsageError where no library is in the folder.
        """
        Catalogue.require_file(folder / CATALOGUE)
        self.folder = folder
        self._settings = settings or Settings()

    def add(
        self,
        name: str,
        photos: Sequence[Path],
        consent: Consent = NO_CONSENT,
        *,
        face: int | None = None,
        anyway: bool = False,
        progress: Progress,
    ) -> Added:
        """Add the face of each photo to the person of a name, who is new where nobody has it.

        Decision: a photo that was named must be good, or nothing is added; of a folder, those that are not are passed
        over, and said. So are copies of pictures that are there.

        Args:
            name: of the person (`names.checked_name`).
            photos: files and folders.
            consent: where they come from.
            face: of photos with several faces, the number from the left of the one that is meant.
            anyway: add faces, too, that look like somebody else's, and copies of those that are there.
            progress: hears how far the work is.

        Raises:
            UsageError: the name or a photo cannot be taken; the message says why of each, up to three.
            MissingExtra: the face encoder is not installed.
            IndexMismatch: the library's faces were described by another face encoder.
        """
        name = checked_name(name)
        files = list_photos(photos)
        known, encoder, section = self._known()
        read = read_photos(files, encoder, face, progress)
        _decide(read.copy(), name, known, encoder.threshold, anyway)  # writes nothing where nothing can be added
        with PeopleStore.open_to_write(self.folder) as store, store.transaction():
            store.bind(section, encoder)
            known = store.known()  # somebody may have been added meanwhile
            present = _decide(read, name, known, encoder.threshold, anyway)
            store.add(name, np.stack([one.descriptor for one in read.faces]), consent)
            recognise(store, encoder.threshold)
            skipped = tuple(sorted((photo.path, reason) for photo, reason in read.problems.items()))
            return Added(store.find(name), len(read.faces), skipped, present in known)

    def see(self, photos: Sequence[Path], progress: Progress) -> list[SeenPhoto]:
        """Return the faces of photos (files and folders), from which somebody may choose; nothing is added.

        Raises:
            UsageError: a path is not there, or a folder holds no photo.
            MissingExtra: the face encoder is not installed.
        """
        _, encoder, _ = self._known()
        return see_photos(list_photos(photos), encoder, progress)

    def name(self, cluster: str, name: str) -> StoredPerson:
        """Give a group of sightings, by its number, a name; where somebody has it, the sightings become theirs."""
        name = checked_name(name)
        with self._open() as store, store.transaction():
            person = store.find(cluster)
            if person.name is not None:
                raise UsageError(
                    f"{cluster!r}: is somebody with a name; to make two people one: "
                    f"mmi-tvr people merge A B {library_option(self.folder)}"
                )
            return _named(store, person, name)

    def merge(self, kept: str, merged: str) -> StoredPerson:
        """Make two people one, who keeps the first one's name (or gets the second one's, where the first has none)."""
        with self._open() as store, store.transaction():
            one, other = store.find(kept), store.find(merged)
            if one.number == other.number:
                raise UsageError(f"{kept!r} and {merged!r} are one person already")
            if one.name is None and other.name is not None:
                one, other = other, one
            if one.name is not None and other.name is None:
                return _named(store, other, one.name)
            store.merge(one.number, other.number)
            _recognise(store)
            return store.find(one.name or str(one.number))

    def split(self, who: str, sightings: Sequence[int]) -> StoredPerson:
        """Make sightings of a person, by their numbers, a group of their own without a name."""
        with self._open() as store:
            person = store.find(who)
            theirs = {one.number for seen in store.sightings(person.number).values() for one in seen}
            foreign = sorted(set(sightings) - theirs)
            if foreign:
                raise UsageError(
                    f"{foreign[0]}: no sighting of {who} has this number; they are listed by: "
                    f"mmi-tvr people list {shlex.quote(who)} {library_option(self.folder)}"
                )
            return store.find(str(store.split(sorted(set(sightings)))))

    def hide(self, who: Sequence[str], hidden: bool = True) -> list[StoredPerson]:
        """Leave people out of lists, or list them again."""
        with self._open() as store:
            persons = [store.find(one) for one in who]
            for person in persons:
                store.hide(person.number, hidden)
            return [replace(person, hidden=hidden) for person in persons]

    def forget(self, who: str, prove: bool = False) -> forgetting.Forgotten:
        """Forget a person and all that is derived from their face (`forgetting.forget`)."""
        return forgetting.forget(self.folder, who, prove)

    def forget_all(self, prove: bool = False) -> forgetting.Forgotten:
        """Forget everybody (`forgetting.forget_all`)."""
        return forgetting.forget_all(self.folder, prove)

    def listed(self, hidden: bool = True) -> tuple[list[StoredPerson], list[StoredPerson]]:
        """Return those with a name, and those without, hidden ones only where `hidden` says so; both empty where the
        library has no people."""
        store = PeopleStore.open_to_read(self.folder)
        if store is None:
            return [], []
        with store:
            named, unnamed = store.people(), store.unnamed()
        shown = [[person for person in persons if hidden or not person.hidden] for persons in (named, unnamed)]
        return shown[0], shown[1]

    def looks_for_faces(self) -> bool:
        """Return whether new videos of the library are looked at for faces."""
        store = PeopleStore.open_to_read(self.folder)
        if store is None:
            return False
        with store:
            return bool(store.setting(INDEXING))

    def find(self, who: str) -> StoredPerson:
        """Return a person by name or number. UsageError where there is none."""
        with self._open_to_read() as store:
            return store.find(who)

    def sightings(self, who: str) -> list[SeenAt]:
        """Return where a person is seen, by path and time."""
        with self._open_to_read() as store:
            seen = store.sightings(store.find(who).number)
        contents = self._contents()
        rows = [(contents.get(content), one) for content, sightings in seen.items() for one in sightings]
        seen_at = [
            SeenAt(None, None, one) if content is None else SeenAt(content.number, content.paths[0], one)
            for content, one in rows
        ]
        return sorted(seen_at, key=lambda one: (str(one.path), one.sighting.start))

    def sighting(self, number: int) -> tuple[str, Sighting] | None:
        """Return the video (SHA-256) of a sighting, and the sighting; None where there is none of this number."""
        store = PeopleStore.open_to_read(self.folder)
        if store is None:
            return None
        with store:
            return next(((content, one) for content, (one,) in store.sightings(number=number).items()), None)

    def _contents(self) -> dict[str, Content]:
        """Return SHA-256 -> content of the videos that can be searched."""
        with closing(Catalogue.open_to_read(self.folder / CATALOGUE)) as catalogue:
            return {content.sha256: content for content in catalogue.contents_with(SEARCHABLE)}

    def _open(self) -> PeopleStore:
        """Return the store of a library that has people."""
        forgetting.require_people(self.folder)
        return PeopleStore.open_to_write(self.folder)

    def _open_to_read(self) -> PeopleStore:
        store = PeopleStore.open_to_read(self.folder)
        if store is None:
            forgetting.require_people(self.folder)  # which raises, but where somebody has just added the first
            return self._open()
        return store

    def _known(self) -> tuple[dict[str, NDArray[np.float32]], FaceEncoder, Section]:
        """Return whom the library knows, and the face encoder that describes them."""
        store = PeopleStore.open_to_read(self.folder)
        if store is None:
            return {}, *face_encoder(None, self._settings)
        with store:
            return store.known(), *face_encoder(store, self._settings)


def _decide(
    read: ReadPhotos, name: str, known: Mapping[str, NDArray[np.float32]], threshold: float, anyway: bool
) -> str:
    """Leave those faces in `read` that are to be added; return the name as it is known, if it is.

    Raises UsageError where a photo that was named cannot be taken, or none is left.
    """
    present = next((one for one in known if same_name(one, name)), name)
    choose_among_several(read, known.get(present), threshold)
    if not anyway:
        read.set_aside(doubtful(read.faces, present, known, threshold))
    _refuse_unusable(name, read)
    if not anyway:
        read.set_aside(copies(read.faces, known.get(present), threshold))
    if not read.faces:
        raise UsageError(_nothing_added(name, read.problems))
    return present


def _named(store: PeopleStore, cluster: StoredPerson, name: str) -> StoredPerson:
    """Give a cluster a name, and return the person as stored."""
    best = _best(one for seen in store.sightings(cluster.number).values() for one in seen)
    store.name_cluster(cluster.number, name, np.stack([one.descriptor for one in best]))
    _recognise(store)
    return store.find(name)


def _recognise(store: PeopleStore) -> None:
    threshold = store.threshold()
    if threshold is not None:
        recognise(store, threshold)


def _best(sightings: Iterable[Sighting]) -> list[Sighting]:
    """Return the sightings with the largest faces."""
    by_size = sorted(sightings, key=lambda one: -one.quality.size)
    return by_size[:_NAMED_BY]


def _refuse_unusable(name: str, read: ReadPhotos) -> None:
    """Raise UsageError where a photo that was named cannot be taken, or none can."""
    unusable = {photo: reason for photo, reason in read.problems.items() if photo.was_named or not read.faces}
    if unusable:
        raise UsageError(_nothing_added(name, unusable))


def _nothing_added(name: str, problems: Mapping[Photo, str]) -> str:
    shown = [f"{photo.path}: {reason}" for photo, reason in problems.items()][:_SHOWN]
    more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return f"nothing was added to {name}: {'; '.join(shown)}{more}"
