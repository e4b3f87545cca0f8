"""`describe`: the lines of a text file, ranked for videos by any model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from fakes import FakeModel, colour_video
from typer.testing import CliRunner

from mmi_tvr import plugins
from mmi_tvr.cli import describe as describe_command
from mmi_tvr.config import Section
from mmi_tvr.encoder import Encoder
from mmi_tvr.errors import UsageError
from mmi_tvr.types import Block, Scoring


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch):
    """Runs `describe` with a model that knows colours, and returns its JSON document, or its text."""
    monkeypatch.setattr(describe_command, "load_model", lambda *choice: (Section(name="clip4clip"), FakeModel()))
    app = typer.Typer()
    app.callback()(lambda: None)
    describe_command.register(app)

    def run(*words: object, code: int = 0, text: bool = False) -> Any:
        result = CliRunner().invoke(app, ["describe", *map(str, words), *([] if text else ["--json"])])
        if isinstance(result.exception, UsageError):
            raise result.exception
        assert result.exit_code == code, result.output
        return result.stdout if text else json.loads(result.stdout)["videos"]

    return run


@pytest.fixture
def stock(tmp_path: Path) -> Path:
    path = tmp_path / "lines.txt"
    path.write_bytes("\ufeffblue\r\n\r\n  red \nred\ngreen\x1b\n".encode())
    return path


def test_the_best_lines_of_each_video_come_first(run: Any, stock: Path, tmp_path: Path) -> None:
    videos = [colour_video(tmp_path / f"{colour}.mp4", colour, seconds=0.5) for colour in ("red", "green")]
    red, green = run(*videos, "--stock", stock, "--top", 2)
    assert [red["path"], green["path"]] == list(map(str, videos))
    assert red["lines"][0]["line"] == "red"
    assert len(red["lines"]) == 2
    scores = [line["score"] for line in green["lines"]]
    assert green["lines"][0]["line"].startswith("green")
    assert scores == sorted(scores, reverse=True)
    shown = run(videos[1], "--stock", stock, text=True)
    assert "\x1b" not in shown
    assert len(shown.splitlines()) == 1 + 3


def test_a_file_that_is_no_video_is_named_and_the_others_are_described(run: Any, stock: Path, tmp_path: Path) -> None:
    video = colour_video(tmp_path / "blue.mp4", "blue", seconds=0.5)
    broken, good = run(stock, video, "--stock", stock, code=1)
    assert broken["error"]
    assert not broken["lines"]
    assert good["error"] is None
    assert good["lines"][0]["line"] == "blue"


@pytest.mark.parametrize(("content", "message"), [(b" \n\t\n", "no line"), (b"caf\xe9\n", "not UTF-8")])
def test_a_stock_that_cannot_be_read_is_one_line(run: Any, tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "lines.txt"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        run(path, "--stock", path)


def test_a_video_asks_by_what_counts_where_videos_ask() -> None:
    scoring = Scoring(blocks=(Block("one", 2, t2v=1.0, v2t=0.0), Block("two", 2, t2v=0.0, v2t=1.0)))
    encoder = Encoder(FakeModel(scoring=scoring), plugins.build("keyimages", "disparity", {}))
    texts = np.float32([[1, 0, 0, 1], [0, 1, 1, 0]])
    videos = np.float32([[1, 0, 1, 0]]) / np.float32(2**0.5)
    np.testing.assert_allclose(encoder.similarity(texts, videos)[:, 0], [1, 0], atol=1e-6)
    np.testing.assert_allclose(encoder.similarity(texts, videos, direction="v2t")[:, 0], [0, 1], atol=1e-6)
