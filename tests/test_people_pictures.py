"""People in photos of a library: these are read upright, however they lie."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from people_media import drawn
from PIL import Image

from mmi_tvr import plugins
from mmi_tvr.library.people.looking import sightings_of
from mmi_tvr.media.video import sample_with_info
from mmi_tvr.people.faces import fake
from mmi_tvr.people.faces.fake import FakeFaces
from mmi_tvr.people.films import film_faces
from mmi_tvr.types import Face, Pixels, Video


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
