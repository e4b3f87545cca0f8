"""Hits as a timeline for editing programs: OpenTimelineIO, and an edit decision list (CMX 3600) through it.

Decision: 25 frames a second, whatever the files have, since an edit decision list counts frames and has one rate; so
the ends of a moment are right to 0.02 s. A still stays for four seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..types import Hit
from ..utils.addresses import file_uri
from ..utils.installation import require
from ..utils.printable import printable
from .playlist import hit_spans

TIMELINE_MARK = b"mmi-tvr"
_RATE = 25
_STILL_FRAMES = 4 * _RATE
_EXTRA = "timeline"


def require_timeline() -> None:
    """Raise MissingExtra where the packages are not installed."""
    require("opentimelineio", _EXTRA)
    require("otio_cmx3600_adapter", _EXTRA)


def timeline(hits: Iterable[Hit], title: str) -> bytes:
    """Return hits, in their order, as an OpenTimelineIO document (.otio)."""
    text: str = _timeline(hits, title).to_json_string(indent=2)
    return text.encode() + b"\n"


def edit_decision_list(hits: Iterable[Hit], title: str) -> bytes:
    """Return hits, in their order, as an edit decision list (.edl), which names files by their addresses."""
    adapters = require("opentimelineio", _EXTRA).adapters
    require("otio_cmx3600_adapter", _EXTRA)
    text: str = adapters.write_to_string(_timeline(hits, title), "cmx_3600", rate=_RATE, style="nucoda")
    return text.encode()


def _timeline(hits: Iterable[Hit], title: str) -> Any:
    otio = require("opentimelineio", _EXTRA)
    track = otio.schema.Track("moments", kind=otio.schema.TrackKind.Video)
    for hit in hits:
        for start, end in hit_spans(hit):
            first, last = round(start * _RATE), round(end * _RATE)
            frames = max(last - first, 1) if end > start else _STILL_FRAMES
            track.append(
                otio.schema.Clip(
                    name=printable(hit.path.name),
                    media_reference=otio.schema.ExternalReference(target_url=file_uri(hit.path)),
                    source_range=otio.opentime.TimeRange(
                        otio.opentime.RationalTime(first, _RATE), otio.opentime.RationalTime(frames, _RATE)
                    ),
                    metadata={"mmi-tvr": {"relevance": float(hit.relevance)}},
                )
            )
    document = otio.schema.Timeline(f"mmi-tvr: {printable(title)}", metadata={"mmi-tvr": {"query": printable(title)}})
    document.tracks.append(track)
    return document
