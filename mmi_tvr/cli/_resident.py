"""Runs commands of clients in a service's process, on the library that it holds open."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import typer

from ..library import Library
from ..serve.commands import Refused, Write
from ._client import OPTIONS
from ._terminal import Terminal, answering


class ResidentCommands:
    """Runs commands of a program (`serve.commands.CommandRunner`).

    A command that fails is refused, so that its client runs it again by itself and says what is wrong in its own words,
    unless something was shown already.
    """

    def __init__(self, app: typer.Typer, library: Library) -> None:
        """Args: the program, and the library that all its commands are about here."""
        self._app = app
        self._library = library

    def __call__(self, request: Mapping[str, Any], write: Write) -> int:
        """Run the command of a request (`cli._client` makes them). Raises Refused."""
        try:
            arguments = [os.fsdecode(word.encode("latin-1")) for word in request["arguments"]]
            output = _Output(write)
            terminal = self._terminal(request, output)
        except (TypeError, ValueError, AttributeError, LookupError) as error:
            raise Refused("no command") from error
        if not arguments or arguments[0] not in OPTIONS:
            raise Refused("no command for a service")
        with answering(terminal):
            try:
                code = self._app(args=arguments, prog_name=self._app.info.name, standalone_mode=False) or 0
            except SystemExit as stop:
                code = stop.code
            except Exception as error:
                raise Refused(type(error).__name__) from error
        if not isinstance(code, int):
            raise Refused("no exit code")
        terminal.stdout.flush()
        terminal.stderr.flush()
        output.release()
        return code

    def _terminal(self, request: Mapping[str, Any], output: _Output) -> Terminal:
        columns, lines = request["size"]
        return Terminal(
            stdin=io.BytesIO(request["stdin"].encode("latin-1")),
            stdout=output.stream("stdout", **request["stdout"]),
            stderr=output.stream("stderr", **request["stderr"]),
            size=(int(columns), int(lines)),
            environment=dict(request["environment"]),
            folder=Path(request["folder"]),
            library=self._library,
            release=output.release,
        )


class _Output:
    """What a command prints, held back until it is released."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._waiting: list[tuple[str, bytes]] | None = []

    def stream(self, name: str, encoding: str, is_terminal: bool) -> io.TextIOWrapper:
        """Return a stream that prints as the client's does."""
        raw = _Stream(lambda content: self._print(name, content), is_terminal)
        return io.TextIOWrapper(
            io.BufferedWriter(raw), encoding=encoding, errors="backslashreplace", newline="\n", write_through=True
        )

    def release(self) -> None:
        """Print what waits, and from now on at once."""
        waiting, self._waiting = self._waiting, None
        for name, content in waiting or ():
            self._write(name, content)

    def _print(self, name: str, content: bytes) -> None:
        if self._waiting is None:
            self._write(name, content)
        else:
            self._waiting.append((name, content))


class _Stream(io.RawIOBase):
    """A stream whose bytes go to a function."""

    def __init__(self, write: Callable[[bytes], None], is_terminal: bool) -> None:
        self._function = write
        self._is_terminal = is_terminal

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._is_terminal

    def write(self, content: Any) -> int:
        block = bytes(content)
        self._function(block)
        return len(block)
