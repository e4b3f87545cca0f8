"""`PeopleStore`: whom a library knows, by which faces, and where in its videos they are seen.

A *person* is somebody by their number. One with a name is known by faces: of photos, or of a group of sightings that
somebody named. One without is a *cluster*: sightings that look like one person. A *sighting* is a face in a stretch of
a video, and belongs to one person. Names, consent, descriptors, and where in a video somebody is seen are sealed; a row
whose key is gone is not there.

Any number of processes may read while one writes; each call sees one state.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError
from ...types import FloatArray
from ...utils.wording import library_option
from .bound_database import BoundDatabase
from .names import same_name
from .persons import NO_CONSENT, Consent, StoredPerson
from .seals import Sighting, as_descriptor, as_sighting, descriptor_bytes, seal, sighting_bytes

_PERSONS = """
    SELECT id, consent, key, hidden,
        (SELECT COUNT(*) FROM face WHERE face.person = person.id AND from_photo),
        (SELECT COUNT(*) FROM face WHERE face.person = person.id),
        (SELECT COUNT(*) FROM sighting WHERE sighting.person = person.id),
        (SELECT COUNT(DISTINCT content) FROM sighting WHERE sighting.person = person.id)
    FROM person JOIN keys.person_key USING (id) ORDER BY id
