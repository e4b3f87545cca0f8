"""Data sets of people in their layouts: what they ask, who is meant, and files as people and programs write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from people_data import HEADER, cip, face_picture, hollywood2, vggface2, write_picture

from mmi_tvr import plugins
from mmi_tvr.datasets import check_benchmark
from mmi_tvr.datasets.cia import cast_of, clip_labels
from mmi_tvr.errors import UsageError
from mmi_tvr.people.portraits import portraits, read_face, with_faces
from mmi_tvr.protocols import PersonDataset, QueryDataset
from mmi_tvr.types import EvaluationQuery, PersonPicture, Video

CLIPS = {
    "actioncliptrain00001": ("Kiss", "HugPerson"),
    "actioncliptrain00002": ("Run",),
    "actioncliptest00001": ("Kiss",),
    "actioncliptest00002": ("Run", "INT-Car"),
    "scenecliptest00001": ("EXT-House",),
}


def build(name: str, root: Path, **options: Any) -> Any:
    dataset = plugins.build("datasets", name, {"root": root, **options})
    assert isinstance(dataset, QueryDataset)
    assert isinstance(dataset, PersonDataset)
    return dataset


def asked_for(queries: Any) -> dict[tuple[str, str], set[str]]:
    """Group and text of each query -> its right samples."""
    return {(query.group, query.query.text): set(query.right) for query in queries}


def failure(name: str, root: Path, **options: Any) -> str:
    """The one line that says what is wrong."""
    with pytest.raises(UsageError) as error:
        build(name, root, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def celebrities(tmp_path: Path) -> Path:
    return cip(tmp_path)


def test_cip_asks_for_faces_places_and_both(celebrities: Path) -> None:
    dataset = build("cip", celebrities)
    queries = asked_for(dataset.evaluation_queries())
    assert len(queries) == 11
    assert queries["single/seen", "an image of [Ann Red]"] == {"red_cave.png", "red_beach.png"}
    assert queries["places", "an image of cave"] == {"red_cave.png", "green_cave.png", "blue_cave.png"}
    assert queries["compound/unseen", "[Bo Green] in beach"] == {"green_beach.png"}
    assert len(dataset.samples()) == 7  # the distractor is a candidate
    assert dataset.identities() == ("Ann Red", "Ann Red", "Bo Green", "Bo Green", "Cy Blue", "Cy Blue", "")
    assert dataset.samples()[0].captions == ("an image of [Ann Red]",)
    assert dataset.samples()[-1].captions == ()


def test_who_is_meant_is_read_from_portraits(celebrities: Path) -> None:
    dataset = build("cip", celebrities)
    encoder = plugins.build("people.faces", "fake", {})
    (celebrities / "portraits" / "Bo_Green" / "0.jpg").write_text("no picture")
    write_picture(celebrities / "portraits" / "Cy_Blue" / "1.png", face_picture("black"))
    seen = portraits(build("cip", celebrities).person_pictures(), encoder)
    assert {handle: faces.shape for handle, faces in seen.faces.items()} == {"Ann Red": (1, 6), "Bo Green": (1, 6)}
    assert sorted(path.name for path in seen.problems) == ["0.jpg", "1.png"]
    by_handle: dict[str, EvaluationQuery] = {}
    for query in with_faces(dataset.evaluation_queries(), seen, "face"):
        by_handle |= dict.fromkeys(query.query.persons, query)
    assert by_handle["Ann Red"].query.spoken.endswith("a person in beach")
    assert by_handle["Cy Blue"].query.spoken.endswith("Cy Blue in beach")  # without a face the name stays


def two_faces(path: Path, scale: int = 1) -> Path:
    """A red face at the left and a larger green one at the right."""
    pixels = face_picture("red", side=16)
    pixels[10:34, 36:60] = face_picture("green")[10, 8]
    return write_picture(path, pixels.repeat(scale, 0).repeat(scale, 1))


@pytest.mark.parametrize(
    ("box", "left", "colour"),
    [
        (None, 36, 1),  # the largest
        ((8.0, 10.0, 24.0, 26.0), 8, 0),
        ((6.0, 12.0, 25.0, 27.0), 8, 0),
        ((34.0, 8.0, 62.0, 36.0), 36, 1),
        ((9.0, 11.0, 15.0, 17.0), 9, 0),  # no face overlaps it enough: the box itself
    ],
)
def test_a_box_says_which_face_is_meant(tmp_path: Path, box: Any, left: int, colour: int) -> None:
    picture = PersonPicture(Video(two_faces(tmp_path / "two.png"), picture=True), box)
    encoder = plugins.build("people.faces", "fake", {})
    assert read_face(picture, encoder)[1].box[0] == left
    assert portraits({"p": [picture]}, encoder).faces["p"][0].argmax() == colour


def test_the_box_of_a_large_picture_is_scaled_as_the_picture_is(tmp_path: Path) -> None:
    video = Video(two_faces(tmp_path / "two.png", scale=40), picture=True)  # 1,920 pixels, looked at with 1,440
    box = (8.0 * 40, 10.0 * 40, 24.0 * 40, 26.0 * 40)
    pixels, face = read_face(PersonPicture(video, box), plugins.build("people.faces", "fake", {"smallest": 99}))
    assert pixels.shape == (1440, 1920, 3)
    assert face.box == pytest.approx((240, 300, 720, 780), abs=2)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x.png\tAnn Red\tcave\tunseen\t0", "line 9: Ann Red is unseen here and seen elsewhere"),
        ("x.png\tAnn Red\tcave\tmaybe\t0", "line 9: faces is seen or unseen, not 'maybe'"),
        ("x.png\tAnn Red\tcave\tseen\tperhaps", "line 9: distractor is 0 or 1, not 'perhaps'"),
        ("\tAnn Red\tcave\tseen\t0", "line 9: the picture's name is missing"),
        ("x.png\tAnn Red\tcave\tseen\t0\tmore", "line 9: 6 cells for 5 columns"),
    ],
)
def test_a_line_of_cip_that_cannot_be_meant_is_named(celebrities: Path, line: str, message: str) -> None:
    table = celebrities / "cip.tsv"
    table.write_text(table.read_text() + line + "\n")
    assert message in failure("cip", celebrities)


def test_cip_is_read_as_programs_write_it(celebrities: Path) -> None:
    plain = asked_for(build("cip", celebrities).evaluation_queries())
    table = celebrities / "cip.tsv"
    text = table.read_text().replace("\n", "\r\n").replace("Ann Red", " Ann  Red ").replace("seen\t0", "Seen\tno")
    table.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert asked_for(build("cip", celebrities).evaluation_queries()) == plain
    table.write_text(HEADER.replace("\tplace", "") + "x.png\tAnn\tseen\t0\n")
    assert "the header lacks place" in failure("cip", celebrities)
    table.unlink()
    assert "there is no cip.tsv" in failure("cip", celebrities)


def test_queries_of_cip_name_pictures_that_are_there(celebrities: Path) -> None:
    (celebrities / "pictures" / "red_cave.png").unlink()
    dataset = build("cip", celebrities)
    assert dataset.missing == ("red_cave.png",)
    queries = asked_for(dataset.evaluation_queries())
    assert queries["single/seen", "an image of [Ann Red]"] == {"red_beach.png"}
    assert ("compound/seen", "[Ann Red] in cave") not in queries
    few = build("cip", celebrities, limit=3)
    assert set().union(*asked_for(few.evaluation_queries()).values()) <= {sample.id for sample in few.samples()}


def test_cip_may_have_paths_and_splits(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for picture in (root / "a" / "1.png", root / "b" / "1.png", tmp_path / "c.png"):
        write_picture(picture, face_picture("red"))
    rows = "a/1.png\tAnn\tx\tseen\t0\ttest\nb/1.png\tAnn\ty\tseen\t0\tval\n../c.png\tAnn\tx\tseen\t0\ttest\n"
    (root / "cip.tsv").write_text(HEADER.strip("\n") + "\tsplit\n" + rows)
    dataset = build("cip", root)
    assert [sample.video.path for sample in dataset.samples()] == [root / "a" / "1.png"]
    assert dataset.missing == ("../c.png",)  # outside
    assert [sample.id for sample in build("cip", root, split="val").samples()] == ["b/1.png"]


def test_vggface2_asks_for_all_pictures_of_somebody_but_the_first(tmp_path: Path) -> None:
    dataset = build("vggface2", vggface2(tmp_path))
    queries = dataset.evaluation_queries()
    assert asked_for(queries)["single", "an image of [n000004]"] == {"n000004/0002_01.jpg", "n000004/0003_01.jpg"}
    assert queries[0].query.spoken == "an image of Di Cyan"
    (portrait,) = dataset.person_pictures()["n000004"]
    assert (portrait.video.path.name, portrait.box) == ("0001_01.jpg", (4.0, 10.0, 28.0, 34.0))
    assert portrait.video not in [sample.video for sample in dataset.samples()]
    loose = build("vggface2", tmp_path, crops="loose", names=False)
    assert loose.person_pictures()["n000004"][0].box is None
    assert loose.evaluation_queries()[0].query.spoken == "an image of a person"


def test_vggface2_trains_on_people_whom_validation_does_not_have(tmp_path: Path) -> None:
    vggface2(tmp_path)
    train, val = build("vggface2", tmp_path, split="train"), build("vggface2", tmp_path, split="val")
    assert len(set(train.identities())) == 2
    assert set(train.identities()).isdisjoint(val.identities())
    assert len(train.samples()) == 6
    assert len(train.person_pictures()[train.identities()[0]]) == 3
    names = {**train.person_names(), **val.person_names()}
    assert names == {"n000001": "Ann Red", "n000002": "Green, Bo", "n000003": "Cy Blue, Jr."}
    few = build("vggface2", tmp_path, split="train", per_person=2)
    assert len(few.samples()) == 4


def test_vggface2_may_lack_names_boxes_and_pictures(tmp_path: Path) -> None:
    vggface2(tmp_path)
    (tmp_path / "identity_meta.csv").unlink()
    (tmp_path / "bb_landmark" / "loose_bb_test.csv").write_text("NAME_ID,X,Y,W,H\n")
    (tmp_path / "test" / "n000005" / "0003_01.jpg").unlink()
    dataset = build("vggface2", tmp_path)
    assert dataset.person_names() == {"n000004": "", "n000005": ""}
    assert dataset.missing == ("n000005/0003_01.jpg",)
    assert "no identity_meta.csv: nobody has a name" in dataset.remarks
    boxes = tmp_path / "bb_landmark" / "loose_bb_test.csv"
    boxes.write_text('NAME_ID,X,Y,W,H\n"n000004/0001_01",1,2,wide,4\n')
    assert "columns NAME_ID, X, Y, W, H" in failure("vggface2", tmp_path)
    boxes.write_text('NAME_ID,X,Y,W,H\n"n000004/0001_01",1,2,0,4\n')
    assert "line 2: a box of 0 x 4 pixels" in failure("vggface2", tmp_path)
    boxes.unlink()
    assert build("vggface2", tmp_path).person_pictures()["n000004"][0].box is None
    (tmp_path / "identity_meta.csv").write_text("Class_ID, Name, Gender\nn000004, Di\n")
    assert "line 2: 2 cells for 3 columns" in failure("vggface2", tmp_path)
    (tmp_path / "test_list.txt").write_text("n000004.jpg\n")
    assert "a picture a line" in failure("vggface2", tmp_path)


def films(root: Path, actors: dict[str, str | None] | None) -> Path:
    """Clips as empty files (nothing opens them), their lists, and who is in them."""
    for clip in (*CLIPS, "highFive_0001", "negative_0001"):
        path = root / "AVIClips" / f"{clip}.avi"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    hollywood2(root, CLIPS)
    if actors is not None:
        clips = [{"clip": f"AVIClips/{clip}.avi", "actor": actor} for clip, actor in actors.items()]
        (root / "cia.json").write_text(json.dumps({"clips": clips}))
    return root


def test_cia_asks_for_actors_with_actions_places_and_both(tmp_path: Path) -> None:
    actors: dict[str, str | None] = {"actioncliptest00001": "Ann_Red", "actioncliptest00002": "Ann_Red"}
    films(tmp_path, {**actors, "scenecliptest00001": None})
    write_picture(tmp_path / "cast" / "Some Film" / "Ann_Red" / "1.jpg", face_picture("red"))
    dataset = build("cia", tmp_path, cast=tmp_path / "cast")
    assert asked_for(dataset.evaluation_queries()) == {
        ("action", "[Ann Red] is doing kissing"): {"actioncliptest00001"},
        ("action", "[Ann Red] is doing running"): {"actioncliptest00002"},
        ("place", "[Ann Red] in a car"): {"actioncliptest00002"},
        ("both", "[Ann Red] in a car doing running"): {"actioncliptest00002"},
    }
    assert dataset.evaluation_queries()[0].query.spoken == "Ann Red is doing kissing"
    assert len(dataset.person_pictures()["Ann Red"]) == 1
    assert len(dataset.samples()) == 2  # whom nobody recognised is in no query


def test_cia_without_actors_is_about_somebody(tmp_path: Path) -> None:
    films(tmp_path, None)
    dataset = build("cia", tmp_path)
    queries = asked_for(dataset.evaluation_queries())
    assert queries["place", "a person in front of a house"] == {"scenecliptest00001"}
    assert any("nobody is named" in remark for remark in dataset.remarks)
    split = {part: {sample.id for sample in build("cia", tmp_path, split=part).samples()} for part in ("train", "val")}
    assert split["train"] | split["val"] == {"actioncliptrain00001", "actioncliptrain00002", "highFive_0001"}
    assert not split["train"] & split["val"]


def test_lists_of_hollywood2_are_read_as_they_are(tmp_path: Path) -> None:
    films(tmp_path, None)
    kiss = tmp_path / "ClipSets" / "Kiss_test.txt"
    kiss.write_bytes(b"\xef\xbb\xbfactioncliptest00001.avi\t +1 \r\n\r\n  actioncliptest00002    -1\r\n")
    (tmp_path / "ClipSets" / "Run_test.txt").unlink()
    labels = clip_labels(tmp_path, ["hug_0001", "nothing"])
    assert labels["actioncliptest00001"].actions == ("Kiss",)
    assert labels["actioncliptest00002"].actions == ()
    assert set(labels["actioncliptrain00001"].actions) == {"HugPerson", "Kiss"}
    assert (labels["hug_0001"].part, labels["hug_0001"].actions) == ("train", ("HugPerson",))
    assert "nothing" not in labels


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("actioncliptest00001 2", "line 1: a clip and 1 or -1"),
        ("actioncliptest00001", "line 1: a clip and 1 or -1"),
        ("actioncliptest00001 1\nactioncliptest00001 -1", "line 2: actioncliptest00001 is 1 and -1 in one list"),
        ("actioncliptrain00001 1", "the clip actioncliptrain00001 is in lists of train and of test"),
    ],
)
def test_a_list_that_contradicts_is_named(tmp_path: Path, lines: str, message: str) -> None:
    films(tmp_path, None)
    (tmp_path / "ClipSets" / "Kiss_test.txt").write_text(lines)
    assert message in failure("cia", tmp_path)


def test_folders_that_are_something_else_are_one_line(tmp_path: Path) -> None:
    assert "no folder ClipSets" in failure("cia", tmp_path)
    (tmp_path / "ClipSets").mkdir()
    assert "no list such as Kiss_train.txt" in failure("cia", tmp_path)
    films(tmp_path, {})
    (tmp_path / "cia.json").write_text('{"clips": [{"actor": "x"}]}')
    assert "not what mmi-tvr data build-cia writes" in failure("cia", tmp_path)
    with pytest.raises(UsageError, match="not a folder of casts"):
        cast_of(tmp_path / "nothing")
    with pytest.raises(UsageError, match="no picture of an actor"):
        cast_of(tmp_path)


def test_what_is_there_can_be_checked(tmp_path: Path) -> None:
    result = check_benchmark("vggface2", {"root": vggface2(tmp_path)})
    assert [(split.split, split.videos, len(split.unreadable)) for split in result.splits] == [
        ("train", 6, 0), ("val", 3, 0), ("test", 6, 0),
    ]  # fmt: skip
    assert not result.overlaps
    (tmp_path / "test" / "n000004" / "0001_01.jpg").write_text("no picture")
    test = check_benchmark("vggface2", {"root": tmp_path}).splits[-1]
    assert list(test.unreadable) == ["n000004/0001_01.jpg"]
