"""Whether this machine runs on its battery."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .bus import Bus, BusError

SUPPLIES = Path("/sys/class/power_supply")


class Power:
    """Asks UPower, or reads what the kernel says where that does not answer."""

    def __init__(self, bus: Bus, supplies: Path = SUPPLIES) -> None:
        self._bus = bus
        self._supplies = supplies

    def on_battery(self) -> bool:
        """Return whether the machine runs on its battery; one that has none, and one that says nothing, does not."""
        try:
            answer = self._bus.call(
                "org.freedesktop.UPower",
                "/org/freedesktop/UPower",
                "org.freedesktop.DBus.Properties",
                "Get",
                "ss",
                ("org.freedesktop.UPower", "OnBattery"),
            )
        except BusError:
            return _discharging(self._supplies)
        return bool(answer.value)  # a variant


def _discharging(folder: Path) -> bool:
    """Return whether no supply from outside is on, and a battery of the machine is being emptied."""
    supplies = list(_supplies(folder))
    if any(supply["online"] == "1" for supply in supplies if supply["type"] != "Battery"):
        return False
    return any(
        supply["status"] == "Discharging"
        for supply in supplies
        if supply["type"] == "Battery" and supply["scope"] != "Device"  # that of a mouse is no concern
    )


def _supplies(folder: Path) -> Iterator[dict[str, str]]:
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        yield {name: _read(entry / name) for name in ("type", "online", "status", "scope")}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
