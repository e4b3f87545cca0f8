"""A connection to the session bus that waits where the bus takes nothing for a moment."""

from __future__ import annotations

from dbus_fast.aio import MessageBus


class SessionBus(MessageBus):
    """`MessageBus`, except that a full socket ends nothing.

    The package's writer takes every error of `send` for the end of the connection, EAGAIN too, by which a socket says
    no more than that it is full: many answers at once would end the service. What was to be written is still there.
    """

    def _finalize(self, err: Exception | None = None) -> None:
        if isinstance(err, BlockingIOError) and self._fd is not None and self._writer is not None:
            written = self._writer.fut
            if written is not None and written.done():
                written.exception()  # nobody else looks at it, which asyncio would report
            self._loop.add_writer(self._fd, self._writer.write_callback)
            return
        super()._finalize(err)
