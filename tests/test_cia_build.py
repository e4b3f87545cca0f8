"""Clips named by pictures of a cast: who is in them, what becomes of bad clips, and going on after a kill."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from fakes import RecordedProgress
from media_files import make_video
from people_data import face_picture, hollywood2, write_picture
from typer.testing import CliRunner

from mmi_tvr import plugins
from mmi_tvr.cli import data
from mmi_tvr.errors import UsageError
from mmi_tvr.people import cia_build
from mmi_tvr.people.casting import CastTrack, cast_tracks, film_of, most_confident
from mmi_tvr.people.cia_build import JOURNAL, CiaOptions, CiaResult, build_cia
from mmi_tvr.people.films import FilmFaces
from mmi_tvr.people.quality import FaceQuality
from mmi_tvr.people.tracks import FaceTrack
from mmi_tvr.types import Pixels

CAST = {"One Film": {"Ann_Red": "red", "Bo_Green": "green"}, "Other Film": {"Cy_Yellow": "yellow"}}


def scene(*colours: str) -> Pixels:
    """A picture (96, 160, 3) with large faces side by side, each with something in it to be sharp."""
    pixels = np.full((96, 160, 3), 128, np.uint8)
    for place, colour in enumerate(colours):
        left = 20 + 70 * place
        pixels[20:68, left : left + 48] = face_picture(colour)[10, 8]
        pixels[36:40, left + 12 : left + 36 : 4] = 0
    return pixels


def write_clip(path: Path, *pictures: Pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return make_video(path, fps=4, pictures=list(pictures))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two films: one with an actor, one with two, one with a stranger, one without a face, and one that is none."""
    folder = tmp_path_factory.mktemp("clips")
    write_clip(folder / "One Film" / "actioncliptest00001.avi", *[scene("red")] * 4)
    write_clip(folder / "One Film" / "actioncliptest00002.avi", *[scene("green", "yellow")] * 4)
    write_clip(folder / "Other Film" / "actioncliptest00003.avi", *[scene("red", "yellow")] * 4)
    write_clip(folder / "empty.avi", *[scene()] * 4)
    (folder / "broken.avi").write_text("no film")
    hollywood2(folder, {"actioncliptest00001": ("Kiss",), "actioncliptest00002": ("Run", "INT-Car")})
    return folder


@pytest.fixture(scope="module")
def cast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cast")
    for film, actors in CAST.items():
        for actor, colour in actors.items():
            write_picture(folder / film / actor / "1.png", face_picture(colour))
    write_picture(folder / "Other Film" / "Cy_Yellow" / "2.png", face_picture("black"))  # no face
    return folder


def built(clips: Path, cast: Path, output: Path, **options: Any) -> CiaResult:
    encoder = plugins.build("people.faces", "fake", {})
    return build_cia(CiaOptions(clips, cast, output, **options), encoder, RecordedProgress())


