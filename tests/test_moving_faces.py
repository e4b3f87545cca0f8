"""Moving faces: who the people are, that splits share nobody they must not share, files, pictures and queries."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from mmi_tvr import plugins
from mmi_tvr.cli import data
from mmi_tvr.datasets import moving_faces as faces
from mmi_tvr.errors import UsageError
from mmi_tvr.media import video
from mmi_tvr.protocols import PersonDataset, QueryDataset
from mmi_tvr.utils.hashing import digest


def dataset_of(**options: object) -> faces.MovingFaces:
    dataset: faces.MovingFaces = plugins.build("datasets", "moving_faces", options)
    return dataset


def people_of(split: str, kind: str = "videos") -> set[int]:
    return {scene.identity for scene in dataset_of(split=split, kind=kind).items}


def test_any_two_people_differ_in_three_parameters_at_least() -> None:
    looks = [identity.looks for identity in faces.identities()]
    assert len(looks) == 600
    assert len(faces.PARAMETERS) == len(faces.Looks._fields) == 14
    assert min(faces.differences(one, other) for one, other in combinations(looks, 2)) >= 3


def test_two_faces_are_too_close_if_they_differ_in_two_parameters() -> None:
    looks = faces.identities()[0].looks
    one, two, three = (faces.PARAMETERS[name] for name in ("skin", "eyes", "nose"))
    close = looks._replace(skin=one[one.index(looks.skin) - 1], eyes=two[two.index(looks.eyes) - 1])
    assert faces.is_close(looks, close)
    assert not faces.is_close(looks, close._replace(nose=three[three.index(looks.nose) - 1]))


def test_names_are_two_words_that_nobody_else_has() -> None:
    names = [identity.name for identity in faces.identities() if identity.name]
    assert sum(bool(faces.identities()[number].name) for number in faces.TRAIN) == len(faces.NAMED) == 300
    words = [word for name in names for word in name.split()]
    assert len(words) == 2 * len(names) == len(set(words)) == 1000


def test_unseen_people_are_in_no_other_split() -> None:
    train, val, test = (people_of(split) for split in ("train", "val", "test"))
    assert train == people_of("train", "pictures") == set(faces.TRAIN)
    assert test - train == set(faces.TEST)
    assert val - train <= set(faces.VAL)
    assert (test & train) | (val & train) <= set(faces.NAMED)
    shown = [
        scene
        for split in ("train", "val", "test")
        for kind in ("videos", "pictures")
        for scene in dataset_of(split=split, kind=kind).items
    ]
    assert len(set(shown)) == len(shown)


def test_scenes_are_the_same_everywhere_and_the_first_do_not_hang_on_how_many() -> None:
    items = dataset_of(split="test", count=20).items
    assert items == dataset_of(split="test").items[:20]
    assert digest([list(scene) for scene in items], [list(one) for one in faces.identities()]) == "e91efbee8722d384"
    assert items != dataset_of(split="test", count=20, seed=1).items


def test_person_doing_and_place_together_are_one_scene_and_two_of_them_are_not() -> None:
    queries = dataset_of(split="test").evaluation_queries()
    counts = Counter(query.group for query in queries)
    assert counts["compound/seen"] == counts["compound/unseen"] == 500
    assert counts["single/seen"] == counts["single/unseen"] == 100
    answers = {group: [len(query.right) for query in queries if query.group == group] for group in counts}
    assert set(answers["compound/unseen"]) == {1}
    assert set(answers["action/unseen"]) == set(answers["place/seen"]) == {1, 2}
    assert set(answers["single/seen"]) == {5}


def test_queries_say_who_by_a_handle_and_its_name() -> None:
    dataset = dataset_of(split="test", count=4)
    assert isinstance(dataset, QueryDataset)
    query = next(query for query in dataset.evaluation_queries() if query.group == "compound/unseen")
    (handle,) = query.query.persons
    assert query.query.text.startswith(f"[{handle}] ")
    assert query.query.spoken == query.query.text.replace(f"[{handle}]", dataset.person_names()[handle])
    assert [
        sample.id for sample, who in zip(dataset.samples(), dataset.identities(), strict=True) if who == handle
    ] == [*query.right]


@pytest.mark.parametrize("kind", ["videos", "pictures"])
def test_training_captions_name_the_person_of_the_sample(kind: str) -> None:
    dataset = dataset_of(split="train", kind=kind, count=8)
    assert isinstance(dataset, PersonDataset)
    for sample, who in zip(dataset.samples(), dataset.identities(), strict=True):
        assert sample.captions[0] == f"an image of [{who}]"
        assert all(f"[{who}]" in caption for caption in sample.captions)
        assert len(dataset.person_pictures()[who]) >= 1


def test_people_are_known_by_pictures_that_are_no_answers_unless_it_is_asked_for() -> None:
    plain = {"split": "test", "kind": "pictures", "count": 8}
    dataset, leak = dataset_of(**plain), dataset_of(**plain, reference="same")
    samples = {sample.video for sample in dataset.samples()}
    known = {picture.video for pictures in dataset.person_pictures().values() for picture in pictures}
    assert not known & samples
    assert {picture.video for pictures in leak.person_pictures().values() for picture in pictures} == samples


def test_a_loose_face_is_twice_as_wide_and_within_the_picture() -> None:
    tight, loose = (
        [picture.box for pictures in dataset.person_pictures().values() for picture in pictures]
        for dataset in (dataset_of(split="val", count=6, crop=crop) for crop in ("tight", "loose"))
    )
    for one, other in zip(tight, loose, strict=True):
        assert one is not None
        assert other is not None
        assert 20 <= one[3] - one[1] <= 32.1
        assert 0 <= min(other) <= max(other) <= 64
        assert max(other[0] - one[0], other[1] - one[1], one[2] - other[2], one[3] - other[3]) <= 0
    assert any(other[2] - other[0] > 1.9 * (one[2] - one[0]) for one, other in zip(tight, loose, strict=True))


def test_files_are_videos_and_pictures_made_once(tmp_path: Path) -> None:
    for kind, suffix in (("videos", ".mp4"), ("pictures", ".jpg")):
        dataset = dataset_of(kind=kind, count=2, root=tmp_path)
        assert dataset.pending() == [0, 1]
        dataset.generate(limit=1)
        assert dataset.pending() == [1]
        dataset.generate()
        path = dataset.path(0)
        assert (path.suffix, dataset.pending()) == (suffix, [])
        before = path.read_bytes()
        path.unlink()
        dataset.generate()
        assert path.read_bytes() == before
        for pictures in dataset.person_pictures().values():
            assert all(picture.video.path.is_file() for picture in pictures)
    info = video.probe(dataset_of(count=1, root=tmp_path).path(0))
    assert (info.width, info.height) == (64, 64)


@pytest.mark.parametrize("kind", ["videos", "pictures"])
@pytest.mark.parametrize("reference", ["other", "same"])
def test_a_sample_is_pending_until_the_pictures_of_its_person_are_there(
    tmp_path: Path, kind: str, reference: str
) -> None:
    """Also where its file is there: of a run that was stopped, or of one with other pictures of people."""
    dataset_of(kind=kind, count=2, root=tmp_path, reference="same" if reference == "other" else "other").generate()
    dataset = dataset_of(kind=kind, count=2, root=tmp_path, reference=reference)
    pictures = [picture.video.path for shown in dataset.person_pictures().values() for picture in shown]
    before = dataset.pending()
    assert before == ([] if all(path.is_file() for path in pictures) else [0, 1])
    advanced: list[None] = []
    dataset.generate(advance=lambda: advanced.append(None))
    assert len(advanced) == len(before)
    assert all(path.is_file() for path in pictures)
    assert dataset.pending() == []
    pictures[-1].unlink()
    assert dataset.pending() == [1]


def test_a_picture_shows_its_face_where_the_box_says() -> None:
    """The face of a bald person without anything else is of its skin's colour in the middle of its box."""
    looks = faces.Looks(*(values[0] for values in faces.PARAMETERS.values()))
    dark = looks._replace(skin="dark")
    scenes = dataset_of(count=6).items
    assert len(scenes) == 6
    for scene in scenes:
        left, top, right, bottom = (round(side) for side in faces.face_box(scene, 0.0, 64))
        pale_picture, dark_picture = (faces.render_frames(scene, [0.0], 64, one)[0] for one in (looks, dark))
        changed = np.abs(pale_picture.astype(int) - dark_picture).max(axis=-1) > 40
        rows, columns = np.nonzero(changed)
        assert abs(rows.mean() - (top + bottom) / 2) < 3
        assert abs(columns.mean() - (left + right) / 2) < 3
        assert changed[top:bottom, left:right].sum() > 0.9 * changed.sum()


