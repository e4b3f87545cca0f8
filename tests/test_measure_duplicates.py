"""The script that measures near-duplicates, on small films of scenes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from media_files import make_video
from PIL import Image
from test_duplicates import scene
from test_query_scripts import SCRIPTS, script

from mmi_tvr.scoring.fingerprints import LEAST


@pytest.fixture(scope="module")
def measure() -> ModuleType:
    return script("measure_duplicates")


def test_copies_of_pictures_are_alike_and_other_pictures_are_not(measure: ModuleType) -> None:
    clips = [[Image.fromarray(scene(seed)), Image.fromarray(scene(seed))] for seed in range(4)]
    likenesses = measure.measure_pictures(clips)
    assert set(likenesses) == {*measure.PICTURE_COPIES, "different clips", "another time of the clip"}
    assert {len(likenesses[kind]) for kind in measure.PICTURE_COPIES} == {8}
    assert likenesses["JPEG at quality 30"].min() > LEAST
    assert likenesses["half as wide and high"].min() > LEAST
    assert likenesses["10 % cropped off each side"].mean() < likenesses["3 % cropped off each side"].mean()
    assert likenesses["different clips"].shape == (4 * 6,)
    assert likenesses["different clips"].max() < LEAST
    assert likenesses["another time of the clip"] == pytest.approx(np.ones(4))


def test_shares_are_of_so_many_trials_as_there_are_clips(
    measure: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    measure.report({"some": np.array([0.99, 0.5, 0.94, 0.1]), "none": np.zeros(0)}, 2)
    assert capsys.readouterr().out == "  some                           50.0 [9.5, 90.5], n = 4; 0.100, 0.990\n"


@pytest.mark.slow
def test_films_and_their_pictures_are_measured(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    for seed in range(4):
        frames = [scene(10 * seed + number // 6) for number in range(24)]
        make_video(clips / f"{seed}.mp4", pictures=frames, fps=12, size=(160, 120))
    run = [sys.executable, str(SCRIPTS / "measure_duplicates.py"), str(clips)]
    films = subprocess.run([*run, str(tmp_path / "copies")], capture_output=True, text=True, check=True).stdout
    assert "2 other clips" in films
    assert "  saved again                   100.0 [" in films
    assert "  different clips                 0.0 [" in films
    pictures = subprocess.run([*run, "--pictures"], capture_output=True, text=True, check=True).stdout
    assert "  JPEG at quality 30            100.0 [" in pictures
    neither = subprocess.run(run, capture_output=True, text=True, check=False)
    assert neither.returncode == 2
    assert "either COPIES" in neither.stderr
