"""Connections that time out: uvicorn's protocol, with a time limit for the head of a request.

uvicorn closes a connection that is idle between two requests. One that sends half a head, a byte a minute, it would
hold for ever.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from .security import OF_SOCKET

_HEAD_SECONDS = 10.0  # for a head that has begun, and before the first one


class TimedConnection(H11Protocol):
    """An HTTP connection whose heads arrive in time, or which is closed."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if transport.get_extra_info("socket").family == socket.AF_UNIX:
            self.app_state = {**self.app_state, OF_SOCKET: True}
        self._start()

    def data_received(self, data: bytes) -> None:
        request = self.cycle
        idle = request is None or request.response_complete
        if idle and self._deadline is None:
            self._start()
        try:
            super().data_received(data)
        except Exception:  # bytes that are no request, in a way that nobody thought of
            self._stop()
            self.transport.abort()
            raise
        if self.cycle is not request:  # a head is complete
            self._stop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _start(self) -> None:
        self._deadline = self.loop.call_later(_HEAD_SECONDS, self._give_up)

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.abort()
