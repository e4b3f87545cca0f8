"""The terminal of a client, while one of its commands runs in this process (`_resident`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

from ..library import Library


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where a client's command reads and prints.

    Attributes:
        stdin: what is on its standard input.
        stdout, stderr: where it prints.
        size: columns and lines of its terminal.
        environment: of the variables that say what its terminal can show.
        folder: where the client stands.
        library: what its commands are about; it is open already, and stays so.
        release: shows what was printed so far; until then the command may still be refused.
    """

    stdin: BinaryIO
    stdout: TextIO
    stderr: TextIO
    size: tuple[int, int]
    environment: Mapping[str, str]
    folder: Path
    library: Library
    release: Callable[[], None]


_terminal: ContextVar[Terminal | None] = ContextVar("terminal", default=None)


def current_terminal() -> Terminal | None:
    """Return the terminal of the client whose command runs; None where this process runs its own."""
    return _terminal.get()


def working_folder() -> Path:
    """Return the folder in which the person stands whose command runs."""
    client = current_terminal()
    return Path() if client is None else client.folder


@contextmanager
def answering(client: Terminal) -> Iterator[None]:
    """Have commands of this thread print to a client's terminal, and use its open library."""
    token = _terminal.set(client)
    try:
        yield
    finally:
        _terminal.reset(token)