"""
_PROBLEMS = "problems"  # setting: content -> reason
_EMPTY_CLUSTERS = "DELETE FROM person WHERE name IS NULL AND id NOT IN (SELECT person FROM sighting)"


class PeopleStore(BoundDatabase):
    """The people of a library, open (`open_to_write`, `open_to_read`)."""

    # Who there is

    def people(self) -> list[StoredPerson]:
        """Return those with a name, by name."""
        named = (person for person in self._persons() if person.name is not None)
        return sorted(named, key=lambda person: str(person.name).casefold())

    def unnamed(self) -> list[StoredPerson]:
        """Return the clusters, the one with most sightings first."""
        clusters = (person for person in self._persons() if person.name is None)
        return sorted(clusters, key=lambda person: (-person.sightings, person.number))

    def find(self, text: str) -> StoredPerson:
        """Return the person of a name (in any case), or of a cluster's number. UsageError where there is none."""
        persons = self._persons()
        for person in persons:
            if person.name is not None and same_name(person.name, text):
                return person
            if person.name is None and text == str(person.number):
                return person
        if text.isdigit():
            raise UsageError(
                f"{text}: no unnamed person has this number; those that there are: "
                f"mmi-tvr people list {library_option(self.folder)}"
            )
        known = ", ".join(sorted(person.name for person in persons if person.name is not None)) or "nobody"
        raise UsageError(f"{text!r}: nobody is called so here (there are: {known})")

    def names(self, hidden: bool = True) -> dict[int, str]:
        """Return number -> name of those with one; hidden people only where `hidden` says so. Costs no look at
        sightings."""
        with self.reading():
            names = self._names()
            left_out = () if hidden else self.rows("SELECT id FROM person WHERE hidden")
        return {number: name for number, name in names.items() if (number,) not in left_out}

    def known(self) -> dict[str, NDArray[np.float32]]:
        """Return name -> descriptors (n, F) of those with a name: whom faces are held against (`people.naming`)."""
        sql = "SELECT person, sealed, key FROM face JOIN keys.face_key USING (id) ORDER BY id"
        with self.reading():
            names = self._names()
            faces: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names.values()}
            for person, sealed, key in self.rows(sql):
                if person in names:
                    faces[names[person]].append(as_descriptor(self.opened(key, sealed, "face")))
        return {name: np.stack(vectors) for name, vectors in faces.items() if vectors}

    def faces(self, person: int) -> NDArray[np.float32]:
        """Return the descriptors (n, F) by which a person is recognised; (0, 0) of a cluster."""
        rows = self.rows(
            "SELECT sealed, key FROM face JOIN keys.face_key USING (id) WHERE person = ? ORDER BY id", person
        )
        vectors = [as_descriptor(self.opened(key, sealed, "face")) for sealed, key in rows]
        return np.stack(vectors) if vectors else np.empty((0, 0), np.float32)

    def _persons(self) -> list[StoredPerson]:
        with self.reading():
            names, rows = self._names(), self.rows(_PERSONS)
        return [
            StoredPerson(
                number,
                names.get(number),
                photos,
                faces,
                sightings,
                videos,
                self._opened_consents(key, consent),
                bool(hidden),
            )
            for number, consent, key, hidden, photos, faces, sightings, videos in rows
        ]

    def _names(self) -> dict[int, str]:
        sql = "SELECT id, name, key FROM person JOIN keys.person_key USING (id) WHERE name IS NOT NULL"
        return {number: self.opened(key, name, "name").decode() for number, name, key in self.rows(sql)}

    # Changes to people; each is one transaction

    def add(self, name: str, faces: FloatArray, consent: Consent = NO_CONSENT) -> StoredPerson:
        """Add faces (n, F) of photos to the person of a name, who is new where nobody has it. The name is checked
        (`names.checked_name`). Returns the person as stored."""
        with self.transaction():
            number = self._number_of(name)
            if number is None:
                number = self._new_person()
                self._set_name(number, name)
            self._add_faces(number, faces, from_photo=True)
            self._add_consent(number, consent)
        return self.find(name)

    def name_cluster(self, cluster: int, name: str, faces: FloatArray) -> StoredPerson:
        """Give a cluster a name; where somebody has it, the sightings become theirs. From now on, the person is also
        recognised by `faces` (n, F) of these sightings."""
        with self.transaction():
            self._key(cluster)  # it was not forgotten meanwhile
            self.connection.execute("UPDATE sighting SET by_hand = 1 WHERE person = ?", (cluster,))
            number = self._number_of(name)
            if number is None:
                number = cluster
                self._set_name(cluster, name)
            else:
                self._absorb(number, cluster)
            self._add_faces(number, faces, from_photo=False)
        return self.find(name)

    def merge(self, kept: int, merged: int) -> None:
        """Make two persons one: faces, sightings and consent of the second become the first one's."""
        with self.transaction():
            self._key(merged)
            names = self._names()
            unnamed = [(number,) for number in (kept, merged) if number not in names]
            self.connection.executemany("UPDATE sighting SET by_hand = 1 WHERE person = ?", unnamed)
            for entry in self._consents(merged):
                self._add_consent(kept, entry)
            self._absorb(kept, merged)

    def split(self, sightings: Collection[int]) -> int:
        """Make sightings a cluster of their own, whose number is returned. Recognition leaves them there."""
        with self.transaction():
            number = self._new_person()
            rows = [(number, sighting) for sighting in sightings]
            self.connection.executemany(
                "UPDATE sighting SET person = ?, confidence = 0, by_hand = 1 WHERE id = ?", rows
            )
            self._tidy()
        return number

    def hide(self, person: int, hidden: bool = True) -> None:
        """Leave a person out of lists, or list them again."""
        with self.transaction():
            self.connection.execute("UPDATE person SET hidden = ? WHERE id = ?", (hidden, person))

    # Sightings

    def pending(self, contents: Iterable[str]) -> list[str]:
        """Return those videos, by SHA-256, in which nobody looked for faces yet, in the order given."""
        looked = {content for (content,) in self.rows("SELECT content FROM looked")}
        return [content for content in contents if content not in looked]

    def put_sightings(self, content: str, sightings: Iterable[Sighting]) -> None:
        """Store who is seen in a video (SHA-256), in the place of what was stored of it; it is pending no more.

        A sighting with a name that nobody has (any more) is not stored: they were forgotten meanwhile. One without is a
        cluster by itself, until `regroup`. Of a new video, this costs what its sightings do, however many there are.
        """
        stored = [*sightings]
        with self.transaction():
            self._forget_contents([content])
            names = self._names() if any(sighting.name is not None for sighting in stored) else {}
            numbers = {name: number for number, name in names.items()}
            for sighting in stored:
                if sighting.name is None:
                    person = self._new_person()
                elif sighting.name in numbers:
                    person = numbers[sighting.name]
                else:
                    continue
                columns = {"content": content, "person": person}
                columns |= {"confidence": sighting.confidence, "by_hand": sighting.by_hand}
                self.insert("sighting", "sighting", sighting_bytes(sighting), **columns)
            self.connection.execute("INSERT INTO looked VALUES (?)", (content,))

    def set_aside(self, content: str, reason: str) -> None:
        """Note why nobody can look for faces in a video; it is pending no more."""
        with self.transaction():
            self.put_sightings(content, ())
            self.set_setting(_PROBLEMS, {**self.problems(), content: reason})

    def problems(self) -> dict[str, str]:
        """Return content -> reason of the videos that were set aside."""
        return self.setting(_PROBLEMS) or {}

    def keep_contents(self, contents: Collection[str]) -> None:
        """Forget what is stored of all other videos; of their sightings, no page holds anything afterwards."""
        stored = {content for (content,) in self.rows("SELECT content FROM looked")}
        if obsolete := stored.difference(contents):
            with self.transaction():
                self._forget_contents(obsolete)
                problems = {content: reason for content, reason in self.problems().items() if content in contents}
                self.set_setting(_PROBLEMS, problems)
            self.finish_forgetting()

    def counts(self) -> tuple[int, int]:
        """Return how many have a name, and how many have none. Opens no seal."""
        ((named, unnamed),) = self.rows("SELECT COUNT(name), COUNT(*) - COUNT(name) FROM person")
        return named, unnamed

    def sightings(
        self, person: int | None = None, contents: Iterable[str] | None = None, number: int | None = None
    ) -> dict[str, list[Sighting]]:
        """Return content -> sightings in order of time: of one person, in these videos, the one of this number (None:
        all)."""
        sql = (
            "SELECT id, content, person, confidence, by_hand, sealed, key FROM sighting "
            "JOIN keys.sighting_key USING (id) WHERE (person = ?1 OR ?1 IS NULL) "
            "AND (?2 IS NULL OR content IN (SELECT value FROM json_each(?2))) AND (id = ?3 OR ?3 IS NULL) ORDER BY id"
        )
        among = None if contents is None else json.dumps([*contents])
        seen: dict[str, list[Sighting]] = {}
        with self.reading():
            names = self._names()
            for row, content, cluster, confidence, by_hand, sealed, key in self.rows(sql, person, among, number):
                name = names.get(cluster)
                sighting = as_sighting(
                    self.opened(key, sealed, "sighting"),
                    name=name,
                    confidence=1.0 if by_hand and name is not None else confidence,
                    cluster=cluster,
                    number=row,
                    by_hand=bool(by_hand),
                )
                seen.setdefault(content, []).append(sighting)
        return {content: sorted(sightings, key=lambda one: one.start) for content, sightings in seen.items()}

    def regroup(self, named: Mapping[str, Sequence[tuple[int, float]]], clusters: Sequence[Sequence[int]]) -> None:
        """Say whose sightings are, by their numbers. The others stay, and those of which somebody said it by hand.

        Args:
            named: name -> sightings and their confidence (`Sighting.confidence`).
            clusters: sightings of one person each, whom nobody named. Most keep their number: that of the cluster that
                most of their sightings are of.
        """
        with self.transaction():
            numbers = {name: number for number, name in self._names().items()}
            rows: list[tuple[int, float, int]] = []  # person, confidence, sighting
            for name, members in named.items():
                if name in numbers:  # else forgotten meanwhile
                    rows += [(numbers[name], confidence, number) for number, confidence in members]
            taken = set(numbers.values())
            for group in clusters:
                cluster = self._most_common_cluster(group, taken)
                cluster = self._new_person() if cluster is None else cluster
                taken.add(cluster)
                rows += [(cluster, 0.0, number) for number in group]
            sql = "UPDATE sighting SET person = ?, confidence = ? WHERE id = ? AND NOT by_hand"
            self.connection.executemany(sql, rows)
            self._tidy()

    # Forgetting; `forgetting.forget` is what to call

    def shred(self, persons: Collection[int], sightings: Collection[int] = ()) -> None:
        """Delete persons with all that is theirs, and single sightings, in one transaction; then write the files anew,
        so that no page holds anything of it. Where that is killed, the next writer does it."""
        with self.transaction():
            self.connection.executemany("DELETE FROM person WHERE id = ?", [(number,) for number in persons])
            self.connection.executemany("DELETE FROM sighting WHERE id = ?", [(number,) for number in sightings])
            self._tidy()
            self.mark_forgetting()
        self.finish_forgetting()

    def shred_all(self) -> None:
        """Delete everybody, what was looked at, and which face encoder that was."""
        with self.transaction():
            for table in ("person", "looked", "meta"):
                self.connection.execute(f"DELETE FROM {table}")
            self._tidy()
            self.mark_forgetting()
        self.finish_forgetting()

    # Parts

    def _number_of(self, name: str) -> int | None:
        return next((number for number, known in self._names().items() if same_name(known, name)), None)

    def _new_person(self) -> int:
        return self.insert("person", "name", None)

    def _set_name(self, person: int, name: str) -> None:
        sealed = seal(self._key(person), name.encode(), "name")
        self.connection.execute("UPDATE person SET name = ?, hidden = 0 WHERE id = ?", (sealed, person))

    def _key(self, person: int) -> bytes:
        rows = self.rows("SELECT key FROM keys.person_key WHERE id = ?", person)
        if not rows:
            raise UsageError(f"{self.folder}: this person was forgotten meanwhile")
        return bytes(rows[0][0])

    def _add_faces(self, person: int, faces: FloatArray, from_photo: bool) -> None:
        for face in faces:
            self.insert("face", "face", descriptor_bytes(face), person=person, from_photo=from_photo)

    def _consents(self, person: int) -> tuple[Consent, ...]:
        ((sealed,),) = self.rows("SELECT consent FROM person WHERE id = ?", person)
        return self._opened_consents(self._key(person), sealed)

    def _opened_consents(self, key: bytes, sealed: bytes | None) -> tuple[Consent, ...]:
        if sealed is None:
            return ()
        return tuple(Consent(*entry) for entry in json.loads(self.opened(key, sealed, "consent")))

    def _add_consent(self, person: int, consent: Consent) -> None:
        entries = [entry for entry in (*self._consents(person), consent) if entry != NO_CONSENT]
        content = json.dumps([(entry.source, entry.date) for entry in dict.fromkeys(entries)]).encode()
        sealed = seal(self._key(person), content, "consent")
        self.connection.execute("UPDATE person SET consent = ? WHERE id = ?", (sealed, person))

    def _absorb(self, kept: int, absorbed: int) -> None:
        """Make the faces and sightings of one person another's."""
        for table in ("face", "sighting"):
            self.connection.execute(f"UPDATE {table} SET person = ? WHERE person = ?", (kept, absorbed))
        self.connection.execute("DELETE FROM person WHERE id = ?", (absorbed,))
        self._tidy()

    def _most_common_cluster(self, sightings: Sequence[int], taken: Collection[int]) -> int | None:
        sql = (
            "SELECT person FROM sighting WHERE id IN (SELECT value FROM json_each(?)) "
            "GROUP BY person ORDER BY COUNT(*) DESC, person"
        )
        return next((person for (person,) in self.rows(sql, json.dumps([*sightings])) if person not in taken), None)

    def _forget_contents(self, contents: Iterable[str]) -> None:
        """Delete what is stored of videos. Where that is nothing, no other row is looked at."""
        deleted = 0
        for content in contents:
            deleted += self.connection.execute("DELETE FROM sighting WHERE content = ?", (content,)).rowcount
            self.connection.execute("DELETE FROM looked WHERE content = ?", (content,))
        if deleted:
            self._tidy()
            self.mark_forgetting()

    def _tidy(self) -> None:
        """Delete clusters without a sighting, and the keys of all that was deleted."""
        self.connection.execute(_EMPTY_CLUSTERS)
        self.drop_unused_keys()
