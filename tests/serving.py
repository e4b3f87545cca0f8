"""A service in a thread of the test, and raw requests to it: what a client library would refuse to send."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fakes import colour_video

from mmi_tvr.cli._resident import ResidentCommands
from mmi_tvr.cli.app import app
from mmi_tvr.library import Library
from mmi_tvr.serve.running import RunningService, ServiceOptions, run


@dataclass
class Reply:
    """A parsed answer; `status` 0: the connection ended without one."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Sends requests over connections of their own."""

    def __init__(self, running: RunningService) -> None:
        self.running = running
        parts = urlsplit(running.url)
        self.address = (parts.hostname, parts.port)
        self.host = parts.netloc

    def raw(self, content: bytes, timeout: float = 120.0) -> Reply:
        """Send bytes, and return the answer as soon as it is complete."""
        with closing(socket.create_connection(self.address, timeout=timeout)) as connection:
            received = b""
            try:
                connection.sendall(content)
                while not is_complete(received) and (block := connection.recv(1 << 16)):
                    received += block
            except ConnectionError:
                pass
        return parsed(received)

    def request(self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Reply:
        fields = {"Host": self.host, "Connection": "close", **(headers or {})}
        if body:
            fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), **fields}
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return self.raw(head.encode("latin-1") + b"\r\n" + body)

    def get(self, target: str, **headers: str) -> Reply:
        return self.request("GET", target, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, target: str, document: Any = None, **headers: str) -> Reply:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("POST", target, json.dumps({} if document is None else document).encode(), fields)


def is_complete(received: bytes) -> bool:
    reply = parsed(received)
    return "content-length" in reply.headers and len(reply.body) >= int(reply.headers["content-length"])


def parsed(received: bytes) -> Reply:
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not words[1].isdigit():
        return Reply()
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Reply(int(words[1]), headers, body)


def colour_films(folder: Path) -> Path:
    """Write four films of one or two colours, and return their folder."""
    for name in ("blue", "green", "red"):
        colour_video(folder / f"{name}.mp4", name)
    colour_video(folder / "blue then red.mp4", "blue", "red")
    return folder


@contextmanager
def served(library: Library, host: str = "127.0.0.1", idle_exit: float | None = None) -> Iterator[Client]:
    """Yield a client of a service of a library, which ends behind it."""
    started: Future[RunningService] = Future()
    arguments = (library, ServiceOptions(host, 0, idle_exit), ResidentCommands(app, library), started.set_result)
    thread = threading.Thread(target=run, args=arguments)
    thread.start()
    running = started.result(60)
    try:
        yield Client(running)
    finally:
        running.stop()
        thread.join(30)
        assert not thread.is_alive()
