"""People in photos of a library: these are read upright, however they lie."""

from __future__ import annotations

import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeModel, clipped
from people_media import drawn, film
from PIL import Image

from mmi_tvr import plugins
from mmi_tvr.config import Section, Settings
from mmi_tvr.library import Library
from mmi_tvr.library.people import PeopleStore
from mmi_tvr.library.people.looking import sightings_of
from mmi_tvr.library.people.recognition import recognise
from mmi_tvr.media.video import sample_with_info
from mmi_tvr.people.faces import fake
from mmi_tvr.people.faces.fake import FakeFaces
from mmi_tvr.people.films import film_faces
from mmi_tvr.types import Face, Pixels, Video

FAKE = Settings(faces=Section(name="fake"))


class LikesFacesUpright(FakeFaces):
    """Is surer of a face whose dark dots (`people_media.drawn`) are in its upper half."""

    def detect(self, picture: Pixels) -> list[Face]:
        return [replace(face, confidence=0.9 + 0.05 * _is_upright(picture, face)) for face in super().detect(picture)]


def _is_upright(picture: Pixels, face: Face) -> bool:
    left, top, right, bottom = map(round, face.box)
    rows, columns = np.nonzero(picture[top:bottom, left:right].max(axis=2) < 20)
    return bool(np.ptp(rows) < np.ptp(columns) and rows.max() < (bottom - top) / 2)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_a_photo_is_read_upright_and_its_faces_are_where_they_lie_in_the_file(tmp_path: Path, turn: int) -> None:
    path = tmp_path / "two.png"
    Image.fromarray(drawn("anna", "ben")).rotate(turn, expand=True).save(path)
    faces = film_faces(Video(path, picture=True), LikesFacesUpright(fake.Options()), sample_with_info)
    assert faces.sides == (160, 96)  # upright
    assert (turn // 90 + faces.quarters) % 4 == 0
    picture = np.asarray(Image.open(path)).astype(int)
    height, width = picture.shape[:2]
    colours = []
    for sighting in sightings_of(faces):
        left, top, right, bottom = np.array(sighting.box) * [width, height, width, height]
        inside = picture[round(top) : round(bottom), round(left) : round(right)].reshape(-1, 3)
        assert len(inside) == 32 * 32
        colours.append(tuple(np.median(inside, axis=0).astype(int).tolist()))
        assert (sighting.start, sighting.end, sighting.time) == (0, 0, 0)
    assert sorted(colours) == [(20, 230, 20), (230, 20, 20)]


def test_an_animation_is_a_film(tmp_path: Path) -> None:
    pictures = [Image.fromarray(drawn("anna", shift=step)) for step in range(4)]
    pictures[0].save(tmp_path / "anna.webp", save_all=True, append_images=pictures[1:], duration=500, lossless=True)
    encoder = plugins.build("people.faces", "fake", {})
    faces = film_faces(Video(tmp_path / "anna.webp", picture=True), encoder, sample_with_info)
    (track,) = faces.tracks
    assert (track.frames, faces.quarters) == (4, 0)
    assert track.end > 1


def test_people_of_a_library_are_in_photos_and_films_and_in_no_recording(tmp_path: Path) -> None:
    files = tmp_path / "files"
    film(files / "ben.mp4", ["ben"], seconds=1.0)
    Image.fromarray(drawn("anna")).rotate(90, expand=True).save(files / "anna.png")
    with wave.open(str(files / "song.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(8000))
    encoder = plugins.build("people.faces", "fake", {})
    with Library(tmp_path / "library", model=FakeModel(), settings=FAKE, relevance=clipped) as library:
        report = library.index([files], people=True).people
        assert report is not None
        assert (report.videos, report.sightings, report.problems) == (2, 2, ())
        with PeopleStore.open_to_write(library.path) as store, store.transaction():
            for name in ("anna", "ben"):
                store.add(name, encoder.describe(drawn(name), encoder.detect(drawn(name))))
            recognise(store, encoder.threshold)
        for name in ("anna", "ben"):
            (hit,) = library.search(f"[{name}]")
            assert (hit.path.stem, [one.name for one in hit.people]) == (name, [name])
        status = library.status().people
        assert status is not None
        assert (status.looked_at, status.pending) == (2, 0)
