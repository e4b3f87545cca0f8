"""Questions to other programs over D-Bus (extra `desktop`)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ..utils.installation import installed

if TYPE_CHECKING:
    from dbus_fast.aio import MessageBus

_SECONDS = 2.0  # that an answer may take
BusName = Literal["session", "system"]


class BusError(Exception):
    """A question that got no answer: no bus, nobody of this name, an error, or silence."""


class Bus(Protocol):
    """Asks other programs of this machine."""

    def call(
        self, service: str, path: str, interface: str, member: str, signature: str = "", body: Sequence[Any] = ()
    ) -> Any:
        """Return the first value that a method of another program answers. Raises BusError."""
        ...


class DesktopBus:
    """The session's or the system's bus, connected at the first question and again after it broke (`Bus`).

    For one thread. A service that is not running is not started by a question.
    """

    def __init__(self, name: BusName) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._bus: MessageBus | None = None

    def call(
        self, service: str, path: str, interface: str, member: str, signature: str = "", body: Sequence[Any] = ()
    ) -> Any:
        if not installed("dbus_fast"):
            raise BusError("dbus-fast is not installed")
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        question = self._call(service, path, interface, member, signature, list(body))
        try:
            return self._loop.run_until_complete(asyncio.wait_for(question, _SECONDS))
        except BusError:
            raise
        except Exception as error:  # of the library: no bus, a wrong address, a broken connection, silence
            self._disconnect()
            raise BusError(str(error) or type(error).__name__) from error

    def close(self) -> None:
        self._disconnect()
        if self._loop is not None:
            self._loop.close()
            self._loop = None

    async def _call(self, service: str, path: str, interface: str, member: str, signature: str, body: list[Any]) -> Any:
        from dbus_fast import BusType, Message, MessageFlag, MessageType
        from dbus_fast.aio import MessageBus

        if self._bus is None or not self._bus.connected:
            kind = BusType.SESSION if self._name == "session" else BusType.SYSTEM
            self._bus = await MessageBus(bus_type=kind).connect()
        message = Message(
            destination=service,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=body,
            flags=MessageFlag.NO_AUTOSTART,
        )
        answer = await self._bus.call(message)
        if answer is None or answer.message_type is MessageType.ERROR or not answer.body:
            raise BusError(answer.error_name if answer is not None and answer.error_name else "no answer")
        return answer.body[0]

    def _disconnect(self) -> None:
        bus, self._bus = self._bus, None
        if bus is not None and self._loop is not None:
            with suppress(Exception):  # it is broken; this is the end of it
                bus.disconnect()
                self._loop.run_until_complete(asyncio.sleep(0))  # for what it still does
