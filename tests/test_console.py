"""How a command ends, what it prints where, and how it starts workers: in this process, without a model."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from unittest.mock import Mock

import pytest
import typer
from typer.testing import CliRunner

import mmi_tvr
from mmi_tvr import cli
from mmi_tvr.cli import _console, evaluation
from mmi_tvr.cli.batch import worker_command
from mmi_tvr.config import Section, Settings, from_values
from mmi_tvr.errors import MediaError, MmiTvrError, UsageError
from mmi_tvr.utils import interruption

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
        (interruption.Interrupted(), 130, HOW_TO_GO_ON),
        (interruption.Interrupted("go on [so]"), 130, "go on [so]\n"),
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
    changes = from_values({"model": {"classes": 7}})
    assert _console.chosen_model("label_bridge", changes, download=False) == Section(name="label_bridge", classes=7)
    assert _console.chosen_model(None, changes, download=False) is None
    assert _console.chosen_model(None, settings, download=False) == settings.model
    assert _console.chosen_model(None, Settings(), download=False) is None
    with pytest.raises(UsageError, match="they say what to fetch"):
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


def test_no_stage_leaves_no_empty_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), _console.command(), _console.ProgressBars():
        raise UsageError("nothing was begun")
    assert capsys.readouterr().err == "error: nothing was begun\n"


def test_a_log_gets_a_line_every_so_many_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Mock(return_value=0.0)
    monkeypatch.setattr(time, "monotonic", clock)
    with _console.show_progress() as progress:  # the tests' stderr is no terminal
        progress.begin("features", 1000)
        for second in range(1, 42):
            clock.return_value = float(second)
            progress.advance(5)
        progress.begin("training", 1000)
        progress.advance(900)  # of the run before
        clock.return_value += 20
        progress.advance(9)
        progress.begin("judging", 10)
        clock.return_value += 600  # a model is loaded
        progress.advance()
        clock.return_value += 20
        progress.advance()
        progress.begin("embedding", 1000)
        clock.return_value += 30
        progress.advance(64)
        clock.return_value += 20
        progress.advance(2)
        progress.say("[half] done")
    assert capsys.readouterr().err.splitlines() == [
        "features: 105 of 1,000, 5.0/s, about 3.0 min left",
        "features: 205 of 1,000, 5.0/s, about 2.6 min left",
        "training: 909 of 1,000, 0.45/s, about 3.4 min left",
        "judging: 1 of 10",
        "judging: 2 of 10, 0.05/s, about 2.7 min left",
        "embedding: 64 of 1,000",
        "embedding: 66 of 1,000, 0.10/s, about 2.6 h left",
        "[half] done",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["search", "a", "dog"], 'put the text in quotes: mmi-tvr search "a dog"'),
        (["search"], r'what is to be in the video\? mmi-tvr search "a dog catches a ball", or --person NAME'),
        (["people", "name"], "missing argument 'CLUSTER'; help: mmi-tvr people name --help"),
        (["search", "a dog", "--tpo", "3"], "no such option: --tpo .*--top.*; help: mmi-tvr search --help"),
        (["search", "a dog", "--top", "0"], "invalid value for '--top': .* 1; help: mmi-tvr search --help"),
        (["saerch", "a dog"], "no such command 'saerch'. did you mean .*search.*; help: mmi-tvr --help"),
    ],
)
def test_wrong_words_are_one_line(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mmi-tvr", *words])
    with pytest.raises(SystemExit) as raised:
        cli.main()
    assert raised.value.code == 2
    assert re.fullmatch(f"error: {message}\n", capsys.readouterr().err, re.IGNORECASE)


def test_the_version_and_a_group_without_a_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, code, printed in (["--version"], 0, f"mmi-tvr {mmi_tvr.__version__}\n"), (["prompts"], 2, "Usage"):
        monkeypatch.setattr(sys, "argv", ["mmi-tvr", *words])
        with pytest.raises(SystemExit) as raised:
            cli.main()
        captured = capsys.readouterr()
        assert raised.value.code == code
        assert printed in captured.out + captured.err
        assert "error" not in captured.err
    assert metadata.version("mmi-tvr") == mmi_tvr.__version__


def test_the_package_runs_as_a_module_and_completes_words() -> None:
    request = {**os.environ, "_MMI_TVR_COMPLETE": "complete_bash", "COMP_WORDS": "mmi-tvr sea", "COMP_CWORD": "1"}
    done = subprocess.run([sys.executable, "-m", "mmi_tvr"], env=request, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("search\n", "")


def test_closed_streams_are_empty_and_lend_their_numbers_to_no_file() -> None:
    program = """
import sys
from mmi_tvr.cli import _console
with _console.command(), open(sys.executable) as file:
    _console.print_json({"stdin": sys.stdin.buffer.read().decode()})
    _console.out.print("lost")
    sys.exit(file.fileno())
"""
    run = [sys.executable, "-c", program]
    closed = subprocess.run(["sh", "-c", '"$@" <&- >&- 2>&-', "sh", *run], timeout=60)
    assert closed.returncode > 2
    assert subprocess.run(["sh", "-c", '"$@" <&- >&-', "sh", *run], timeout=60, capture_output=True).stderr == b""


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
