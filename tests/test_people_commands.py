"""`mmi-tvr people`: what a person types and gets; faces are coloured squares (`people.faces.fake`)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from fakes import FakeModel, colour_video
from people_files import files_of
from PIL import Image
from typer.testing import CliRunner

from mmi_tvr import plugins
from mmi_tvr.cli import people as people_commands
from mmi_tvr.cli._reasons import MAX_NAMED, say_reasons
from mmi_tvr.errors import MmiTvrError
from mmi_tvr.library import Library
from mmi_tvr.library.catalogue import Catalogue
from mmi_tvr.library.catalogue_file import CATALOGUE
from mmi_tvr.library.people import PeopleStore, Sighting, managing
from mmi_tvr.media.video import frames_at
from mmi_tvr.people import KEYS_FILE, PEOPLE_FILE
from mmi_tvr.people.faces.fake import FakeFaces
from mmi_tvr.people.quality import quality_of
from mmi_tvr.report.photos import numbered
from mmi_tvr.types import Face, FloatArray, Pixels

RED, GREEN, BLUE, CYAN = (230, 20, 20), (20, 230, 20), (20, 20, 230), (20, 230, 230)
ENCODER = plugins.build("people.faces", "fake", {})
Run = Callable[..., Any]


def photo(path: Path, *colours: tuple[int, int, int], side: int = 40, ground: int = 128) -> Path:
    """Write a picture with a face of each colour, from the left."""
    pixels = np.full((100, 60 * max(1, len(colours)) + 40, 3), ground, np.uint8)
    for number, colour in enumerate(colours):
        left = 20 + 60 * number
        pixels[30 : 30 + side, left : left + side] = colour
        pixels[38:40, left + 6 : left + side - 6 : 2] = 0  # something to be sharp
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a library with two videos of one colour each."""
    folder = tmp_path_factory.mktemp("people")
    for name in ("red", "green"):
        colour_video(folder / "videos" / f"{name}.mp4", name)
    with Library(folder / "library", model=FakeModel()) as library:
        library.index(folder / "videos")
    return folder / "library"


@pytest.fixture
def folder(indexed: Path, tmp_path: Path) -> Path:
    return shutil.copytree(indexed, tmp_path / "library")


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command of the group: what it prints with --json, else what it says; a refusal is the error's message."""
    app = typer.Typer()
    people_commands.register(app)

    def run(*words: object, json_: bool = False) -> Any:
        fake = ["--set", "faces.name=fake"] if words[0] == "add" else []
        options = [*fake, "--library", str(folder), *(["--json"] if json_ else [])]
        result = CliRunner().invoke(app, ["people", *map(str, words), *options])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            assert isinstance(result.exception, MmiTvrError), result.exception
            message = str(result.exception)
            assert message.isprintable()
            return message
        run.code = result.exit_code
        return json.loads(result.stdout) if json_ else result.output + capsys.readouterr().err

    return run


def look(folder: Path) -> None:
    """Put sightings into the store, as an indexing run does: one of the whole picture of each video."""
    catalogue = Catalogue.open_to_read(folder / CATALOGUE)
    contents = catalogue.contents_with("state = 'indexed'")
    catalogue.close()
    with PeopleStore.open_to_write(folder) as store:
        for content in contents:
            pixels = frames_at(content.paths[0], [0.5]).pixels[0]
            (face,) = ENCODER.detect(pixels)
            descriptor = ENCODER.describe(pixels, [face])[0].astype(np.float32)
            box = (0.0, 0.0, 1.0, 1.0)
            store.put_sightings(
                content.sha256, [Sighting(0.0, 1.5, 0.5, box, quality_of(pixels, face), descriptor) for _ in range(2)]
            )


