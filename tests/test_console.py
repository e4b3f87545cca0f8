"""How a command ends, what it prints where, and how it starts workers: in this process, without a model."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mmi_tvr.cli import _console, evaluation
from mmi_tvr.cli.batch import worker_command
from mmi_tvr.config import Settings, from_values
from mmi_tvr.errors import MediaError, MmiTvrError, UsageError

HOW_TO_GO_ON = "interrupted: nothing is lost; run the same command again to go on\n"


def ending(error: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    """Return the exit code and what stands on stderr when a command raises this; stdout stays empty."""
    with pytest.raises(SystemExit) as raised, _console.command():
        raise error
    captured = capsys.readouterr()
    assert captured.out == ""
    return raised.value.code, captured.err


@pytest.mark.parametrize(
    ("error", "code", "stderr"),
    [
        (MmiTvrError("it failed"), 1, "error: it failed\n"),
        (UsageError("no such [red] option"), 2, "error: no such [red] option\n"),
        (MediaError("a.mp4", "is empty (0 bytes)"), 1, "error: a.mp4: is empty (0 bytes)\n"),
        (PermissionError(13, "Permission denied", "films"), 1, "error: films: Permission denied\n"),
        (OSError("the disk is full"), 1, "error: the disk is full\n"),
        (KeyboardInterrupt(), 130, HOW_TO_GO_ON),
        (SystemExit(130), 130, HOW_TO_GO_ON),
        (SystemExit(143), 143, ""),
        (SystemExit(0), 0, ""),
    ],
)
def test_what_goes_wrong_is_one_line_and_a_code(
    error: BaseException, code: int, stderr: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ending(error, capsys) == (code, stderr)


def test_a_bug_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), _console.command():
        raise ZeroDivisionError


def test_sigterm_ends_a_command_with_the_message_of_ctrl_c(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as raised, _console.command():
        signal.raise_signal(signal.SIGTERM)
    assert raised.value.code == 130
    assert capsys.readouterr().err == HOW_TO_GO_ON
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_command_that_ends_well_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with _console.command():
        pass
    assert capsys.readouterr() == ("", "")


def test_json_is_one_document_that_any_reader_takes(capsys: pytest.CaptureFixture[str]) -> None:
    _console.print_json({"query": "红色", "score": 0.5})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"query": "红色", "score": 0.5}
    assert "红色" in printed
    assert printed.endswith("}\n")
    with pytest.raises(ValueError, match="Out of range"):
        _console.print_json({"score": float("nan")})


def test_only_the_offline_default_is_announced(capsys: pytest.CaptureFixture[str]) -> None:
    _console.announce("clip4clip")
    assert capsys.readouterr().err == ""
    _console.announce("label_bridge")
    assert capsys.readouterr().err.startswith("model: label_bridge (offline")


def test_the_model_is_that_of_the_option_then_of_the_settings_then_open() -> None:
    settings = from_values({"model": {"name": "clip4clip", "checkpoint": "somewhere"}})
    chosen = _console.chosen_model("label_bridge", settings, download=False)
    assert chosen is not None
    assert chosen.name == "label_bridge"
    assert _console.chosen_model(None, settings, download=False) == settings.model
    assert _console.chosen_model(None, Settings(), download=False) is None
    with pytest.raises(typer.BadParameter, match="they say what to fetch"):
        _console.chosen_model(None, Settings(), download=True)


def test_bars_count_the_stage_that_began_last(capsys: pytest.CaptureFixture[str]) -> None:
    with _console.ProgressBars() as progress:
        progress.advance()  # before any stage: nothing to count
        progress.begin("reading", 2)
        progress.advance(2)
        progress.begin("writing", 5)
        progress.advance()
        progress.advance(2)
        progress.say("[half] done")
    lines = capsys.readouterr().err.splitlines()
    assert "[half] done" in lines
    assert [line.split()[0] for line in lines if "/" in line] == ["reading", "writing"]
    assert "2/2" in next(line for line in lines if line.startswith("reading"))
    assert "3/5" in next(line for line in lines if line.startswith("writing"))


def test_messages_without_bars_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    progress = _console.MessageOnlyProgress()
    progress.begin("reading", 2)
    progress.advance()
    progress.say("fetching [one]")
    assert capsys.readouterr().err == "fetching [one]\n"


def test_a_worker_is_this_interpreter_with_these_module_paths() -> None:
    words = worker_command(Path("-odd folder"), "cuda:1", None)
    assert words[0] == sys.executable
    assert repr(sys.path) in words[2]
    assert words[3:] == ["batch", "worker", "--device", "cuda:1", "--", "-odd folder"]
    assert worker_command(Path("out"), "cpu", Path("run.txt"))[-4:] == ["--trec", "run.txt", "--", "out"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("contrast", "videos", "--kind", "order"), "pairs that differ in one thing .* moving_shapes, not of videos"),
        (("videos", "--contrast", "order"), "pairs that differ in one thing"),
        (("answers", "videos"), "true answers are known of one data set"),
        (("videos", "--answers"), "true answers"),
        (("retrieval", "no-such"), "neither a folder nor a data set"),
        (("no-such", "--limit", "3"), "neither a folder nor a data set"),
        (("--limit", "3", "no-such"), "neither a folder nor a data set"),
        (("no-such", "--set", "keyimages.cuont=3"), "count"),
    ],
)
def test_evaluate_has_three_commands_and_one_is_meant_without_a_name(words: tuple[str, ...], message: str) -> None:
    app = typer.Typer()
    evaluation.register(app)
    with pytest.raises(MmiTvrError, match=message):
        CliRunner().invoke(app, ["evaluate", *words], catch_exceptions=False)
