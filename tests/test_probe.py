"""`mmi-tvr probe`: what a file holds, its pictures, and the reason where it cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import media_files as files
import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from mmi_tvr.cli import probe as probe_command
from mmi_tvr.errors import UsageError


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
    bad, missing, good_again = run(sound, tmp_path / "missing.mp4", good, code=1)
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