def test_a_person_is_added_listed_and_seen(run: Run, folder: Path, tmp_path: Path) -> None:
    look(folder)
    added = run(
        "add", "Anna", photo(tmp_path / "a.png", RED), "--source", "she gave it", "--date", "2026-11-02", json_=True
    )
    assert {key: added[key] for key in ("name", "photos", "sightings", "videos", "added", "was_known", "skipped")} == {
        "name": "Anna", "photos": 1, "sightings": 2, "videos": 1, "added": 1, "was_known": False, "skipped": [],
    }  # fmt: skip
    document = run("list", json_=True)
    (anna,), (other,) = document["people"], document["unnamed"]
    assert anna["consents"] == [{"source": "she gave it", "date": "2026-11-02"}]
    assert (anna["name"], anna["photos"], anna["sightings"], anna["videos"]) == ("Anna", 1, 2, 1)
    assert (other["sightings"], other["videos"]) == (2, 1)
    text = run("list")
    assert "Anna" in text
    assert "2026-11-02 she gave it" in text
    seen = run("list", "anna", json_=True)["sightings"]
    assert [(Path(one["path"]).stem, one["from"], one["to"]) for one in seen] == [("red", 0.0, 1.5)] * 2


def test_whoever_is_added_hears_how_they_are_searched_for(run: Run, folder: Path, tmp_path: Path) -> None:
    hint = f"to find them in videos: mmi-tvr index --library {folder} --people"
    assert hint in run("add", "Anna", photo(tmp_path / "a.png", RED))
    with PeopleStore.open_to_write(folder) as store:
        store.set_setting("indexing", True)
    assert hint not in run("add", "Ben", photo(tmp_path / "b.png", GREEN))


def test_nobody_is_listed_before_and_nothing_is_written(run: Run, folder: Path) -> None:
    before = files_of(folder)
    assert run("list", json_=True) == {"people": [], "unnamed": []}
    assert "people add NAME" in run("list")
    assert "nobody is known in this library" in run("forget", "Anna")
    assert files_of(folder) == before


@pytest.mark.parametrize(
    ("picture", "problem"),
    [
        ({}, "no face is in it"),
        ({"colours": (RED,), "side": 18}, "too small (18 pixels, at least 20)"),
        ({"colours": (RED, GREEN, BLUE)}, "3 faces, from the left: 1 (left, 40 pixels), 2 (middle, 40 pixels)"),
        ({"damage": True}, "is no picture"),
    ],
)  # fmt: skip
def test_a_photo_that_cannot_be_taken_is_one_line_and_nothing_is_added(
    run: Run, folder: Path, tmp_path: Path, picture: dict[str, Any], problem: str
) -> None:
    bad = photo(tmp_path / "bad.png", *picture.get("colours", ()), side=picture.get("side", 40))
    if "damage" in picture:
        bad.write_bytes(b"no picture")
    before = files_of(folder)
    message = run("add", "Anna", bad)
    assert message.startswith(f"nothing was added to Anna: {bad}: ")
    assert problem in message
    assert files_of(folder) == before


def test_a_good_photo_is_not_added_beside_a_bad_one_that_was_named(run: Run, folder: Path, tmp_path: Path) -> None:
    good, bad = photo(tmp_path / "good.png", RED), photo(tmp_path / "bad.png")
    assert "nothing was added to Anna" in run("add", "Anna", good, bad)
    assert not (folder / PEOPLE_FILE).exists()


def test_bad_photos_of_a_folder_are_passed_over_and_said(run: Run, tmp_path: Path) -> None:
    for name, colours in (("a", (RED,)), ("b", ()), ("c", (GREEN, BLUE)), ("d", (RED, BLUE)), ("e", (RED,))):
        photo(tmp_path / "photos" / f"{name}.png", *colours)
    added = run("add", "Anna", tmp_path / "photos", json_=True)
    reasons = {Path(one["path"]).stem: one["reason"] for one in added["skipped"]}
    assert sorted(reasons) == ["b", "c", "d", "e"]
    assert "no face" in reasons["b"]
    assert "say which is meant" in reasons["c"]
    for copy in ("d", "e"):  # of d, the face that is Anna's was taken
        assert "nearly the same picture" in reasons[copy]
    assert added["added"] == 1


def test_of_several_faces_one_is_chosen_by_number_or_by_who_is_known(run: Run, tmp_path: Path) -> None:
    assert run("add", "Ben", photo(tmp_path / "1.png", RED, GREEN, BLUE), "--face", 2, json_=True)["added"] == 1
    assert run("add", "Ben", photo(tmp_path / "2.png", RED, GREEN), "--anyway", json_=True)["photos"] == 2
    assert "no number 4" in run("add", "Carl", photo(tmp_path / "3.png", RED, GREEN, BLUE), "--face", 4)


