"""The library that a command is about: opened for it, or the one that a service holds open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..config import Settings
from ..library import Library
from ._terminal import current_terminal


@contextmanager
def open_library(path: Path, settings: Settings | None = None) -> Iterator[Library]:
    """Yield the library in a folder. That of a service, which has settings of its own, stays open."""
    client = current_terminal()
    if client is not None:
        yield client.library
        return
    with Library(path, settings=settings) as opened:
        yield opened
