"""What a media file is and says of itself: its kind by its bytes, its length and size, when and where it was taken.

Nothing is looked at but headers, one frame of a film and one of a recording.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

import av
from av.container import InputContainer

from ..errors import MediaError
from ..types import MediaFacts
from ._container import check_file, is_film, open_medium
from .names import AUDIO_SUFFIXES, PICTURE_SUFFIXES
from .signatures import picture_format
from .sound import require_sound
from .video import MediaInfo, open_video

_CONTENT_ID = "com.apple.quicktime.content.identifier"
_LOCAL_DATE = "com.apple.quicktime.creationdate"  # with the offset of its place
# Keys of containers, of which the first that is there counts.
_DATES = (_LOCAL_DATE, "creation_time")
_PLACES = ("com.apple.quicktime.location.iso6709", "location", "location-eng", "com.android.location")
_FIRST_FILM = datetime(1971, 1, 1, tzinfo=timezone.utc)  # what is older is the zero of some clock: 1904, 1970
_AHEAD = 86_400.0  # seconds by which clocks may be ahead
_ISO_6709 = re.compile(r"([+-]\d{1,2}(?:\.\d*)?)([+-]\d{1,3}(?:\.\d*)?)")


def read_facts(path: Path) -> MediaFacts:
    """Return what a file is and says of itself. Raises MediaError with the reason where it is no usable medium."""
    check_file(path, _meaning(path))
    if picture_format(path) is not None:
        return _of_picture(path)
    if path.suffix.lower() in PICTURE_SUFFIXES and _is_nothing(path):
        raise MediaError(path, "is no picture")
    with open_medium(path, _meaning(path)) as container:
        if not any(is_film(stream) for stream in container.streams.video):
            require_sound(path, container)
            return _with_metadata(path, MediaFacts("audio", _seconds(container)), _metadata(container))
        metadata = _metadata(container)
    with open_video(path) as video:
        return _with_metadata(path, _of_film(video.info), metadata)


def _meaning(path: Path) -> str:
    """What a file is meant to be, by its name."""
    return "a recording" if path.suffix.lower() in AUDIO_SUFFIXES else "a video"


def _is_nothing(path: Path) -> bool:
    """Whether FFmpeg does not know a file's bytes either, whatever its name."""
    try:
        open_medium(path, "a picture").close()
    except MediaError as error:
        return type(error) is MediaError
    return False


def _of_picture(path: Path) -> MediaFacts:
    from .pictures import open_still  # here: most workers never see a picture

    with open_still(path) as picture:
        facts = picture.facts()
    date, position = facts.date, facts.position
    offset = date.utcoffset() if date is not None and facts.date_source == "exif" else None
    return MediaFacts(
        kind="image",
        seconds=facts.seconds if facts.frames > 1 else 0.0,
        width=facts.width,
        height=facts.height,
        date=_timestamp(date),
        utc_offset=None if offset is None else int(offset.total_seconds()),
        date_source=facts.date_source,
        latitude=position.latitude if position else None,
        longitude=position.longitude if position else None,
        content_id=facts.content_id,
    )


def _of_film(info: MediaInfo) -> MediaFacts:
    return MediaFacts("video", info.duration, info.width, info.height)


def _timestamp(date: datetime | None) -> float | None:
    """Seconds since 1970; a date without an offset is by this machine's clock. None where the system cannot say."""
    with suppress(OverflowError, OSError, ValueError):
        return None if date is None else date.timestamp()
    return None


def _with_metadata(path: Path, facts: MediaFacts, metadata: Mapping[str, str]) -> MediaFacts:
    """Return facts with what a container says of date, place and live photos; without a date, the file's own time."""
    dates = {key: date for key in _DATES if (date := container_date(metadata.get(key, "")))}
    date = next(iter(dates.values()), None)
    place = next((place for key in _PLACES if (place := container_place(metadata.get(key, "")))), None)
    offset = dates[_LOCAL_DATE].utcoffset() if _LOCAL_DATE in dates else None
    return MediaFacts(
        kind=facts.kind,
        seconds=facts.seconds,
        width=facts.width,
        height=facts.height,
        date=path.stat().st_mtime if date is None else date.timestamp(),
        utc_offset=None if offset is None else int(offset.total_seconds()),
        date_source="file" if date is None else "container",
        latitude=place[0] if place else None,
        longitude=place[1] if place else None,
        content_id=metadata.get(_CONTENT_ID) or None,
    )


def container_date(text: str) -> datetime | None:
    """Return a date that a container has; None for what is no date with a time, or cannot be.

    >>> container_date("2024-02-29T12:30:00.000000Z")
    datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.timezone.utc)
    >>> container_date("2024-02-29T12:30:00+0100").utcoffset()
    datetime.timedelta(seconds=3600)
    >>> container_date("1904-01-01T00:00:00Z"), container_date("2003")
    (None, None)
    """
    match = re.fullmatch(r"\s*(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.\d+)?\s*(?:Z|([+-]\d\d):?(\d\d))?\s*", text)
    if match is None:
        return None
    offset = f"{match[3]}:{match[4]}" if match[3] else "+00:00"
    with suppress(ValueError, OverflowError):
        date = datetime.fromisoformat(f"{match[1]}T{match[2]}{offset}")
        if not match[3]:
            date = date.replace(tzinfo=timezone.utc)
        if date >= _FIRST_FILM and date.timestamp() <= datetime.now(timezone.utc).timestamp() + _AHEAD:
            return date
    return None


def container_place(text: str) -> tuple[float, float] | None:
    """Return degrees north and east in the form of ISO 6709; None for none, and for 0, 0 (a receiver that knew none).

    >>> container_place("+48.8584+002.2945+035.000/"), container_place("-33.8-070.6/"), container_place("+0+0/")
    ((48.8584, 2.2945), (-33.8, -70.6), None)
    """
    match = _ISO_6709.match(text.strip())
    if match is None:
        return None
    latitude, longitude = float(match[1]), float(match[2])
    if abs(latitude) > 90 or abs(longitude) > 180 or latitude == longitude == 0:
        return None
    return latitude, longitude


def _metadata(container: InputContainer) -> dict[str, str]:
    """What a container says of itself and, behind that, of its first tracks; names of keys in small letters."""
    metadata: dict[str, str] = {}
    for part in (container, *container.streams):
        for key, value in part.metadata.items():
            metadata.setdefault(key.lower(), value)
    return metadata


def _seconds(container: InputContainer) -> float:
    """How long a recording is, by its header; 0 where that does not say."""
    lengths = [container.duration / av.time_base] if container.duration else []
    lengths += [
        float(stream.duration * stream.time_base)
        for stream in container.streams.audio
        if stream.duration and stream.time_base
    ]
    return max(0.0, next(iter(lengths), 0.0))