def test_another_face_than_the_one_known_needs_a_word(run: Run, tmp_path: Path) -> None:
    red, green, blue = (
        photo(tmp_path / f"{name}.png", colour) for name, colour in (("r", RED), ("g", GREEN), ("b", BLUE))
    )
    run("add", "Anna", red)
    assert "another face than the 1 face of Anna that is known" in run("add", "anna", green)
    run("add", "Ben", green)
    assert "its face is that of Anna, who is known already" in run("add", "Carl", red)
    assert "its face is that of Ben, who is known already" in run("add", "Anna", green)
    assert "shows another face than the other photos do" in run("add", "Carl", blue, photo(tmp_path / "c.png", CYAN))
    assert "nearly the same picture" in run("add", "Anna", red)
    assert run("add", "ANNA", green, "--anyway", json_=True)["photos"] == 2
    assert [one["name"] for one in run("list", json_=True)["people"]] == ["Anna", "Ben"]


def test_groups_get_names_are_merged_split_and_hidden(run: Run, folder: Path, tmp_path: Path) -> None:
    look(folder)
    run("add", "Anna", photo(tmp_path / "a.png", RED))
    (cluster,) = run("list", json_=True)["unnamed"]
    run("name", cluster["cluster"], "Ben")
    assert [(one["name"], one["sightings"]) for one in run("list", json_=True)["people"]] == [("Anna", 2), ("Ben", 2)]
    assert "is somebody with a name" in run("name", "Ben", "Carl")
    number = run("list", "Ben", json_=True)["sightings"][0]["sighting"]
    assert "no sighting of Anna has this number" in run("split", "Anna", number)
    hint = "seen 1 time in 1 file; to name them: mmi-tvr people name"
    assert hint in run("split", "Ben", number)
    document = run("list", json_=True)
    assert [one["sightings"] for one in document["people"]] == [2, 1]
    (other,) = document["unnamed"]
    run("hide", other["cluster"], "Anna")
    assert [one["name"] for one in run("list", json_=True)["people"]] == ["Ben"]
    assert run("list", json_=True)["unnamed"] == []
    assert len(run("list", "--all", json_=True)["people"]) == 2
    run("hide", "Anna", "--undo")
    run("merge", "Ben", other["cluster"])
    assert [(one["name"], one["sightings"]) for one in run("list", json_=True)["people"]] == [("Anna", 2), ("Ben", 2)]
    run("merge", "Anna", "Ben")
    assert [(one["name"], one["sightings"]) for one in run("list", json_=True)["people"]] == [("Anna", 4)]
    assert "are one person already" in run("merge", "Anna", "anna")


def test_a_command_that_is_proposed_can_be_copied(run: Run, folder: Path, tmp_path: Path) -> None:
    run("add", "Anna Berg", photo(tmp_path / "a.png", RED))
    assert f"mmi-tvr people list 'Anna Berg' --library {folder}" in run("split", "Anna Berg", 7)
    assert f"mmi-tvr people merge A B --library {folder}" in run("name", "Anna Berg", "Ben")
    assert f"mmi-tvr people list --library {folder}" in run("merge", "Anna Berg", "99")


def test_the_page_shows_faces_where_it_is_asked_for(run: Run, folder: Path, tmp_path: Path) -> None:
    look(folder)
    run("add", "Anna <b>", photo(tmp_path / "a.png", RED))
    before = files_of(folder)
    run("list", "--output", tmp_path / "page")
    page = (tmp_path / "page" / "people.html").read_text(encoding="utf-8")
    assert "Anna &lt;b&gt;" in page
    assert page.count('<img src="data:image/jpeg;base64,') == 4
    assert "#t=0.00,1.50" in page
    assert files_of(folder) == before
    (tmp_path / "page" / "people.html").write_text("mine")
    assert "mmi-tvr did not write it" in run("list", "--output", tmp_path / "page")


@pytest.mark.parametrize("words", [("forget",), ("forget", "Anna", "--all")])
def test_forgetting_names_one_or_all(run: Run, words: tuple[str, ...]) -> None:
    assert "name one person, or --all" in run(*words)


