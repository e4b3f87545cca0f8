"""A session bus of a test's own, and raw calls on it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from dbus_fast import Message, MessageType

from mmi_tvr.desktop.connection import SessionBus

Answer = TypeVar("Answer")


@contextmanager
def session_bus(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield the address of a bus that starts services in this environment, and ends with the test."""
    program = "import os, sys; print(os.environ['DBUS_SESSION_BUS_ADDRESS'], flush=True); sys.stdin.read()"
    with subprocess.Popen(
        ["dbus-run-session", "--", sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=dict(environment),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait(20)


class Caller:
    """Sends calls to an object on a bus, whatever they hold."""

    def __init__(self, bus: SessionBus, name: str, path: str) -> None:
        self.bus = bus
        self._name = name
        self._path = path

    async def send(self, interface: str, member: str, signature: str = "", *body: Any) -> Message:
        """Return the reply to a call, be it an error."""
        message = Message(
            destination=self._name,
            path=self._path,
            interface=interface,
            member=member,
            signature=signature,
            body=[*body],
        )
        reply = await asyncio.wait_for(self.bus.call(message), 100)
        assert reply is not None
        return reply

    async def call(self, interface: str, member: str, signature: str = "", *body: Any) -> Any:
        """Return what a call returns; a single value by itself."""
        reply = await self.send(interface, member, signature, *body)
        assert reply.message_type is MessageType.METHOD_RETURN, reply.body
        return reply.body[0] if len(reply.body) == 1 else reply.body

    async def error(self, interface: str, member: str, signature: str = "", *body: Any) -> tuple[str, str]:
        """Return name and text of the error that a call ends with."""
        reply = await self.send(interface, member, signature, *body)
        assert reply.message_type is MessageType.ERROR, reply.body
        assert reply.error_name is not None
        return reply.error_name, str(reply.body[0])

    async def signals(self, interface: str) -> list[str]:
        """Return the names of the signals of an interface that come from now on; the list grows."""
        names: list[str] = []

        def notice(message: Message) -> None:
            if message.message_type is MessageType.SIGNAL and message.interface == interface:
                names.append(message.member or "")

        self.bus.add_message_handler(notice)
        await self._ask("AddMatch", f"type='signal',interface='{interface}'")
        return names

    async def owner(self) -> int:
        """Return the process that has the name; 0: nobody."""
        if not await self._ask("NameHasOwner", self._name):
            return 0
        return int(await self._ask("GetConnectionUnixProcessID", self._name))

    async def _ask(self, member: str, text: str) -> Any:
        """Return what the bus itself answers."""
        daemon = "org.freedesktop.DBus"
        message = Message(daemon, "/org/freedesktop/DBus", daemon, member, signature="s", body=[text])
        reply = await self.bus.call(message)
        assert reply is not None
        return reply.body[0] if reply.body else None


def calling(address: str, name: str, path: str, work: Callable[[Caller], Awaitable[Answer]]) -> Answer:
    """Return what calls on a bus bring."""

    async def connected() -> Answer:
        bus = await SessionBus(address).connect()
        try:
            return await work(Caller(bus, name, path))
        finally:
            bus.disconnect()

    return asyncio.run(connected())


def script(path: Path, content: str) -> Path:
    """Write a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(0o755)
    return path