@pytest.fixture(scope="module")
def result(clips: Path, cast: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[CiaResult, Path]:
    output = tmp_path_factory.mktemp("out") / "cia"
    return built(clips, cast, output), output


def test_a_clip_is_its_most_confident_actor_of_its_own_film(result: tuple[CiaResult, Path]) -> None:
    by_clip = {Path(clip["clip"]).stem: clip for clip in result[0].clips}
    assert {name: clip["actor"] for name, clip in by_clip.items()} == {
        "actioncliptest00001": "Ann Red",
        "actioncliptest00002": "Bo Green",  # yellow is nobody in this film
        "actioncliptest00003": "Cy Yellow",
        "empty": None,
    }
    two = by_clip["actioncliptest00002"]
    assert [track["actor"] for track in two["tracks"]] == ["Bo Green", None]
    assert all(track["frames"] > 1 for track in two["tracks"])
    assert (two["film"], two["action"], two["scene"]) == ("One Film", ["Run"], ["INT-Car"])
    assert two["confidence"] == max(track["similarity"] for track in two["tracks"] if track["actor"])
    left, top, right, bottom = two["tracks"][0]["box"]
    assert (left, top, right, bottom) == pytest.approx((20 / 160, 20 / 96, 68 / 160, 68 / 96), abs=0.03)


def test_bad_clips_are_set_aside_with_a_reason(result: tuple[CiaResult, Path]) -> None:
    (reason,) = result[0].set_aside.values()
    assert list(result[0].set_aside) == ["broken.avi"]
    assert reason
    document = json.loads((result[1] / "cia.json").read_text())
    assert document["set_aside"] == result[0].set_aside
    assert document["clips"] == result[0].clips


def test_the_reader_of_cia_takes_what_was_written(clips: Path, result: tuple[CiaResult, Path]) -> None:
    (clips / "cia.json").write_bytes((result[1] / "cia.json").read_bytes())
    dataset = plugins.build("datasets", "cia", {"root": clips})
    (clips / "cia.json").unlink()
    texts = {query.query.text for query in dataset.evaluation_queries()}
    assert texts == {
        "[Ann Red] is doing kissing",
        "[Bo Green] is doing running",
        "[Bo Green] in a car",
        "[Bo Green] in a car doing running",
    }


class Killed(BaseException):
    pass


def test_a_build_goes_on_after_a_kill_at_any_clip(
    clips: Path, cast: Path, tmp_path: Path, result: tuple[CiaResult, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    film_faces = cia_build.film_faces

    def counting(video: Any, *rest: Any) -> Any:
        looked.append(video.path.stem)
        if len(looked) in (2, 4):
            raise Killed
        return film_faces(video, *rest)

    monkeypatch.setattr(cia_build, "film_faces", counting)
    output = tmp_path / "cia"
    for _ in range(2):
        with pytest.raises(Killed):
            built(clips, cast, output)
        journal = output / JOURNAL
        journal.write_bytes(journal.read_bytes() + b'{"clip": "half a li')
        assert not (output / "cia.json").exists()
    assert built(clips, cast, output).clips == result[0].clips
    times = Counter(name for name in looked if name != "broken")
    assert sorted(times.values()) == [1, 1, 2, 2]  # those that were under way are looked through again
    looked.clear()
    assert built(clips, cast, output).clips == result[0].clips
    assert looked == ["broken"]  # what was set aside is tried again


def test_a_clip_of_another_size_is_looked_through_again(cast: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clips" / "a.avi", *[scene("red")] * 4)
    assert built(tmp_path / "clips", cast, tmp_path / "cia").clips[0]["actor"] == "Ann Red"
    write_clip(clip, *[scene("green")] * 8)
    assert built(tmp_path / "clips", cast, tmp_path / "cia").clips[0]["actor"] == "Bo Green"


def test_lists_may_lie_beside_the_folder_of_clips(clips: Path, cast: Path, tmp_path: Path) -> None:
    write_clip(tmp_path / "AVIClips" / "actioncliptest00001.avi", *[scene("red")] * 4)
    hollywood2(tmp_path, {"actioncliptest00001": ("Kiss",)})
    (clip,) = built(tmp_path / "AVIClips", cast, tmp_path / "cia").clips
    assert (clip["film"], clip["actor"], clip["action"]) == (None, "Ann Red", ["Kiss"])


def test_results_of_other_settings_are_not_mixed(clips: Path, cast: Path, result: tuple[CiaResult, Path]) -> None:
    with pytest.raises(UsageError, match="another encoder, threshold or cast") as error:
        built(clips, cast, result[1], threshold=0.9)
    assert "\n" not in str(error.value)


def test_a_table_says_which_film_a_clip_is_from(tmp_path: Path, clips: Path, cast: Path) -> None:
    films = ["One Film", "Other Film"]
    assert film_of(Path("One Film/a.avi"), films, {}) == "One Film"
    assert film_of(Path("One Film/a.avi"), films, {"a": "Other Film"}) == "Other Film"
    assert film_of(Path("a.avi"), films, {}) is None
    table = tmp_path / "films.tsv"
    table.write_text("actioncliptest00001\tNo Film\n")
    with pytest.raises(UsageError, match=r"line 1: a clip, a tab and a film of the cast"):
        built(clips, cast, tmp_path / "cia", films=table)
    with pytest.raises(UsageError, match="cannot be read"):
        built(clips, cast, tmp_path / "cia", films=tmp_path / "nothing")


@pytest.mark.parametrize("kind", ["no clips", "no faces", "other journal", "foreign cia.json"])
def test_what_cannot_be_built_is_one_line(kind: str, clips: Path, cast: Path, tmp_path: Path) -> None:
    empty, output = tmp_path / "empty", tmp_path / "cia"
    empty.mkdir()
    output.mkdir()
    places = {"clips": clips, "cast": cast}
    message = {"no clips": "there is no clip in it", "no faces": "no picture shows a face"}.get(kind, "another folder")
    if kind == "no clips":
        places["clips"] = empty
    elif kind == "no faces":
        write_picture(empty / "A" / "B" / "1.png", face_picture("black"))
        places["cast"] = empty
    else:
        (output / (JOURNAL if kind == "other journal" else "cia.json")).write_text("[1]\n")
    with pytest.raises(UsageError, match=message) as error:
        built(output=output, **places)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("threshold", "angles", "actor"),
    [
        (0.9, (0.3, 1.5), "Ann"),  # radians from the track to each actor
        (0.96, (0.3, 1.5), None),  # not near enough
        (0.5, (0.7, 0.72), None),  # two are about as near
        (0.5, (0.7, 0.8), "Ann"),
    ],
)
def test_a_track_is_whose_descriptor_is_near_enough_and_alone_so_near(
    threshold: float, angles: tuple[float, float], actor: str | None
) -> None:
    gallery = {
        name: np.array([[np.cos(angle), sign * np.sin(angle)]], np.float32)
        for name, angle, sign in zip(("Ann", "Bo"), angles, (1, -1), strict=True)
    }
    quality = FaceQuality(40.0, 30.0, 0.1)
    descriptor = np.array([1, 0], np.float32)
    track = FaceTrack(0.0, 1.0, 0.5, (10.0, 10.0, 50.0, 60.0), 4, quality, descriptor)
    blurred = FaceTrack(0.0, 1.0, 0.5, (0.0, 0.0, 10.0, 10.0), 4, FaceQuality(40.0, 1.0, 0.1), None)
    first, second = cast_tracks(FilmFaces((track, blurred), (100, 100), 1.0), gallery, threshold)
    assert (first.actor, first.nearest, first.box) == (actor, "Ann", (0.1, 0.1, 0.5, 0.6))
    assert first.similarity == pytest.approx(np.cos(angles[0]))
    assert (second.actor, second.problem) == (None, "blurred")


def test_nobody_is_the_most_confident_where_nobody_is_named() -> None:
    track = CastTrack(0, 1, 0.5, (0, 0, 1, 1), 4, None, "Ann", 0.3, None)
    assert most_confident([track]) is None


def test_the_command_writes_a_page_to_check_by_eye(
    clips: Path, cast: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "cia"
    words = ["data", "build-cia", str(clips), str(cast), "--output", str(output), "--encoder", "fake"]
    app = typer.Typer()
    data.register(app)
    app.command()(lambda: None)
    shown = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False, standalone_mode=False).stdout
    assert json.loads(shown)["clips"] == 4
    page = (output / "page.html").read_text()
    assert page.count('<figure class="named">') == 3
    assert page.count('<figure class="unnamed">') == 1
    assert "broken.avi" in page
    assert "<b>Bo Green" in page
