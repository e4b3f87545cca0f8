"""Dates, lengths and places that a search is restricted to, as people write them.

Dates are by the clocks of the place where something was taken, as a person remembers them: of a photo taken in Tokyo on
the evening of the 1st of May, that is its date wherever the library is read. Where nobody knows its time zone, the
clock of this machine counts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import TypeGuard

from ..errors import UsageError
from ..utils.seconds import parse_seconds

_DATE = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2})(?:[T ](\d{1,2}):(\d{2}))?)?)?", re.ASCII)
_DAYS = {"today": 0, "yesterday": 1}
_RADIUS_KM = 1.0  # where a place has none
_EARTH_KM = 6371.0
_MOST_KM = 20_100.0  # half-way round


@dataclass(frozen=True, slots=True)
class Instant:
    """A time by the clocks of wherever something was taken."""

    wall_clock: datetime

    @property
    def as_utc(self) -> float:
        """Seconds since 1970 as if these clocks showed UTC: to be compared with date + utc_offset."""
        return self.wall_clock.replace(tzinfo=timezone.utc).timestamp()

    @property
    def here(self) -> float:
        """Seconds since 1970 (UTC) by the clock of this machine."""
        try:
            return self.wall_clock.timestamp()
        except (OverflowError, OSError, ValueError):  # years that this machine's clock does not know
            return self.as_utc


@dataclass(frozen=True, slots=True)
class Place:
    """A part of the earth in degrees: a box from south-west to north-east, which may cross the date line, or what is at
    most `km` kilometres from its south-west corner (None: the box)."""

    south: float
    west: float
    north: float
    east: float
    km: float | None = None

    def holds(self, latitude: float, longitude: float) -> bool:
        """Return whether it holds a point.

        >>> Place(52.5, 13.4, 52.5, 13.4, 10).holds(52.45, 13.3), Place(-20, 170, -10, -170).holds(-15, 179.5)
        (True, True)
        """
        if self.km is not None:
            return kilometres(self.south, self.west, latitude, longitude) <= self.km
        if not self.south <= latitude <= self.north:
            return False
        if self.west <= self.east:
            return self.west <= longitude <= self.east
        return longitude >= self.west or longitude <= self.east


def kilometres(latitude: float, longitude: float, other_latitude: float, other_longitude: float) -> float:
    """Return how far two points in degrees are apart on a sphere (haversine).

    >>> round(kilometres(52.52, 13.405, 48.8566, 2.3522))
    877
    """
    phi, other_phi = math.radians(latitude), math.radians(other_latitude)
    half_way = math.radians(other_longitude - longitude) / 2
    chord = math.sin((other_phi - phi) / 2) ** 2 + math.cos(phi) * math.cos(other_phi) * math.sin(half_way) ** 2
    return 2 * _EARTH_KM * math.asin(min(1.0, math.sqrt(chord)))


def parse_date(value: object, name: str, end: bool = False) -> Instant:
    """Return when a date begins, or behind its `end`: "2024", "2024-05", "2024-05-01", "2024-05-01 18:30", today or
    yesterday; or a `datetime.date` or `datetime`, whose time zone is passed over. UsageError for anything else.

    >>> parse_date("2024-02", "until", end=True).wall_clock
    datetime.datetime(2024, 3, 1, 0, 0)
    """
    if isinstance(value, datetime):
        return Instant(value.replace(tzinfo=None))
    if isinstance(value, date):
        value = value.isoformat()
    text = value.strip().lower() if isinstance(value, str) else ""
    if text in _DAYS:
        text = (datetime.now() - timedelta(days=_DAYS[text])).date().isoformat()
    match = _DATE.fullmatch(text.upper())
    try:
        if match is None:
            raise ValueError
        year, month, day, hour, minute = (None if part is None else int(part) for part in match.groups())
        start = datetime(year or 0, month or 1, day or 1, hour or 0, minute or 0)
        if not end:
            return Instant(start)
        if hour is not None:
            return Instant(start + timedelta(minutes=1))
        if day is not None:
            return Instant(start + timedelta(days=1))
        months = 12 * start.year + (start.month if month is not None else 12)
        return Instant(datetime(months // 12, months % 12 + 1, 1))
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{name} is a date such as 2024, 2024-05, 2024-05-01, '2024-05-01 18:30', today or yesterday, "
            f"not {value!r:.60}"
        ) from error


def parse_length(value: object, name: str) -> float:
    """Return seconds: a number, "90", "1:30" or "1:02:03". UsageError for anything else."""
    seconds: float | None = None
    if isinstance(value, str):
        seconds = parse_seconds(value)
    elif isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        seconds = float(value)
    if seconds is None:
        raise UsageError(f"{name} is a number of seconds, or minutes and seconds such as 1:30, not {value!r:.60}")
    return seconds


def parse_place(value: object) -> Place:
    """Return a place: "LATITUDE,LONGITUDE[,KM]", a circle, or "SOUTH,WEST,NORTH,EAST", a box; or numbers in such an
    order. UsageError for anything else.

    >>> parse_place("52.5, 13.4, 10").km, parse_place((52, 13, 53, 14)).north
    (10.0, 53.0)
    """
    parts: Sequence[object] = value.split(",") if isinstance(value, str) else value if is_list(value) else ()
    try:
        numbers = [float(part) for part in parts if isinstance(part, str | int | float)]
    except ValueError:
        numbers = []
    if len(numbers) != len(parts) or len(numbers) not in (2, 3, 4) or not all(map(math.isfinite, numbers)):
        raise UsageError(
            "place is LATITUDE,LONGITUDE,KM in degrees (52.52,13.40,10), or a box SOUTH,WEST,NORTH,EAST, "
            f"not {value!r:.60}"
        )
    latitudes, longitudes = numbers[::2][: 1 + len(numbers) // 4], numbers[1::2]
    if any(abs(latitude) > 90 for latitude in latitudes) or any(abs(longitude) > 180 for longitude in longitudes):
        raise UsageError(f"place: latitudes lie in -90..90 and longitudes in -180..180, not {value!r:.60}")
    if len(numbers) == 4:
        south, west, north, east = numbers
        if south > north:
            raise UsageError(f"place: a box is SOUTH,WEST,NORTH,EAST, and {south:g} lies north of {north:g}")
        return Place(south, west, north, east)
    km = numbers[2] if len(numbers) == 3 else _RADIUS_KM
    if not 0 < km <= _MOST_KM:
        raise UsageError(f"place: the radius is a number of kilometres above 0, at most {_MOST_KM:,.0f}, not {km:g}")
    return Place(numbers[0], numbers[1], numbers[0], numbers[1], km)


def is_list(value: object) -> TypeGuard[Sequence[object]]:
    """Return whether a value is a list of others, and no text."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
