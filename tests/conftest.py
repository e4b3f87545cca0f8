"""What tests share. They keep out of the user's cache and state: a run and its processes have some of their own."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from chat_server import ChatServer
from fakes import FakeModel, clipped, colour_video

from mmi_tvr.library import Library

if TYPE_CHECKING:
    from serving import Client

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


@pytest.fixture
def server() -> Iterator[ChatServer]:
    """A language model's server that says what it is told to."""
    with ChatServer() as running:
        yield running


# A LLaVA, imported where it is used: it brings transformers along.


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random LLaVA of the real layout, which no test changes."""
    import tiny_llava

    return tiny_llava.make(tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="session")
def adapter(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of that LLaVA, as peft saves it."""
    import tiny_llava

    return tiny_llava.make_adapter(checkpoint, tmp_path_factory.mktemp("adapter"))


# A service, for the tests of one file together.


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of films of one colour each."""
    from serving import colour_films

    return colour_films(tmp_path_factory.mktemp("serve") / "films")


@pytest.fixture(scope="module")
def opened(films: Path) -> Iterator[Library]:
    """A library of these films."""
    with Library(films.parent / "library", model=FakeModel(), relevance=clipped) as library:
        library.index(films)
        yield library


@pytest.fixture(scope="module")
def client(opened: Library) -> Iterator[Client]:
    """Sends requests to a service of that library."""
    from serving import served

    with served(opened) as one:
        yield one
