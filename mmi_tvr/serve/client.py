"""The client of a service's socket: a command goes in, what it prints comes back, line by line of JSON.

    {"accepted": 4711}                  at once: the process that answers
    {"stdout": "..."}, {"stderr": "..."}    bytes as Latin-1, in their order
    {"exit": 0}                         the end
    {"refused": "..."}                  or instead of all that is printed: run the command without a service

Imports little, so that a command costs no more than a start of Python. Speaks HTTP/1.0, whose replies end with the
connection, because `http.client` alone would take longer to import than all of this takes.
"""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from ..errors import MmiTvrError
from .address import SOCKET, reachable

_TIMEOUT = 5.0  # seconds to connect, and until a service says that it is at work
Write = Callable[[str, bytes], object]  # ("stdout" or "stderr", bytes)


class ServiceEnded(MmiTvrError):
    """A service ended in the middle of an answer of which something was printed already."""

    def __init__(self) -> None:
        super().__init__("the service of this library ended in the middle; run the command again")


def run_command(library: Path, request: Mapping[str, Any], write: Write) -> int | None:
    """Have the service of a library run a command.

    Args:
        library: its folder.
        request: what `serve.commands` reads.
        write: called with what the command prints.

    Returns:
        The exit code; None where no service answers, or it refuses: then nothing was printed.

    Raises:
        ServiceEnded: in the middle of an answer.
    """
    connection = _connect(library / SOCKET)
    if connection is None:
        return None
    printed = False
    with closing(connection):
        try:
            for reply in _replies(connection, request):
                if "accepted" in reply:
                    connection.settimeout(None)
                elif "refused" in reply:
                    return None
                elif "exit" in reply:
                    return int(reply["exit"])
                for stream in ("stdout", "stderr"):
                    if stream in reply:
                        printed = True
                        write(stream, reply[stream].encode("latin-1"))
        except (ConnectionError, TimeoutError, ValueError):
            if not printed:
                return None
            raise ServiceEnded from None
    if printed:
        raise ServiceEnded
    return None


def is_alive(library: Path) -> bool:
    """Return whether a service of a library can be connected to."""
    connection = _connect(library / SOCKET)
    if connection is not None:
        connection.close()
    return connection is not None


def _connect(path: Path) -> socket.socket | None:
    """Return a connection; None where there is no socket of this user, or nobody listens any more."""
    try:
        status = os.lstat(path)
        if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.geteuid():
            return None
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except (OSError, AttributeError):  # a system without such sockets, or users
        return None
    try:
        connection.settimeout(_TIMEOUT)
        with reachable(path) as address:
            connection.connect(address)
    except OSError:
        connection.close()
        return None
    return connection


def _replies(connection: socket.socket, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the lines of the answer to a request; none where the service does not take it."""
    body = json.dumps(request).encode()
    head = f"POST /command HTTP/1.0\r\nHost: service\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    connection.sendall(f"{head}\r\n\r\n".encode() + body)
    with connection.makefile("rb") as lines:
        status = lines.readline().split()
        if len(status) < 2 or status[1] != b"200":
            return
        while lines.readline().strip():
            pass
        for line in lines:
            if not line.endswith(b"\n"):
                raise ConnectionError
            with suppress(json.JSONDecodeError):
                yield json.loads(line)
