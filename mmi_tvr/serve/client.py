"""The client of a service's socket: a command goes in, what it prints comes back, line by line of JSON.

    {"accepted": 4711}                  at once: the process that answers
    {"stdout": "..."}, {"stderr": "..."}    bytes as Latin-1, in their order
    {"exit": 0}                         the end
    {"refused": "..."}                  or instead of all that is printed: run the command without a service

Other doors of this machine ask for a route of the API by the same socket (`request`).

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
from typing import Any, BinaryIO, NamedTuple

from ..errors import MmiTvrError
from .address import SOCKET, reachable

_TIMEOUT = 5.0  # seconds to connect, and until a service says that it is at work
Write = Callable[[str, bytes], object]  # ("stdout" or "stderr", bytes)


class ServiceReply(NamedTuple):
    """What a service answers to a request: the status of HTTP, and the body."""

    status: int
    body: bytes


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


def request(
    library: Path, method: str, target: str, document: Mapping[str, Any] | None = None, timeout: float = _TIMEOUT
) -> ServiceReply | None:
    """Ask the service of a library for a route of its API.

    Args:
        library: its folder.
        method: GET or POST.
        target: path and query of the route, ASCII.
        document: the body, as JSON; None: there is none.
        timeout: seconds without a sign of it, after which the service counts as away.

    Returns:
        The reply; None where no service answers, or it ends in the middle.
    """
    connection = _connect(library / SOCKET)
    if connection is None:
        return None
    connection.settimeout(timeout)
    with closing(connection), suppress(OSError, ValueError):
        _send(connection, method, target, b"" if document is None else json.dumps(document).encode())
        with connection.makefile("rb") as stream:
            status, length = _head(stream)
            body = stream.read() if length is None else stream.read(length)
        return ServiceReply(status, body) if length is None or len(body) == length else None
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
    _send(connection, "POST", "/command", json.dumps(request).encode())
    with connection.makefile("rb") as lines:
        status, _ = _head(lines)
        if status != 200:
            return
        for line in lines:
            if not line.endswith(b"\n"):
                raise ConnectionError
            with suppress(json.JSONDecodeError):
                yield json.loads(line)


def _send(connection: socket.socket, method: str, target: str, body: bytes) -> None:
    head = f"{method} {target} HTTP/1.0\r\nHost: service\r\nContent-Length: {len(body)}"
    if body:
        head += "\r\nContent-Type: application/json"
    connection.sendall(f"{head}\r\n\r\n".encode() + body)


def _head(stream: BinaryIO) -> tuple[int, int | None]:
    """Read the head of a reply; return its status and how long its body is (None: it does not say so).

    Raises ValueError where it is no head.
    """
    words = stream.readline().split()
    if len(words) < 2:
        raise ValueError("no reply")
    length = None
    while line := stream.readline().strip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return int(words[1]), length
