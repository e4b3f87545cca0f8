"""The life of the service: it takes its name on the bus, answers, says what changes, and ends when nobody needs it."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from dbus_fast import Message, MessageType, NameFlag, RequestNameReply
from dbus_fast.errors import DBusFastError

from ..errors import MmiTvrError, UsageError
from ..library import Library
from .connection import SessionBus
from .interfaces import GnomeInterface, KRunnerInterface, SearchInterface
from .names import BUS_NAME, OBJECT_PATH
from .service import CLIENT, DesktopService

_TICK = 0.5  # seconds
_WARM_UP_SECONDS = 0.5  # loading a model keeps this process from answering; what was called first has its answer first
_LAST_CALLS = 0.3  # seconds for calls that came while the name was given back


def run(library: Library, idle_exit: float, ready: Callable[[], object]) -> None:
    """Serve the session until SIGTERM, the end of the session, or the end of an idle time.

    Args:
        library: what is searched; it need not be there yet.
        idle_exit: seconds without a call, and without work, after which the service ends.
        ready: called once calls are taken.

    Raises:
        MmiTvrError: there is no session bus.
        UsageError: another process has the name.
    """
    asyncio.run(_run(DesktopService(library), idle_exit, ready))


async def _run(service: DesktopService, idle_exit: float, ready: Callable[[], object]) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    bus = await _connected()
    life = _Life(service, SearchInterface(service), idle_exit)
    for interface in (life.interface, GnomeInterface(service), KRunnerInterface(service)):
        bus.export(OBJECT_PATH, interface)
    bus.add_message_handler(life.notice)
    try:
        if await bus.request_name(BUS_NAME, NameFlag.DO_NOT_QUEUE) != RequestNameReply.PRIMARY_OWNER:
            raise UsageError(f"{BUS_NAME} is on this session bus already")
        ready()
        asyncio.get_running_loop().call_later(_WARM_UP_SECONDS, service.warm_up)
        gone = asyncio.ensure_future(bus.wait_for_disconnect())  # type: ignore[no-untyped-call]
        while not (ended.is_set() or gone.done() or life.is_over()):
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(ended.wait(), _TICK)
            await life.tick()
        if not gone.done():
            await _take_leave(bus, service)
        with suppress(DBusFastError, OSError, EOFError):
            await gone
    finally:
        bus.disconnect()
        service.close()


async def _connected() -> SessionBus:
    try:
        bus = SessionBus()
        await bus.connect()
    except (DBusFastError, OSError, ValueError, EOFError) as error:
        raise MmiTvrError(
            "no session bus is here: run this in a desktop session, or by dbus-run-session -- mmi-tvr desktop run"
        ) from error
    return bus


async def _take_leave(bus: SessionBus, service: DesktopService) -> None:
    """Give the name back, and answer the calls that came meanwhile: a later one starts the next service."""
    with suppress(DBusFastError, OSError):
        await bus.release_name(BUS_NAME)
    deadline = time.monotonic() + _LAST_CALLS
    while service.in_flight or time.monotonic() < deadline:
        await asyncio.sleep(0.02)
        if time.monotonic() > deadline + 5:
            break
    bus.disconnect()


class _Life:
    """Whether anybody needs the service, and what it says of itself by signals."""

    def __init__(self, service: DesktopService, interface: SearchInterface, idle_exit: float) -> None:
        self.interface = interface
        self._service = service
        self._idle_exit = idle_exit
        self._busy_at = time.monotonic()
        self._stamp = service.stamp()
        self._progress: tuple[str, int, int] = ("", 0, 0)

    def notice(self, message: Message) -> None:
        """Take note of a call, and of whom it comes from, before it is answered."""
        if message.message_type is MessageType.METHOD_CALL:
            self._busy_at = time.monotonic()
            CLIENT.set(f"{message.sender} {message.interface}")

    def is_over(self) -> bool:
        """Return whether nobody has called for so long, and nothing is under way."""
        return time.monotonic() - self._busy_at > self._idle_exit

    async def tick(self) -> None:
        """Look what has changed, and say so."""
        service = self._service
        if service.in_flight or service.shared.is_indexing:
            self._busy_at = time.monotonic()
        stamp = service.stamp()
        if stamp != self._stamp:
            self._stamp = stamp
            self.interface.Changed()
        indexing = await service.run(service.shared.indexing) if service.shared.is_indexing else None
        progress = (indexing["stage"], indexing["done"], indexing["total"]) if indexing else ("", 0, 0)
        if progress != self._progress:
            self._progress = progress
            self.interface.Progress(*progress)
