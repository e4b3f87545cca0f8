"""Tracks, names and groups of faces; faces are coloured squares (`people.faces.fake`)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmi_tvr import plugins
from mmi_tvr.people.clustering import cluster
from mmi_tvr.people.naming import name_faces
from mmi_tvr.people.quality import FaceQuality, quality_of, turn_of
from mmi_tvr.people.tracks import FaceTrack, is_cut, overlap, tracks_of
from mmi_tvr.protocols import FaceEncoder
from mmi_tvr.types import Face, Pixels

RED, GREEN, BLUE = (230, 20, 20), (20, 230, 20), (20, 20, 230)
GREY, BRIGHT = 128, 250

Square = tuple[int, int, tuple[int, int, int]]


@pytest.fixture
def encoder() -> FaceEncoder:
    fake: FaceEncoder = plugins.build("people.faces", "fake", {})
    return fake


def picture(*squares: Square, ground: int = GREY, side: int = 32) -> Pixels:
    """A checked ground (a plain one has nothing to be sharp) with faces at left, top."""
    pixels = np.full((96, 160, 3), ground, np.uint8)
    for left, top, colour in squares:
        pixels[top : top + side, left : left + side] = colour
        pixels[top + 8 : top + 10, left + 6 : left + 26 : 2] = 0  # something to be sharp
    return pixels


def tracks(encoder: FaceEncoder, *pictures: Pixels) -> list[FaceTrack]:
    return list(tracks_of(((number / 4, pixels) for number, pixels in enumerate(pictures)), encoder))


def test_a_face_that_moves_slowly_is_one_track(encoder: FaceEncoder) -> None:
    (track,) = tracks(encoder, *(picture((10 + 8 * step, 20, RED)) for step in range(8)))
    assert (track.start, track.end, track.frames) == (0.0, 1.75, 8)
    assert track.descriptor is not None
    assert track.descriptor.argmax() == encoder.describe(picture((0, 0, RED)), [_box(0, 0)])[0].argmax()


def test_two_faces_are_two_tracks_and_a_jump_begins_another(encoder: FaceEncoder) -> None:
    both = [picture((10, 20, RED), (100, 20, GREEN))] * 4
    jumped = [picture((50, 60, RED), (100, 20, GREEN))] * 4
    result = tracks(encoder, *both, *jumped)
    assert sorted((track.start, track.end) for track in result) == [(0.0, 0.75), (0.0, 1.75), (1.0, 1.75)]


@pytest.mark.parametrize(("gap", "count"), [(5, 1), (6, 2)])
def test_a_track_goes_on_over_a_gap_of_five_pictures(encoder: FaceEncoder, gap: int, count: int) -> None:
    face = picture((10, 20, RED))
    assert len(tracks(encoder, face, *[picture()] * (gap - 1), face)) == count


@pytest.mark.parametrize(("step", "count"), [(13, 1), (14, 2)])  # of 32 pixels: they overlap by 0.42 and 0.39
def test_boxes_of_a_track_overlap(encoder: FaceEncoder, step: int, count: int) -> None:
    assert len(tracks(encoder, picture((10, 20, RED)), picture((10 + step, 20, RED)))) == count


def test_the_five_sharpest_faces_of_a_track_are_described(encoder: FaceEncoder, monkeypatch: Any) -> None:
    pictures = [picture((10, 20, RED)) for _ in range(8)]
    for sharper in pictures[2:7]:
        sharper[40:42, 16:36:2] = 0
    described: list[Pixels] = []
    describe = encoder.describe
    monkeypatch.setattr(encoder, "describe", lambda image, faces: described.append(image) or describe(image, faces))
    (track,) = tracks(encoder, *pictures)
    assert (track.frames, track.time) == (8, 0.5)
    assert [id(image) for image in described] == [id(image) for image in pictures[2:7]]


def test_a_cut_ends_tracks_even_where_the_next_face_is_in_the_same_place(encoder: FaceEncoder) -> None:
    result = tracks(encoder, *[picture((10, 20, RED))] * 3, *[picture((10, 20, GREEN), ground=BRIGHT)] * 3)
    assert [(track.start, track.end) for track in result] == [(0.0, 0.5), (0.75, 1.25)]


def test_faces_that_change_places_within_a_shot_do_not_blend(encoder: FaceEncoder) -> None:
    (track,) = tracks(encoder, *[picture((10, 20, RED))] * 3, *[picture((10, 20, GREEN))] * 2)
    assert track.descriptor is not None
    assert np.sort(track.descriptor)[-2] < 0.05  # of one colour alone


def test_a_face_that_is_too_small_is_a_track_without_a_descriptor(encoder: FaceEncoder) -> None:
    (track,) = tracks(encoder, *[picture((10, 20, RED), side=16)] * 3)
    assert track.descriptor is None
    assert "too small" in (track.quality.problem or "")


def test_tracks_come_as_they_end(encoder: FaceEncoder) -> None:
    seen: list[int] = []

    def pictures() -> list[tuple[float, Pixels]]:
        for number in range(20):
            seen.append(number)
            yield number / 4, picture((10, 20, RED)) if number < 3 else picture()

    next(iter(tracks_of(pictures(), encoder)))
    assert seen[-1] < 19


def test_overlaps_are_those_of_pixel_sets() -> None:
    boxes = np.array([[0, 0, 4, 4], [2, 1, 7, 3], [4, 4, 6, 8]], float)
    pixels = [{(x, y) for x in range(int(b[0]), int(b[2])) for y in range(int(b[1]), int(b[3]))} for b in boxes]
    expected = [[len(one & other) / len(one | other) for other in pixels] for one in pixels]
    np.testing.assert_allclose(overlap(boxes, boxes), expected)


def test_histograms_of_one_shot_are_no_cut() -> None:
    assert not is_cut(np.array([0.5, 0.5]), np.array([0.9, 0.1]))
    assert is_cut(np.array([0.6, 0.4, 0.0]), np.array([0.4, 0.0, 0.6]))


@pytest.mark.parametrize(("nose", "turn"), [(50, 0.0), (70, 0.8), (30, 0.8), (25, 1.0), (90, 1.0), (55, 0.2)])
@pytest.mark.parametrize("height", [30, 60, 200])
def test_a_turned_face_has_its_nose_off_the_middle_of_its_eyes(nose: float, turn: float, height: float) -> None:
    landmarks = np.array([[25, 40], [75, 40], [nose, height], [35, 80], [65, 80]], np.float32)
    assert turn_of(Face((0.0, 0.0, 100.0, 100.0), landmarks, 1.0)) == pytest.approx(turn, abs=1e-6)


def test_a_tilted_face_is_not_a_turned_one() -> None:
    upright = np.array([[-1, 0], [1, 0], [0.2, 1], [-1, 2], [1, 2]], np.float32)
    tilt = np.array([[0.6, -0.8], [0.8, 0.6]], np.float32)
    faces = [Face((0.0, 0.0, 1.0, 1.0), points.astype(np.float32), 1.0) for points in (upright, upright @ tilt)]
    assert turn_of(faces[0]) == pytest.approx(turn_of(faces[1]), abs=1e-6)


def test_eyes_in_one_place_are_a_profile() -> None:
    assert turn_of(Face((0.0, 0.0, 1.0, 1.0), np.zeros((5, 2), np.float32), 1.0)) == 1.0


@pytest.mark.parametrize(
    ("size", "sharpness", "turn", "problem"),
    [
        (20.0, 12.0, 0.75, ""),
        (19.9, 12.0, 0.75, "too small"),
        (20.0, 11.9, 0.75, "blurred"),
        (20.0, 12.0, 0.76, "turned away"),
    ],
)
def test_a_face_that_cannot_name_anybody_says_why(size: float, sharpness: float, turn: float, problem: str) -> None:
    assert (FaceQuality(size, sharpness, turn).problem or "").startswith(problem)
    assert (FaceQuality(size, sharpness, turn).problem is None) == (problem == "")


def test_what_is_blurred_is_less_sharp_whatever_its_size() -> None:
    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 255, (120, 120, 3), dtype=np.uint8)
    blurred = np.full_like(sharp, 127)
    assert quality_of(sharp, _box(10, 10, 64)).sharpness > 10 > quality_of(blurred, _box(10, 10, 64)).sharpness
    assert quality_of(blurred, _box(10, 10, 64)).problem == "blurred"
    for box in (_box(-40, -40, 32), _box(118, 118, 64), _box(500, 500, 20)):
        assert quality_of(sharp, box).sharpness >= 0  # partly or wholly beside the picture


def test_the_nearest_person_is_named_where_they_are_near_and_alone() -> None:
    gallery = {
        "anna": _units([1, 0, 0], [0.8, 0.6, 0]),
        "ben": _units([0, 1, 0]),
        "nobody": np.zeros((0, 3), np.float32),
    }
    close, between, far = _units([0.99, 0.1, 0], [0.72, 0.69, 0], [0, 0, 1])
    names = name_faces(np.stack([close, between, far]), gallery, threshold=0.5)
    assert [naming.name for naming in names] == ["anna", "anna", None]
    assert names[2].nearest == "anna"
    tied = name_faces(_units([0.4, 0.92, 0]), {"anna": _units([0.8, 0.6, 0]), "ben": _units([0, 1, 0])}, threshold=0.5)
    assert tied[0].name == "ben"
    alike = name_faces(_units([1, 1, 0]), {"anna": _units([1, 0, 0]), "ben": _units([0, 1, 0])}, threshold=0.5)
    assert alike[0].name is None
    assert name_faces(np.stack([close]), {}, threshold=0.5)[0].nearest is None
    for second, name in ((0.55, "anna"), (0.56, None)):  # 0.4 from anna is a tenth nearer than 0.45, not than 0.44
        row = np.array([[0.6, second, 0.0]], np.float32)
        pair = {"anna": _units([1, 0, 0]), "ben": _units([0, 1, 0])}
        assert name_faces(row, pair, threshold=0.5)[0].name == name


@given(st.floats(0.3, 0.95), st.floats(0.0, 0.5), st.integers(0, 1000))
def test_a_name_is_never_below_the_threshold_nor_within_the_margin(threshold: float, margin: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    gallery = {str(number): _units(*rng.normal(size=(2, 4))) for number in range(3)}
    faces = _units(*rng.normal(size=(6, 4)))
    namings = name_faces(faces, gallery, threshold, margin)
    assert len(namings) == 6
    for face, naming in zip(faces, namings, strict=True):
        best = sorted(((rows @ face).max(), name) for name, rows in gallery.items())
        clear = 1 - best[-1][0] <= (1 - margin) * (1 - best[-2][0])
        assert naming.name == (best[-1][1] if best[-1][0] >= threshold and clear else None)


def test_groups_are_people_the_largest_first() -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(8, dtype=np.float32)
    people = np.array([0, 1, 1, 2, 2, 2, 0, 1, 1])
    vectors = _units(*(centres[people] + rng.normal(scale=0.05, size=(9, 8))))
    labels = cluster(vectors, 0.5)
    assert labels.tolist() == [2, 0, 0, 1, 1, 1, 2, 0, 0]
    assert cluster(vectors[:1], 0.5).tolist() == [0]
    assert cluster(vectors[:0], 0.5).tolist() == []


def test_groups_in_parts_are_those_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    people = rng.integers(0, 5, 60)
    vectors = _units(*(np.eye(8)[people] + rng.normal(scale=0.05, size=(60, 8))))
    whole = cluster(vectors, 0.5)
    monkeypatch.setattr("mmi_tvr.people.clustering.MAX_AT_ONCE", 16)
    assert cluster(vectors, 0.5).tolist() == whole.tolist()
    strangers = np.eye(40, dtype=np.float32)
    assert cluster(strangers, 0.5).tolist() == list(range(40))


def test_sizes_fall() -> None:
    rng = np.random.default_rng(2)
    labels = cluster(_units(*rng.normal(size=(50, 4))), 0.6)
    counts = np.bincount(labels)
    assert len(counts) > 2
    assert all(larger >= smaller for larger, smaller in pairwise(counts))


def _units(*rows: object) -> np.ndarray:
    vectors = np.array(rows, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _box(left: float, top: float, side: float = 32) -> Face:
    landmarks = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)
    return Face((left, top, left + side, top + side), [left, top] + landmarks * np.float32(side), 1.0)
