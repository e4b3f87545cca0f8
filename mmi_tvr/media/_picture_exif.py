"""When and where a picture was taken, by its EXIF data, which cameras and programs fill in as they like.

Decisions: dates that cannot be (before photography, or more than a day ahead of now) do not count. Where no offset
stands beside a date, the time of the satellites (UTC) gives one, if it is a quarter of an hour's multiple off. A
negative number of degrees means south or west whatever the letter says. 0, 0 is a receiver without a fix.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any

from ..types import DateSource
from .picture_facts import Position

Tags = Mapping[int, Any]

ORIENTATION = 0x0112
EXIF_TAGS, GPS_TAGS = 0x8769, 0x8825  # where the two further lists of tags stand
_MAKE, _MODEL, _MAKER_NOTE = 271, 272, 37500
# Date, offset from UTC, and parts of a second: when it was taken, when it was digitised, when the file was written.
_DATES = ((36867, 36881, 37521), (36868, 36882, 37522), (306, 36880, 37520))
_GPS_TIME, _GPS_DATE = 7, 29
_DATE = re.compile(r"\s*(\d{4})[:/.-](\d{1,2})[:/.-](\d{1,2})(?:[ T]+(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d+))?)?)?")
_OFFSET = re.compile(r"\s*([+-])(\d{2}):?(\d{2})|\s*Z")
_FIRST_PHOTO = 1826
_AHEAD = timedelta(days=1)
_QUARTER = timedelta(minutes=15)
_FARTHEST = timedelta(hours=14)  # from UTC, of any place
_APPLE = b"Apple iOS\0"
_APPLE_TAGS = 14  # bytes before the tags of Apple's note
_CONTENT_ID = 17  # Apple's tag that a live photo's picture and clip share


def date_of(main: Tags, exif: Tags, gps: Tags) -> tuple[datetime | None, DateSource | None]:
    """Return when a picture was taken, and which tags say so.

    Args:
        main: the tags of the picture.
        exif: those of the list EXIF_TAGS.
        gps: those of the list GPS_TAGS.
    """
    satellites = _satellite_time(gps)
    for date_tag, offset_tag, parts_tag in _DATES:
        tags = main if date_tag == 306 else exif
        date = _parsed(tags.get(date_tag), exif.get(parts_tag))
        if date is not None:
            return _placed(date, exif.get(offset_tag), satellites), "exif"
    return satellites, "gps" if satellites else None


def _parsed(value: Any, parts: Any = None) -> datetime | None:
    """A date as EXIF has it, or as programs write it instead."""
    match = _DATE.match(_text(value))
    if match is None:
        return None
    *numbers, fraction = match.groups()
    fraction = fraction or re.sub(r"\D.*", "", _text(parts).strip())
    with suppress(ValueError):
        date = datetime(*(int(number or 0) for number in numbers))  # type: ignore[arg-type]
        if date.year >= _FIRST_PHOTO and date <= datetime.now() + _AHEAD:
            return date.replace(microsecond=int(f"{fraction:0<6.6}"))
    return None


def _placed(date: datetime, offset: Any, satellites: datetime | None) -> datetime:
    """A date with its offset, where one is known."""
    match = _OFFSET.match(_text(offset))
    if match:
        sign, hours, minutes = match.groups()
        apart = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
        if apart <= _FARTHEST:
            return date.replace(tzinfo=timezone(-apart if sign == "-" else apart))
    if satellites is not None:
        apart = date.replace(microsecond=0) - satellites.replace(tzinfo=None, microsecond=0)
        rounded = round(apart / _QUARTER) * _QUARTER
        if abs(rounded) <= _FARTHEST and abs(apart - rounded) <= timedelta(minutes=2):
            return date.replace(tzinfo=timezone(rounded))
    return date


def _satellite_time(gps: Tags) -> datetime | None:
    date = _parsed(gps.get(_GPS_DATE))
    clock = _numbers(gps.get(_GPS_TIME))
    if date is None or len(clock) != 3 or not (0 <= clock[0] < 24 and 0 <= clock[1] < 60 and 0 <= clock[2] < 61):
        return None
    return date.replace(tzinfo=timezone.utc) + timedelta(hours=clock[0], minutes=clock[1], seconds=clock[2])


def position_of(gps: Tags) -> tuple[Position | None, str | None]:
    """Return where a picture was taken, and what is odd about that; None for both where nothing is said."""
    if not {2, 4} & gps.keys():
        return None, None
    latitude, longitude = (_degrees(gps.get(number), gps.get(number - 1)) for number in (2, 4))
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        return None, "its position is no place on Earth"
    if latitude == longitude == 0:
        return None, "its position is 0, 0: the receiver knew none"
    return Position(round(latitude, 7), round(longitude, 7), _altitude(gps)), None


def _degrees(value: Any, reference: Any) -> float | None:
    """Signed degrees out of degrees, minutes and seconds and a letter (N, S, E, W)."""
    numbers = _numbers(value)
    if not 1 <= len(numbers) <= 3 or not all(map(math.isfinite, numbers)):
        return None
    degrees, minutes, seconds = (*numbers, 0.0, 0.0)[:3]
    if not (0 <= abs(minutes) < 60.5 and 0 <= abs(seconds) < 60.5):
        return None
    size = abs(degrees) + abs(minutes) / 60 + abs(seconds) / 3600
    letter = _text(reference).strip().upper()[:1]
    return -size if letter in ("S", "W") or min(numbers) < 0 else size


def _altitude(gps: Tags) -> float | None:
    numbers = _numbers(gps.get(6))
    if len(numbers) != 1 or not abs(numbers[0]) < 100_000:  # which is so for NaN
        return None
    below = gps.get(5) in (1, b"\x01", "1", "\x01")
    return round(-numbers[0] if below else numbers[0], 2)


def camera_of(main: Tags) -> str | None:
    """Return maker and model of the camera, the maker once."""
    make, model = (" ".join(_text(main.get(tag)).split()) for tag in (_MAKE, _MODEL))
    return (model if model.lower().startswith(make.lower()) else f"{make} {model}").strip() or None


def content_id_of(exif: Tags) -> str | None:
    """Return the id that the picture and the clip of one of Apple's live photos share."""
    note = exif.get(_MAKER_NOTE)
    if not isinstance(note, bytes) or not note.startswith(_APPLE):
        return None
    with suppress(struct.error):
        (count,) = struct.unpack_from(">H", note, _APPLE_TAGS)
        for number in range(count):
            tag, _, length, offset = struct.unpack_from(">HHII", note, _APPLE_TAGS + 2 + 12 * number)
            if tag == _CONTENT_ID:
                return _text(note[offset : offset + length]) or None
    return None


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value.partition("\0")[0] if isinstance(value, str) else ""


def _numbers(value: Any) -> list[float]:
    """The numbers of a tag; none where one of them is no number."""
    values = value if isinstance(value, tuple | list) else (value,)
    try:
        return [float(number) for number in values]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return []