@pytest.mark.parametrize(("planted", "is_face"), [("a rose in a vase", False), ("a rose, and a face", True)])
def test_a_name_that_is_a_word_is_told_from_a_face_that_is_left(
    run: Run, folder: Path, tmp_path: Path, planted: str, is_face: bool
) -> None:
    run("add", "Rose", photo(tmp_path / "a.png", RED))
    with PeopleStore.open_to_read(folder) as store:
        (descriptor,) = store.known()["Rose"]
    (folder / "descriptions").write_bytes(planted.encode() + is_face * descriptor.tobytes())
    text = run("forget", "rose", "--prove")
    assert run.code == 1
    assert "left: descriptions: the name at byte 2" in text
    assert "where it is a word like any other, nothing is left to do" in text
    assert ("no face, key or encrypted row of them is left" in text) != is_face
    assert ("delete these, and prove again" in text) == is_face


def test_somebody_who_was_added_meanwhile_is_compared_with(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes add people at once: what one reads of photos takes long, and the other one is faster."""
    run("add", "Ben", photo(tmp_path / "b.png", GREEN))
    real, faster = managing.read_photos, {}

    def meanwhile(*arguments: Any) -> Any:
        read = real(*arguments)
        with PeopleStore.open_to_write(folder) as store:
            for name, path in faster.items():
                store.add(name, ENCODER.describe(*_face_of(path)))
        return read

    monkeypatch.setattr(managing, "read_photos", meanwhile)
    red, cyan = photo(tmp_path / "a.png", RED), photo(tmp_path / "c.png", CYAN)
    faster["Anna"] = red
    assert "its face is that of Anna, who is known already" in run("add", "Clara", red)
    faster.clear()
    faster["dora"] = cyan
    blue = photo(tmp_path / "d.png", BLUE)
    assert "another face than the 1 face of dora" in run("add", "Dora", blue)
    assert [person["name"] for person in run("list", json_=True)["people"]] == ["Anna", "Ben", "dora"]


class _LikesFacesUpright(FakeFaces):
    """Finds faces turned in any way, as detectors do, and describes one that is not upright as somebody else's."""

    def detect(self, picture: Pixels) -> list[Face]:
        return [replace(face, confidence=0.9 + 0.05 * _is_upright(picture, face)) for face in super().detect(picture)]

    def describe(self, picture: Pixels, faces: Sequence[Face]) -> FloatArray:
        described = super().describe(picture, faces)
        upright = [_is_upright(picture, face) for face in faces]
        return np.where(np.array(upright)[:, None], described, np.roll(described, 1, axis=1))


def _is_upright(picture: Pixels, face: Face) -> bool:
    """Whether the dark dots of a face (`photo`) lie in a row of its upper half."""
    left, top, right, bottom = map(round, face.box)
    rows, columns = np.nonzero(picture[top:bottom, left:right].max(axis=2) < 20)
    return bool(np.ptp(rows) < np.ptp(columns) and rows.max() < (bottom - top) / 2)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_photos_that_lie_on_their_side_or_stand_on_their_head_are_read_upright(
    run: Run, tmp_path: Path, turn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmi_tvr.people.faces.fake.build", _LikesFacesUpright)
    run("add", "Anna", photo(tmp_path / "a.png", RED))
    for path in (photo(tmp_path / "b.png", RED, ground=100), photo(tmp_path / "c.png", GREEN, RED, ground=100)):
        with Image.open(path) as picture:
            picture.rotate(turn, expand=True).save(path)
    assert run("add", "Anna", tmp_path / "b.png", "--anyway", json_=True)["added"] == 1
    assert "its face is that of Anna" in run("add", "Ben", tmp_path / "b.png")
    assert run("add", "Ben", tmp_path / "c.png", "--face", 1, json_=True)["added"] == 1  # from the left, upright


def _face_of(path: Path) -> tuple[Any, Any]:
    pixels = np.asarray(Image.open(path))
    return pixels, ENCODER.detect(pixels)


def test_without_a_library_every_command_says_how_to_make_one(run: Run, folder: Path, tmp_path: Path) -> None:
    shutil.rmtree(folder)
    for words in (("add", "Anna", photo(tmp_path / "a.png", RED)), ("list",), ("forget", "Anna")):
        assert "no library is here; make one: mmi-tvr index" in run(*words)


def test_faces_of_another_encoder_are_refused(run: Run, folder: Path, tmp_path: Path) -> None:
    run("add", "Anna", photo(tmp_path / "a.png", RED))
    with PeopleStore.open_to_write(folder) as store:
        stored = store.setting("encoder")
        store.set_setting("encoder", {**stored, "fingerprint": "other", "section": {"name": "dlib"}})
    assert "were described by dlib (other), not by fake" in run("add", "Ben", photo(tmp_path / "b.png", GREEN))
    run("forget", "--all")
    assert run("add", "Ben", tmp_path / "b.png", json_=True)["photos"] == 1


def test_files_without_their_keys_can_be_forgotten_all_the_same(run: Run, folder: Path, tmp_path: Path) -> None:
    run("add", "Anna", photo(tmp_path / "a.png", RED))
    (folder / KEYS_FILE).unlink()
    for words in (("list",), ("add", "Ben", photo(tmp_path / "b.png", GREEN)), ("forget", "Anna")):
        assert f"{KEYS_FILE}: is missing" in run(*words)
    assert run("forget", "--all", "--prove", json_=True)["traces"] == []
    assert not (folder / PEOPLE_FILE).exists()
    assert run("list", json_=True) == {"people": [], "unnamed": []}


def test_a_page_numbers_the_faces_of_photos_and_nothing_is_added(run: Run, folder: Path, tmp_path: Path) -> None:
    two, none = photo(tmp_path / "photos" / "two.png", RED, GREEN), photo(tmp_path / "photos" / "none.png")
    broken = tmp_path / "photos" / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff" + bytes(40))
    assert "--face N (--show DIR writes a page with their numbers)" in run("add", "anna", two)
    page = tmp_path / "shown" / "photos.html"
    printed = run("add", "anna", two, none, broken, "--show", page.parent)
    assert str(page) in printed
    assert "nothing was added" in printed
    assert not (folder / PEOPLE_FILE).exists()
    text = page.read_text()
    assert [name in text for name in ("two.png", "none.png", "broken.jpg")] == [True] * 3
    assert ("2 faces" in text, "no face is in it" in text, "not read: " in text) == (True, True, True)
    assert text.count("<img") == 2
    assert "mmi-tvr did not write it" in run("add", "anna", two, "--show", _page_of_somebody(tmp_path / "other"))
    run("add", "anna", two, "--show", page.parent)  # a page of its own is written again
    run("add", "anna", two, "--face", 2)
    assert run("list", json_=True)["people"][0]["name"] == "anna"


def _page_of_somebody(folder: Path) -> Path:
    folder.mkdir()
    (folder / "photos.html").write_text("mine")
    return folder


def test_numbers_stand_at_faces_also_at_the_edge_and_in_large_photos() -> None:
    picture = np.zeros((2000, 3000, 3), np.uint8)
    boxes = [(0.0, 0.0, 300.0, 300.0), (2700.0, 1700.0, 3000.0, 2000.0)]
    image = np.asarray(numbered(picture, boxes))
    assert image.shape == (600, 900, 3)
    yellow = (image == (255, 225, 0)).all(axis=2)
    rows, columns = np.nonzero(yellow)
    assert {(row < 100, column < 100) for row, column in zip(rows.tolist(), columns.tolist(), strict=True)} == {
        (True, True),
        (False, False),
    }
    assert not yellow[120:400].any()
    small = np.asarray(numbered(picture[:40, :40], []))
    assert (small.shape, small.max()) == ((40, 40, 3), 0)


def test_a_long_list_of_files_says_how_many_more_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    reasons = [(Path(f"{number}.mp4"), "too [dark]") for number in range(MAX_NAMED + 2)]
    say_reasons("2 set aside", reasons, Path("films"))
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["2 set aside:", "  0.mp4: too [dark]"]
    assert lines[-1] == "  and 2 more: mmi-tvr status --library films lists all"
    assert len(lines) == MAX_NAMED + 2
