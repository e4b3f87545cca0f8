"""`mmi-tvr probe`: what a file holds, its pictures, and the reason where it cannot be used."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import media_files as files
import numpy as np
import picture_media as media
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from mmi_tvr.cli import probe as probe_command
from mmi_tvr.errors import UsageError
from mmi_tvr.media.file_report import PictureOptions
from mmi_tvr.media.guarded import DecoderPool, Limits


@pytest.fixture(scope="module")
def run():
    """Runs `probe` in this process and returns its JSON document, or its text."""
    app = typer.Typer()
    app.callback()(lambda: None)
    probe_command.register(app)

    def run(*words: object, code: int = 0, text: bool = False) -> Any:
        result = CliRunner().invoke(app, ["probe", *map(str, words), *([] if text else ["--json"])])
        if isinstance(result.exception, UsageError):
            raise result.exception
        assert result.exit_code == code, result.output
        return result.stdout if text else json.loads(result.stdout)["files"]

    return run


def test_probe_says_what_a_file_holds(run, tmp_path: Path) -> None:
    path = files.make_video(tmp_path / "a.mp4", fps=12, size=(64, 48), rotation=90, sound=True)
    (file,) = run(path)
    keys = "path duration start width height rotation mirrored codec tracks frames error"
    assert set(file) >= set(keys.split())
    assert (file["width"], file["height"], file["rotation"], file["mirrored"]) == (48, 64, 90, False)
    assert (file["path"], file["codec"], file["frames"], file["error"]) == (str(path), "h264", [], None)
    assert file["duration"] == pytest.approx(2, abs=0.1)
    assert [track["kind"] for track in file["tracks"]] == ["video", "audio"]
    assert [track["chosen"] for track in file["tracks"]] == [True, False]


def test_pictures_are_written_under_their_times(run, tmp_path: Path) -> None:
    path = files.make_video(tmp_path / "a.mp4", fps=10, pictures=files.counted(40), options={"qp": "1"})
    (file,) = run(path, "--frames", tmp_path / "out", "--fps", 1, "--limit", 3)
    assert len(file["frames"]) == 3
    names = [Path(frame["path"]).name for frame in file["frames"]]
    assert names == sorted(names)
    for frame in file["frames"]:
        assert float(Path(frame["path"]).stem) == pytest.approx(frame["time"], abs=0.001)
        assert frame["time"] == pytest.approx(shown(Path(frame["path"])) / 10)


def shown(path: Path) -> int:
    with Image.open(path) as image:
        return files.number_of(np.asarray(image))


def test_one_bad_file_does_not_stop_the_others(run, tmp_path: Path) -> None:
    good = files.make_video(tmp_path / "a.mp4", seconds=1)
    sound = files.make_sound(tmp_path / "sound.m4a")
    link = tmp_path / "link.mp4"
    link.symlink_to("nowhere.mp4")
    bad, missing, good_again, dangling = run(sound, tmp_path / "missing.mp4", good, link, code=1)
    assert dangling["error"] == "a link that points to nothing"  # as indexing says
    assert bad["error"] == "has sound but no video stream"
    assert [track["kind"] for track in bad["tracks"]] == ["audio"]
    assert (missing["error"], missing["duration"], missing["tracks"]) == ("no such file", None, [])
    assert good_again["error"] is None


def test_files_of_others_are_not_replaced(run, tmp_path: Path) -> None:
    path = files.make_video(tmp_path / "a.mp4", seconds=1)
    words = (path, "--frames", tmp_path, "--limit", 1)
    ((frame,),) = (file["frames"] for file in run(*words))
    run(*words)  # ours: replaced
    Path(frame["path"]).write_bytes(b"mine")
    with pytest.raises(UsageError, match="--force"):
        run(*words)
    assert Path(frame["path"]).read_bytes() == b"mine"
    run(*words, "--force")


def test_a_file_that_takes_too_long_or_is_looked_at_in_this_process(tmp_path: Path) -> None:
    path = files.make_video(tmp_path / "a.mp4", seconds=1)
    hurried = DecoderPool(Limits(seconds=1e-4))
    report = hurried.report(path, PictureOptions())
    hurried.stop()
    assert report.error.startswith("took longer than 0 s")
    assert (report.info, report.tracks, report.pictures) == (None, (), [])
    plain = DecoderPool(Limits(workers=0)).report(path, PictureOptions(fps=1, limit=1))
    pool = DecoderPool(Limits())
    guarded = pool.report(path, PictureOptions(fps=1, limit=1))
    pool.stop()
    assert guarded.info == plain.info
    assert guarded.tracks == plain.tracks == plain.info.tracks
    assert [time for time, _ in guarded.pictures] == [time for time, _ in plain.pictures]
    assert np.array_equal(guarded.pictures[0][1], plain.pictures[0][1])


def test_a_turned_film_has_a_picture_for_each_frame_size(run, tmp_path: Path) -> None:
    parts = [[media.square(size)] * 10 for size in ((160, 96), (96, 160))]
    path = media.write_sizes(tmp_path / "a.webm", parts, "libvpx")
    (file,) = run(path, "--frames", tmp_path / "new" / "out", "--fps", 2)
    assert [size_of(frame["path"]) for frame in file["frames"]] == [(160, 96)] * 2 + [(96, 160)] * 2


def size_of(path: str) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_several_files_get_a_folder_each(run, tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        files.make_video(tmp_path / place / "a.mp4", seconds=1)
    videos = [tmp_path / place / "a.mp4" for place in ("one", "two")]
    reports = run(*videos, tmp_path / "none.mp4", "--frames", tmp_path / "out", "--limit", 1, code=1)
    folders = [Path(file["frames"][0]["path"]).parent.name for file in reports[:2]]
    assert folders == ["a.mp4", "a.mp4-2"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == folders


def test_the_text_names_what_matters(run, tmp_path: Path) -> None:
    path = media.write(tmp_path / "a.mp4", [media.quarters()] * 20, matrix=media.matrix_of(media.LINEAR[7]))
    text = run(path, text=True)
    assert "64x96, mirrored, turned by" in text
    assert "10 frames a second, h264" in text
    assert "0: video h264 96x64" in text
    assert "chosen: the only video track" in text
    sound = files.make_sound(tmp_path / "sound.m4a")
    assert "error      has sound but no video stream" in run(sound, text=True, code=1)


def test_names_that_are_no_text(run, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"no text \xff and a\nline.mp4")
    files.make_video(tmp_path / "a.mp4", seconds=1).rename(path)
    (file,) = run(path, "--frames", tmp_path / "out", "--limit", 1)
    assert file["error"] is None
    assert os.fsencode(path) == base64.b64decode(file["path_bytes"])
    assert "no text \\xff and a\\nline.mp4" in run(path, text=True)
