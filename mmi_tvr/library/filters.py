"""Which items of a library a search is among: by kind, date, folder, length and place.

A filter becomes the numbers of the items that pass it, which every index and every channel takes as it is: a search
among few of many is exact.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, TypedDict

from ..errors import UsageError
from ..scoring.decision import Decision
from ..types import MEDIA_KINDS, MediaKind
from ..utils.wording import counted
from .catalogue import Catalogue
from .filter_values import Instant, Place, is_list, parse_date, parse_length, parse_place
from .scan import real_path

_ITEMS = (
    "SELECT id FROM contents LEFT JOIN media_facts ON content = id "
    "WHERE state = 'indexed' AND id IN (SELECT content FROM main_files)"
)
_SECONDS = "COALESCE(duration, seconds)"
_HAS_LENGTH = f"NOT (COALESCE(kind, 'video') = 'image' AND COALESCE({_SECONDS}, 0) = 0)"


class FilterKeywords(TypedDict, total=False):
    """What a search of a library can be restricted to; None, and what is left out, restricts nothing.

    - `kind`: some of "image", "video" and "audio"; one alone, or "image,video", may stand for a list.
    - `since`, `until`: when it was taken at the earliest and at the latest, with all of that day, month or year
      (`filter_values.parse_date`), by the clocks of its place.
    - `folder`: a folder or a file; or a list, in one of which it is to be.
    - `longer`, `shorter`: seconds, or "1:30"; stills have no length, and pass neither.
    - `place`: "LATITUDE,LONGITUDE,KM", or a box "SOUTH,WEST,NORTH,EAST" (`filter_values.parse_place`).
    """

    kind: str | Sequence[str] | None
    since: str | date | None
    until: str | date | None
    folder: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None
    longer: str | float | None
    shorter: str | float | None
    place: str | Sequence[float] | None


@dataclass(frozen=True, slots=True)
class MediaFilter:
    """A checked filter; `texts` says its parts by name, as people read them."""

    kinds: tuple[MediaKind, ...] = ()
    since: Instant | None = None
    until: Instant | None = None
    folders: tuple[Path, ...] = ()
    longer: float | None = None
    shorter: float | None = None
    place: Place | None = None
    texts: Mapping[str, str] = field(default_factory=dict)

    def numbers(self, catalogue: Catalogue) -> frozenset[int] | None:
        """Return the numbers of the items that pass all parts; None where there is no part."""
        return self._numbers(catalogue, tuple(self.texts)) if self.texts else None

    def refusal(self, catalogue: Catalogue) -> Decision:
        """Return the decision where nothing passes: how many items pass each part by itself."""
        counts = {name: len(self._numbers(catalogue, (name,))) for name in self.texts}
        parts = [f"{name} {self.texts[name]} ({counted(count, 'item')})" for name, count in counts.items()]
        return Decision(
            False, f"no item of this library passes {'all of ' if len(parts) > 1 else ''}{', '.join(parts)}"
        )

    def _numbers(self, catalogue: Catalogue, names: Sequence[str]) -> frozenset[int]:
        """Return the numbers of the items that pass these parts."""
        conditions, values = [_ITEMS], list[Any]()
        for name in names:
            condition, its_values = self._condition(name)
            conditions.append(condition)
            values += its_values
        rows = catalogue.connection.execute(" AND ".join(conditions), values)
        numbers = frozenset(number for (number,) in rows)
        return self._in_place(catalogue, numbers) if "place" in names else numbers

    def _condition(self, name: str) -> tuple[str, list[Any]]:
        """Return a part as a condition in SQL, with its values."""
        if name == "kind":
            return f"COALESCE(kind, 'video') IN ({', '.join('?' * len(self.kinds))})", [*self.kinds]
        if name == "in":
            below = " OR ".join("path = ? OR (path > ? AND path < ?)" for _ in self.folders)
            ends = [end for folder in self.folders for end in _below(folder)]
            return f"id IN (SELECT content FROM main_files WHERE {below})", ends
        if name in ("since", "until"):
            instant, sign = (self.since, ">=") if name == "since" else (self.until, "<")
            assert instant is not None
            clocks = f"CASE WHEN utc_offset IS NULL THEN date {sign} ? ELSE date + utc_offset {sign} ? END"
            return f"date IS NOT NULL AND {clocks}", [instant.here, instant.as_utc]
        if name == "place":
            return "latitude IS NOT NULL AND longitude IS NOT NULL", []
        seconds, sign = (self.longer, ">=") if name == "longer" else (self.shorter, "<=")
        return f"{_HAS_LENGTH} AND {_SECONDS} {sign} ?", [seconds]

    def _in_place(self, catalogue: Catalogue, numbers: frozenset[int]) -> frozenset[int]:
        assert self.place is not None
        sql = (
            "SELECT content, latitude, longitude FROM media_facts WHERE latitude IS NOT NULL AND longitude IS NOT NULL"
        )
        places = catalogue.connection.execute(sql)
        return frozenset(number for number, *point in places if number in numbers and self.place.holds(*point))


def checked_filter(keywords: FilterKeywords) -> MediaFilter:
    """Return a filter. UsageError for a value that says nothing, or dates and lengths that exclude each other."""
    present = {name: value for name, value in keywords.items() if value is not None and value not in ("", (), [])}
    kinds = _kinds(present["kind"]) if "kind" in present else ()
    folders = _folders(present["folder"]) if "folder" in present else ()
    since = parse_date(present["since"], "since") if "since" in present else None
    until = parse_date(present["until"], "until", end=True) if "until" in present else None
    longer, shorter = (parse_length(present[name], name) if name in present else None for name in ("longer", "shorter"))
    if since is not None and until is not None and since.wall_clock >= until.wall_clock:
        raise UsageError(f"since {present['since']} is after until {present['until']}: nothing can be between")
    if longer is not None and shorter is not None and longer > shorter:
        raise UsageError(f"longer {longer:g} s and shorter {shorter:g} s: nothing can be both")
    place = parse_place(present["place"]) if "place" in present else None
    texts = {
        "kind": ", ".join(kinds),
        "in": ", ".join(map(str, folders)),
        **{name: str(present.get(name, "")) for name in ("since", "until")},
        **{name: _seconds_text(value) for name, value in (("longer", longer), ("shorter", shorter))},
        "place": _place_text(place),
    }
    texts = {name: text for name, text in texts.items() if text}
    return MediaFilter(kinds, since, until, folders, longer, shorter, place, texts)


def _kinds(value: object) -> tuple[MediaKind, ...]:
    words = value.split(",") if isinstance(value, str) else value
    names = [str(word).strip().lower() for part in words for word in str(part).split(",")] if is_list(words) else []
    unknown = [name for name in names if name not in MEDIA_KINDS]
    if unknown or not names:
        raise UsageError(f"kind is some of {', '.join(MEDIA_KINDS)}, not {str(unknown[0] if unknown else value)!r:.60}")
    return tuple(kind for kind in MEDIA_KINDS if kind in names)


def _folders(value: object) -> tuple[Path, ...]:
    listed = [value] if isinstance(value, str | os.PathLike) else value
    paths = [os.fspath(one) for one in listed if isinstance(one, str | os.PathLike)] if is_list(listed) else []
    folders = [path for path in paths if isinstance(path, str) and path and _can_be_path(path)]
    if not is_list(listed) or not folders or len(folders) != len(listed):
        raise UsageError(f"folder is a path or a list of paths, not {value!r:.60}")
    return tuple(real_path(Path(os.path.expanduser(path))) for path in folders)


def _can_be_path(text: str) -> bool:
    """Return whether a text has nothing that no path has: NUL, half characters."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeError:
        return False


def _below(folder: Path) -> tuple[bytes, bytes, bytes]:
    """Return the path itself, and what all paths below it lie between."""
    path = os.fsencode(folder)
    start = path if path.endswith(b"/") else path + b"/"
    return path, start, start[:-1] + b"0"  # the character behind "/"


def _seconds_text(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:g} s"


def _place_text(place: Place | None) -> str:
    if place is None:
        return ""
    if place.km is not None:
        return f"{place.km:g} km around {place.south:g},{place.west:g}"
    return f"{place.south:g},{place.west:g} to {place.north:g},{place.east:g}"
