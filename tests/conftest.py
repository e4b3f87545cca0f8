"""What tests share. They keep out of the user's cache and state: a run and its processes have some of their own."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import FakeModel, clipped, colour_video

from mmi_tvr.library import Library

_CACHE = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    # A shell that starts the tests in the background makes them ignore Ctrl-C, and all processes that they start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.stash[_CACHE] = os.environ["MMI_TVR_CACHE"] = tempfile.mkdtemp(prefix="mmi-tvr-tests-")
    os.environ["XDG_STATE_HOME"] = os.path.join(config.stash[_CACHE], "state")


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_CACHE], ignore_errors=True)


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
