"""Commands of the command line, run here for a client of the socket (`serve.client` says how they talk).

Who runs them is passed in (`CommandRunner`), because the command line is above this room.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from .. import __version__
from .address import identity

_AT_THE_SAME_TIME = 8  # commands; further ones run without the service


class Refused(Exception):
    """A command that is to be run without a service; nothing of it was printed."""


Write = Callable[[str, bytes], None]  # "stdout" or "stderr", and what is printed there
CommandRunner = Callable[[Mapping[str, Any], Write], int]  # a request -> the exit code; raises Refused


class SocketCommands:
    """Takes requests from the socket, and gives back what the commands print."""

    def __init__(self, library: Path, run: CommandRunner) -> None:
        """Args: the folder of the library, and what runs a command on it."""
        self._library = library
        self._run = run
        self._free = threading.BoundedSemaphore(_AT_THE_SAME_TIME)

    def refusal(self, request: Mapping[str, Any]) -> str | None:
        """Return why a request is not for this service; None where it is.

        Its client has another version of the package, or its library is another folder by now: this one was moved, or
        replaced.
        """
        try:
            present = identity(self._library)
        except OSError:
            present = []
        if request.get("version") != __version__:
            return "another version"
        if request.get("library") != present:
            return "another library"
        return None

    async def answer(self, request: Mapping[str, Any]) -> AsyncIterator[bytes]:
        """Yield the lines of the answer to a request."""
        reason = self.refusal(request)
        if reason is None and not self._free.acquire(blocking=False):
            reason = "busy"
        if reason is not None:
            yield _line({"refused": reason})
            return
        loop = asyncio.get_running_loop()
        replies: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

        def reply(line: dict[str, Any]) -> None:
            loop.call_soon_threadsafe(replies.put_nowait, line)

        def work() -> None:
            try:
                code = self._run(request, lambda stream, content: reply({stream: content.decode("latin-1")}))
            except Refused as error:
                reply({"refused": str(error)})
            except BaseException as error:
                reply({"refused": type(error).__name__})
                raise
            else:
                reply({"exit": code})
            finally:
                self._free.release()

        threading.Thread(target=work, name="command", daemon=True).start()
        yield _line({"accepted": os.getpid()})
        while True:
            line = await replies.get()
            yield _line(line)
            if "exit" in line or "refused" in line:
                return


def _line(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document).encode() + b"\n"
