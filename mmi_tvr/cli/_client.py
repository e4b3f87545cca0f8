"""The command line's side of a service: whether a command is one for it, and what it has to know of the terminal.

Imports little (see `serve.client`). Whatever this is not sure of runs in this process, as if there were no service.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from .. import __version__
from ..serve.address import SOCKET, identity
from ..serve.client import ServiceEnded, run_command
from ..utils.environment import default_library

# Command -> its options that mean the same in another process, with the number of values that follow each. None of
# them writes a file, and none changes settings: a service has its own.
_COMMON = {"--library": 1, "-l": 1, "--json": 0}
OPTIONS: dict[str, dict[str, int]] = {
    "search": {
        **_COMMON, "--top": 1, "--min-relevance": 1, "--rerank": 0, "--no-rerank": 0, "--explain": 0, "--literal": 0,
        "--no-literal": 0, "--expand": 1, "--exact": 0, "--levels": 1, "--where": 1, "--person": 1, "--me": 1,
        "--only": 0, "--like": 1, "--not": 1, "--unfold": 0, "--more": 1, "--kind": 1, "--since": 1, "--until": 1,
        "--in": 1, "--longer": 1, "--shorter": 1, "--place": 1,
    },
    "facets": {**_COMMON, "--top": 1},
    "status": _COMMON,
}  # fmt: skip
# Variables by which a terminal says what it can show (rich reads them).
_TERMINAL = (
    "TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES",
)  # fmt: skip
_MAX_STDIN = 1 << 20  # bytes


def run(arguments: Sequence[str]) -> int | None:
    """Have a service run a command, and return its exit code; None where none does."""
    library = library_of(arguments)
    if library is None or not os.path.lexists(library / SOCKET):
        return None
    if sys.stdin is None or sys.stdout is None or sys.stderr is None:  # they were closed
        return None
    try:
        request = _request(arguments, library)
    except (OSError, ValueError):
        return None
    try:
        return run_command(library, request, _write)
    except (ServiceEnded, OSError, KeyboardInterrupt) as error:
        return _fail(error)


def library_of(arguments: Sequence[str]) -> Path | None:
    """Return the folder of the library that a command is about; None where it is no command for a service.

    >>> library_of(["search", "a dog", "--top", "3", "-l", "clips"])
    PosixPath('clips')
    >>> library_of(["search", "a dog", "--html", "page.html"]), library_of(["index", "films"])
    (None, None)
    """
    if not arguments or arguments[0] not in OPTIONS:
        return None
    options, library = OPTIONS[arguments[0]], ""
    words = iter(arguments[1:])
    for word in words:
        if word == "--":
            break
        if word == "-" or not word.startswith("-"):
            continue
        name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if name not in options or (equals and not options[name]):
            return None
        if options[name] and not equals:
            value = next(words, "")
        if name in ("--library", "-l"):
            library = value
            if not library:
                return None
    return Path(os.path.expanduser(library)) if library else default_library()


def _request(arguments: Sequence[str], library: Path) -> dict[str, Any]:
    """Return what a service has to know. Raises OSError or ValueError where that cannot be said."""
    terminal = {name: value for name, value in os.environ.items() if name in _TERMINAL}
    request: dict[str, Any] = {
        "version": __version__,
        "library": identity(library),
        "arguments": [os.fsencode(word).decode("latin-1") for word in arguments],
        "folder": os.getcwd(),
        "size": _size(terminal),
        "environment": terminal,
        "stdin": "",
    }
    for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr)):
        request[name] = {"encoding": stream.encoding, "is_terminal": stream.isatty()}
    if "-" in arguments:
        content = sys.stdin.buffer.read(_MAX_STDIN)
        sys.stdin = io.TextIOWrapper(io.BytesIO(content))  # for the command, should it run here
        request["stdin"] = content.decode("latin-1")
    return request


def _size(terminal: Mapping[str, str]) -> tuple[int, int]:
    """Return columns and lines of the terminal, as rich would find them out here."""
    columns, lines = 0, 0
    if terminal.get("TERM", "").lower() not in ("dumb", "unknown"):
        for number in range(3):
            try:
                columns, lines = os.get_terminal_size(number)
                break
            except OSError:
                continue
    if (text := terminal.get("COLUMNS", "")).isdigit():
        columns = int(text)
    if (text := terminal.get("LINES", "")).isdigit():
        lines = int(text)
    return columns or 80, lines or 25


def _write(stream: str, content: bytes) -> None:
    """Print bytes. Raises OSError that names the output where it cannot be written."""
    target = sys.stdout if stream == "stdout" else sys.stderr
    try:
        target.buffer.write(content)
        target.buffer.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), "the output") from error


def _fail(error: BaseException) -> NoReturn:
    """End as a command does that meets this error."""
    from ._console import command

    with command():
        raise error
    raise AssertionError