@pytest.mark.parametrize("parameter", faces.PARAMETERS)
def test_every_value_of_a_parameter_shows(parameter: str) -> None:
    """Two values of one parameter are told apart by pixels in which nothing else changed."""
    plain = faces.Looks(*(values[0] for values in faces.PARAMETERS.values()))
    scene = dataset_of(count=1).items[0]._replace(face=500, turn=0, sway=0)
    pictures = [
        faces.render_frames(scene, [0.0], 64, plain._replace(**{parameter: value}))[0].astype(int)
        for value in faces.PARAMETERS[parameter]
    ]
    assert len(pictures) > 1
    for one, other in combinations(pictures, 2):
        assert (np.abs(one - other).max(axis=-1) > 30).sum() >= 4


def test_doings_and_places_show_in_any_picture() -> None:
    scene = dataset_of(count=1).items[0]
    for field, values in (("doing", faces.DOINGS), ("place", faces.PLACES)):
        pictures = [faces.render_frames(scene._replace(**{field: value}), [0.7], 64)[0].astype(int) for value in values]
        assert min((np.abs(a - b).max(axis=-1) > 10).sum() for a, b in combinations(pictures, 2)) > 20


def test_data_make_writes_videos_with_descriptions(tmp_path: Path) -> None:
    app = typer.Typer()
    data.register(app)
    result = CliRunner().invoke(app, ["data", "make", "moving_faces", str(tmp_path / "made"), "--limit", "2"])
    assert result.exit_code == 0, result.output
    samples = plugins.build("datasets", "folder", {"root": str(tmp_path / "made")}).samples()
    assert len(samples) == 2
    assert all(sample.video.path.is_file() and "[" not in "".join(sample.captions) for sample in samples)
    with pytest.raises(UsageError, match="holds other videos"):
        dataset_of(split="val").export(tmp_path / "made", 1)


def test_more_samples_than_there_are_is_one_line() -> None:
    with pytest.raises(UsageError, match="test has 1,000 samples"):
        dataset_of(split="test", count=1001)


def test_a_still_is_a_jpeg_of_the_moment(tmp_path: Path) -> None:
    dataset = dataset_of(kind="pictures", count=1, root=tmp_path)
    dataset.generate()
    with Image.open(dataset.path(0)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (64, 64))
        drawn = faces.render_frames(dataset.items[0], [0.5], 64)[0]
        assert np.abs(np.asarray(picture).astype(int) - drawn).mean() < 12
