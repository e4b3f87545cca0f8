"""What tests share. They keep out of the user's cache and state: a run and its processes have some of their own."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeModel, clipped, colour_video

from mmi_tvr.library import Library

_CACHE = pytest.StashKey[str]()
_SLOW = pytest.StashKey[int]()  # tests that were left out because they are slow


def pytest_configure(config: pytest.Config) -> None:
    # A shell that starts the tests in the background makes them ignore Ctrl-C, and all processes that they start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.stash[_CACHE] = os.environ["MMI_TVR_CACHE"] = tempfile.mkdtemp(prefix="mmi-tvr-tests-")
    os.environ["XDG_STATE_HOME"] = os.path.join(config.stash[_CACHE], "state")


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_CACHE], ignore_errors=True)


def pytest_deselected(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow") is not None:
            item.config.stash[_SLOW] = item.config.stash.get(_SLOW, 0) + 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)  # of a process of pytest-xdist: each leaves out the same
    if output is not None:
        output["slow"] = session.config.stash.get(_SLOW, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[_SLOW] = getattr(node, "workeroutput", {}).get("slow", 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if count := config.stash.get(_SLOW, 0):
        terminalreporter.write_line(f"{count} slow tests were left out; all: bash scripts/test.sh --all")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four videos of one colour each, in two folders."""
    for number, name in enumerate(("blue", "green", "red", "yellow")):
        colour_video(tmp_path / "videos" / f"part{number % 2}" / f"{name}.mp4", name)
    return tmp_path / "videos"


@pytest.fixture(scope="session")
def training_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all training runs put the features of videos, so that none are computed twice."""
    return tmp_path_factory.mktemp("features")


@pytest.fixture
def one_process() -> None:
    """What accelerate knows of this process from other tests is forgotten."""
    from accelerate import PartialState

    PartialState._reset_state()


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    """A new library with the model that knows colours."""
    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped) as opened:
        yield opened
