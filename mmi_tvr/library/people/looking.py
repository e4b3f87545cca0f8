"""Looking for faces in the videos of a library: `index --people`.

Each video is looked at once, and committed by itself: a kill costs the one that was under way. What cannot be decoded
is noted with the reason, and looked at again by `retry`. Who is who is said at the end for all of them, without
decoding, and again whenever people are added, merged or forgotten (`recognition`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from ...config import Settings
from ...errors import MediaError, MmiTvrError, UnreadableFile
from ...media.guarded import DecoderPool, limits
from ...people import PEOPLE_FILE
from ...people.films import FilmFaces, film_faces
from ...people.upright import turned_back
from ...protocols import FaceEncoder
from ...types import Video
from ...utils.installation import require
from ...utils.progress import Progress
from ..catalogue import SEARCHABLE, Catalogue, Content
from ..report import PeopleReport, PeopleStatus, Reasons
from . import recognition
from .bound_database import face_encoder
from .seals import Sighting
from .store import PeopleStore

INDEXING = "indexing"  # setting of the store: whether new videos are looked at


class FaceLooking:
    """The writer's side of a library's people. Whoever uses it holds the writer's lock."""

    def __init__(self, folder: Path, settings: Settings, requested: bool | None) -> None:
        """Decide whether faces are looked for, and load what looks for them.

        Args:
            folder: of the library.
            settings: their face encoder holds where it was set explicitly; else the library's own, else the default.
            requested: whether videos are looked at, from now on; None: as the library remembers.

        Raises:
            MissingExtra: a package that looks for faces is not installed.
            IndexMismatch: the library's faces were described by another encoder.
        """
        self._folder = folder
        self._requested = requested
        self._section = settings.faces
        self.encoder: FaceEncoder | None = None
        store = PeopleStore.open_to_read(folder)
        with store or nullcontext():
            remembered = store is not None and bool(store.setting(INDEXING))
            if remembered if requested is None else requested:
                require("cryptography", "people")  # which seals what is seen: now, rather than behind hours of work
                self.encoder, self._section = face_encoder(store, settings)

    def settle(self) -> None:
        """Remember whether videos are looked at, before any is embedded: what takes up a killed run goes by it."""
        with _opened(self._folder, create=self.encoder is not None) as store:
            if store is None:
                return
            with store.transaction():
                if self.encoder is not None:
                    store.bind(self._section, self.encoder)
                if self._requested is not None and store.setting(INDEXING) != self._requested:
                    store.set_setting(INDEXING, self._requested)

    def run(self, catalogue: Catalogue, retry: bool, progress: Progress) -> PeopleReport | None:
        """Look at all videos that can be searched and were not looked at, unless everybody was forgotten meanwhile.

        None where people are no concern here.

        Args:
            catalogue: of the library, up to date.
            retry: look again at those that could not be decoded.
            progress: counts videos.
        """
        started = time.monotonic()
        with _opened(self._folder, create=False) as store:
            if store is None:
                return None
            store.keep_contents(catalogue.content_hashes())
            if self.encoder is None or not store.setting(INDEXING):
                return self._report(store, catalogue, [], started) if self._requested is False else None
            looked_at = self._look(store, self.encoder, _pending(store, catalogue, retry), progress)
            recognition.recognise(store, self.encoder.threshold)
            return self._report(store, catalogue, looked_at, started)

    def _look(
        self, store: PeopleStore, encoder: FaceEncoder, contents: Sequence[Content], progress: Progress
    ) -> list[FilmFaces]:
        """Look at videos, and return what was seen in those that can be decoded."""
        if not contents:
            return []
        progress.begin("looking for faces", len(contents))
        looked_at = []
        with DecoderPool(limits()) as decoders:
            for content in contents:
                path = next((path for path in content.paths if path.exists()), None)
                if path is None:  # its disk is away: it goes on waiting
                    continue
                try:
                    faces = film_faces(Video(path, picture=content.kind == "image"), encoder, decoders.sample)
                except UnreadableFile:
                    continue
                except MediaError as error:
                    store.set_aside(content.sha256, error.reason)
                else:
                    looked_at.append(faces)
                    store.put_sightings(content.sha256, sightings_of(faces))
                progress.advance()
        return looked_at

    def _report(
        self, store: PeopleStore, catalogue: Catalogue, looked_at: Sequence[FilmFaces], started: float
    ) -> PeopleReport:
        people, clusters = store.people(), store.unnamed()
        return PeopleReport(
            is_on=bool(store.setting(INDEXING)),
            videos=len(looked_at),
            film_seconds=sum(faces.seconds for faces in looked_at),
            sightings=sum(len(sightings_of(faces)) for faces in looked_at),
            named=sum(person.sightings for person in people),
            clusters=len(clusters),
            people=len(people),
            problems=_problems(store, catalogue),
            seconds=time.monotonic() - started,
        )


def forget_other_contents(folder: Path, catalogue: Catalogue) -> None:
    """Forget who was seen in videos that a library has no more."""
    with _opened(folder, create=False) as store:
        if store is not None:
            store.keep_contents(catalogue.content_hashes())


def people_status(folder: Path, catalogue: Catalogue) -> PeopleStatus | None:
    """Return in how many videos of a library faces were looked for; None where it has no people. Opens no seal."""
    try:
        store = PeopleStore.open_to_read(folder)
    except MmiTvrError as error:
        return PeopleStatus(error=str(error))
    if store is None:
        return None
    with store, store.reading():
        hashes = set(catalogue.hashes_of(catalogue.searchable()).values())
        pending, problems = len(store.pending(hashes)), _problems(store, catalogue)
        named, unnamed = store.counts()
        return PeopleStatus(
            is_on=bool(store.setting(INDEXING)),
            looked_at=len(hashes) - pending - len(problems),
            pending=pending,
            named=named,
            unnamed=unnamed,
            problems=problems,
        )


def sightings_of(faces: FilmFaces) -> list[Sighting]:
    """Return the tracks that can be recognised, as they are stored: with boxes as shares of the picture."""
    width, height = faces.sides
    return [
        Sighting(
            start=track.start,
            end=track.end,
            time=track.time,
            box=turned_back(
                (track.box[0] / width, track.box[1] / height, track.box[2] / width, track.box[3] / height),
                faces.quarters,
            ),
            quality=track.quality,
            descriptor=track.descriptor,
        )
        for track in faces.tracks
        if track.descriptor is not None
    ]


def _pending(store: PeopleStore, catalogue: Catalogue, retry: bool) -> list[Content]:
    """Return the contents that are to be looked at."""
    if retry and (problems := store.problems()):
        store.keep_contents(catalogue.content_hashes() - problems.keys())
    contents = {content.sha256: content for content in catalogue.contents_with(SEARCHABLE)}
    return [contents[sha256] for sha256 in store.pending(contents)]


def _problems(store: PeopleStore, catalogue: Catalogue) -> Reasons:
    """Return the videos that were set aside, with the reason."""
    paths = {content.sha256: content.paths[0] for content in catalogue.contents_with(SEARCHABLE)}
    return tuple(sorted((paths[sha256], reason) for sha256, reason in store.problems().items() if sha256 in paths))


@contextmanager
def _opened(folder: Path, create: bool) -> Iterator[PeopleStore | None]:
    """Yield the open people of a library; None where there are none, and none are to be made."""
    if create or (folder / PEOPLE_FILE).is_file():
        with PeopleStore.open_to_write(folder) as store:
            yield store
    else:
        yield None
