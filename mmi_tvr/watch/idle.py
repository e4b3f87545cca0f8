"""For how long nobody touched this machine, as its desktop knows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from .bus import Bus, BusError

_SILENT_SECONDS = 60.0  # after so long, desktops that did not answer are asked again


@dataclass(frozen=True, slots=True)
class _Source:
    """A method of a desktop that returns the idle time, in milliseconds."""

    name: str
    service: str
    path: str
    interface: str
    member: str


# KDE's answer is in milliseconds, too, whatever the draft of the interface says.
_SOURCES = (
    _Source(
        "GNOME",
        "org.gnome.Mutter.IdleMonitor",
        "/org/gnome/Mutter/IdleMonitor/Core",
        "org.gnome.Mutter.IdleMonitor",
        "GetIdletime",
    ),
    _Source(
        "the screen saver",
        "org.freedesktop.ScreenSaver",
        "/org/freedesktop/ScreenSaver",
        "org.freedesktop.ScreenSaver",
        "GetSessionIdleTime",
    ),
)


class IdleTime:
    """Asks the desktops of a session bus, the first that answers; `source` names it (None: nobody answers)."""

    def __init__(self, bus: Bus, clock: Callable[[], float] = time.monotonic) -> None:
        self.source: str | None = None
        self._bus = bus
        self._clock = clock
        self._silent_until = 0.0

    def seconds(self) -> float | None:
        """Return the seconds since the last key, click or movement; None where nobody knows."""
        if self._clock() < self._silent_until:
            return None
        for source in _SOURCES:
            try:
                milliseconds = self._bus.call(source.service, source.path, source.interface, source.member)
            except BusError:
                continue
            if isinstance(milliseconds, int):
                self.source = source.name
                return milliseconds / 1000
        self.source = None
        self._silent_until = self._clock() + _SILENT_SECONDS
        return None
