"""Forgetting a person: what goes, the receipt of it, and the proof.

Everything that is derived from their face goes, in one transaction: name, consent, descriptors of photos, sightings,
and all the keys. Decision: the sightings go whole, and so do unnamed ones that look like the person (by the encoder's
own threshold), because a descriptor that stays is the same face under a number, and the next grouping would show it
again. Their videos stay looked at, so that a later run does not find the face anew. What cannot be prevented: in a new
video of that person the face is described as anybody's, without a name; to leave out who was forgotten would take a
memory of them.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MmiTvrError, UsageError
from ...types import FloatArray
from ...utils.wording import library_option
from . import database
from .persons import StoredPerson
from .proof import Evidence, Trace, traces
from .recognition import recognise
from .seals import Sighting, descriptor_bytes
from .store import PeopleStore


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was removed: counts by what it was, and the SHA-256 of `salt` and each descriptor (float32).

    `alike` are sightings without a name that look like the person. Whoever has a descriptor can see that it was among
    those, and nobody can see a face by a hash. The name has no hash: of names, there are few enough to try them all.
    """

    people: int = 0
    photos: int = 0
    faces: int = 0
    sightings: int = 0
    videos: int = 0
    alike: int = 0
    consents: int = 0
    keys: int = 0
    salt: str = ""
    sha256: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract)."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What a forgetting did. `traces` are None where no proof was asked for; `was_known` is False where nobody had the
    name, so that the proof is about the name alone."""

    removed: Receipt
    traces: tuple[Trace, ...] | None
    was_known: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract)."""
        document: dict[str, Any] = {"removed": self.removed.as_dict()}
        if self.traces is not None:
            document["traces"] = [trace.as_dict() for trace in self.traces]
        return document


def forget(folder: Path, who: str, prove: bool = False) -> Forgotten:
    """Forget a person, by name or by the number of a cluster.

    Args:
        folder: the library.
        who: name or number.
        prove: read every file of the library for what is left.

    Raises:
        UsageError: nobody is called so, and there is nothing to prove.
    """
    require_people(folder)
    with PeopleStore.open_to_write(folder) as store:
        try:
            person = store.find(who)
        except UsageError:
            if not prove:
                raise
            return Forgotten(Receipt(), tuple(traces(folder, Evidence.of([who], (), ()))), was_known=False)
        removed, evidence = _shred(store, [person])
    return Forgotten(removed, tuple(traces(folder, evidence)) if prove else None)


def forget_all(folder: Path, prove: bool = False) -> Forgotten:
    """Forget everybody, named or not, and that faces were looked for at all; also where the files cannot be read any
    more, of which nothing can be counted, nor proved but that they are gone.

    Raises UsageError where the library has no people.
    """
    require_people(folder)
    try:
        store = PeopleStore.open_to_write(folder)
    except MmiTvrError:
        database.erase(folder)
        return Forgotten(Receipt(), () if prove else None, was_known=False)
    with store:
        removed, evidence = _shred(store, [*store.people(), *store.unnamed()])
        store.shred_all()
    return Forgotten(removed, tuple(traces(folder, evidence)) if prove else None)


def require_people(folder: Path) -> None:
    """Raise UsageError where a library has no people."""
    if not database.has_people(folder):
        raise UsageError(
            f"{folder}: nobody is known in this library; add somebody: "
            f"mmi-tvr people add NAME PHOTO... {library_option(folder)}"
        )


def _shred(store: PeopleStore, persons: Sequence[StoredPerson]) -> tuple[Receipt, Evidence]:
    """Remove persons; return what that was, and what must be nowhere from now on."""
    numbers = {person.number for person in persons}
    faces = [store.faces(person.number) for person in persons]
    sightings = [one for seen in store.sightings().values() for one in seen]
    theirs = [one for one in sightings if one.cluster in numbers]
    known = [*(face for vectors in faces for face in vectors), *(one.descriptor for one in theirs)]
    unnamed = [one for one in sightings if one.name is None and one.cluster not in numbers]
    threshold = store.threshold()
    alike = _alike(unnamed, known, threshold)
    descriptors = [*known, *(one.descriptor for one in alike)]
    sealed = store.secrets_of(numbers, [one.number for one in alike])
    means = [_mean_face(vectors) for vectors in faces if len(vectors) > 1]  # what a query may carry of a person
    names = [person.name for person in persons if person.name is not None]
    evidence = Evidence.of(names, [*descriptors, *means], sealed)
    salt = secrets.token_bytes(16)
    removed = Receipt(
        people=len(persons),
        photos=sum(person.photos for person in persons),
        faces=sum(map(len, faces)),
        sightings=len(theirs),
        videos=len({content for person in persons for content in store.sightings(person.number)}),
        alike=len(alike),
        consents=sum(len(person.consents) for person in persons),
        keys=len(persons) + len(descriptors),
        salt=salt.hex(),
        sha256=tuple(hashlib.sha256(salt + descriptor_bytes(one)).hexdigest() for one in descriptors),
    )
    store.shred(numbers, [one.number for one in alike])
    if threshold is not None:
        recognise(store, threshold)  # the face of somebody else may be near enough, now that nobody is nearer
    return removed, evidence


def _alike(sightings: Sequence[Sighting], known: Sequence[FloatArray], threshold: float | None) -> list[Sighting]:
    """Return the sightings that look like one of these faces (F,)."""
    if threshold is None or not known:
        return []
    vectors = np.stack(known)
    return [one for one in sightings if float((vectors @ one.descriptor).max()) >= threshold]


def _mean_face(faces: FloatArray) -> NDArray[np.float32]:
    """Return the mean of descriptors (n, F), as a unit vector."""
    mean = np.asarray(faces, np.float32).mean(0)
    unit: NDArray[np.float32] = mean / np.float32(max(float(np.linalg.norm(mean)), 1e-12))
    return unit
