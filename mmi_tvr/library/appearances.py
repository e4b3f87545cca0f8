"""The people of a library as a search looks for them: names in queries, and who is in which video when."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from ..errors import IndexMismatch, MissingExtra, UsageError
from ..people import PEOPLE_FILE
from ..people.naming import likeness
from ..queries import PreparedQuery, in_brackets, known_name, prepare, read_names
from ..scoring.appearances import merged
from ..search import SearchResult
from ..types import Appearance, Person, Query
from ..utils.files import file_identity
from ..utils.wording import counted, library_option
from .catalogue import Catalogue
from .people import PeopleStore, Sighting


class LibraryPeople:
    """The people of a library (`protocols.AppearanceSource`), of whom there may be none.

    Everything is read when it is asked for: somebody may be added or forgotten meanwhile, by another process.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        """catalogue: of the library, open. Nothing else is opened yet."""
        self._catalogue = catalogue
        self._folder = catalogue.path.parent
        self._opened: PeopleStore | None = None
        self._file: tuple[int, int] | None = None  # that was opened

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def version(self) -> tuple[object, ...]:
        """Return what changes when another process changes anything of the people of the library."""
        try:
            store = self._store()
            return (self._file,) if store is None else (self._file, *store.version())
        except MissingExtra:
            return (self._file,)

    def _store(self) -> PeopleStore | None:
        """Return the open store, opened anew where its file was replaced; None where there is none."""
        present = file_identity(self._folder / PEOPLE_FILE)
        if present != self._file:
            self.close()
            self._file = present
        if self._opened is None:
            self._opened = PeopleStore.open_to_read(self._folder)
        return self._opened

    # Names

    def read(self, query: Query, persons: Collection[str], me: str | None, literal: bool) -> PreparedQuery:
        """Return a query with the known people whom it names.

        Args:
            query: people whom it has already stay.
            persons: names of people who are to be there, whatever the text says.
            me: the name of who asks.
            literal: whether it is read as it stands: bare names are words, and what it excludes is looked for.

        Raises:
            UsageError: nobody, or more than one, is known by a name.
            MissingExtra: what reads the people of a library is not installed, and somebody is asked for by name.
        """
        try:
            known = self._names()
        except MissingExtra as error:
            if persons or me is not None:
                raise
            return replace(prepare(query, literal), remarks=(f"nobody is recognised in these videos: {error}",))
        if not known and (persons or me is not None):
            name = next(iter(persons), me)
            add = f"mmi-tvr people add {shlex.quote(str(name))} PHOTO... {library_option(self._folder)}"
            raise UsageError(f"{self._folder}: nobody is known here yet; {add}")
        names = [name for name in known if name not in query.persons]
        asker = None if me is None else known_name(me, names)
        others = [known_name(name, names, asker) for name in persons]
        reading = read_names(query.text, [*names, *query.persons] if names else (), asker, bare=not literal)
        people = self._persons([name for name in (*sorted(reading.names), *others) if name in names])
        prepared = prepare(replace(query, text=reading.text, persons={**query.persons, **people}), literal)
        remarks = (*prepared.remarks, *reading.remarks)
        strangers = [] if names else [name for name in in_brackets(query.text) if name not in query.persons]
        for name in strangers[:1]:
            add = f"mmi-tvr people add {shlex.quote(name)} PHOTO... {library_option(self._folder)}"
            remarks += (f"[{name}] is read as words, because nobody is known here; {add}",)
        return replace(prepared, remarks=remarks)

    def remarks(self, result: SearchResult) -> tuple[str, ...]:
        """Return what somebody should know who looked for people."""
        unseen = self.unseen() if result.people else 0
        if not unseen:
            return ()
        command = f"mmi-tvr index --people {library_option(self._folder)}"
        return (f"in {counted(unseen, 'video')} nobody has looked for faces yet: {command}",)

    def _names(self) -> list[str]:
        store = self._store()
        return [] if store is None else [*store.names().values()]

    def _persons(self, names: Sequence[str]) -> dict[str, Person]:
        """Return people of the library by their names; whoever was forgotten meanwhile is left out."""
        store = self._store()
        known = {} if store is None or not names else store.known()
        return {name: Person(known[name], self._maker() or "", name) for name in names if name in known}

    def _maker(self) -> str | None:
        """Return the fingerprint of the encoder that described the library's faces; None while it has none."""
        store = self._store()
        return None if store is None else store.encoder_fingerprint()

    # Where they are

    def appearances(self, person: Person) -> Mapping[int, Sequence[Appearance]]:
        """Return number -> when somebody is in a video, in order of time, of the videos in which they are.

        Of a person of the library that is what is stored; anybody else is recognised by their faces.

        Raises:
            IndexMismatch: their faces are of another encoder than those of the library.
            UsageError: nobody has looked for faces in any video.
        """
        store, maker = self._store(), self._maker()
        if store is None or maker is None:
            command = f"mmi-tvr index --people {library_option(self._folder)}"
            raise UsageError(f"{self._folder}: nobody has looked for faces in these videos: {command}")
        if person.maker != maker:
            raise IndexMismatch(
                f"the faces of {person.name or 'a person'} were described by another encoder ({person.maker}) than "
                f"those of {self._folder} ({maker})"
            )
        known = store.known().get(person.name)
        if known is not None and np.array_equal(known, person.faces):
            number = next((number for number, name in store.names().items() if name == person.name), None)
            return {} if number is None else self._by_number(store.sightings(number))  # None: forgotten this moment
        return self._by_number(_recognised(store, person))

    def people(self, numbers: Iterable[int]) -> Mapping[int, Sequence[Appearance]]:
        """Return number -> all whom the library knows by name and who are not hidden, in order of time."""
        store = self._store()
        if store is None:
            return {}
        with suppress(MissingExtra):  # which is said where the query is read
            seen = store.sightings(contents=self._catalogue.hashes_of(numbers).values())
            names = frozenset(store.names(hidden=False).values())
            shown = {sha256: [one for one in of_one if one.name in names] for sha256, of_one in seen.items()}
            return self._by_number(shown)
        return {}

    def unseen(self) -> int:
        """Return in how many videos that can be searched nobody has looked for faces yet."""
        hashes = self._catalogue.hashes_of(self._catalogue.searchable())
        store = self._store()
        return len(hashes) if store is None else len(store.pending(hashes.values()))

    def _by_number(self, seen: Mapping[str, Sequence[Sighting]]) -> dict[int, list[Appearance]]:
        """Return what is seen in contents, by SHA-256, by the numbers of those that can be searched."""
        sql = (
            "SELECT id, sha256 FROM contents WHERE id IN (SELECT id FROM searchable) "
            "AND sha256 IN (SELECT value FROM json_each(?))"
        )
        appearances = {}
        for number, sha256 in self._catalogue.connection.execute(sql, (json.dumps([*seen]),)):
            of_video = [
                Appearance(one.name, one.start, one.end, one.confidence) for one in seen[sha256] if one.name is not None
            ]
            if of_video:
                appearances[number] = merged(of_video)
        return appearances


def _recognised(store: PeopleStore, person: Person) -> Mapping[str, Sequence[Sighting]]:
    """Return SHA-256 -> sightings that are somebody's by their faces alone, whom the library need not know."""
    seen = [(sha256, one) for sha256, of_video in store.sightings().items() for one in of_video]
    threshold = store.threshold()
    if not seen or not len(person.faces) or threshold is None:
        return {}
    name = person.name or "a person"
    cosines = likeness(np.stack([one.descriptor for _, one in seen]), person.faces)
    recognised: dict[str, list[Sighting]] = {}
    for row in np.flatnonzero(cosines >= threshold):
        sha256, one = seen[row]
        recognised.setdefault(sha256, []).append(replace(one, name=name, confidence=float(cosines[row])))
    return recognised
