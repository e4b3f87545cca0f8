"""A page of clips to check by eye: who is in each, by which face, and how sure that is."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from ..errors import MediaError
from ..media.video import frames_at
from ..utils.addresses import file_uri
from ..utils.wording import counted
from ._templates import template
from .page import jpeg
from .times import clock_range

CLIPS = 100  # shown at most
_SIDE = 200  # pixels of the shorter side of a picture
_SEED = 0


@dataclass(frozen=True, slots=True)
class CastCard:
    """A clip of the page: the picture of the most confident track, or of the largest one where nobody is named, as a
    data URI, and all tracks in words."""

    clip: str
    link: str
    thumbnail: str
    actor: str
    confidence: float | None
    tracks: Sequence[str]
    labels: str


def casting_page(clips: Sequence[Mapping[str, Any]], set_aside: Mapping[str, str], folder: Path, title: str) -> str:
    """Return a self-contained page of random clips.

    Args:
        clips: as `people.cia_build.CiaResult` has them.
        set_aside: clip -> why it could not be used.
        folder: of the clips.
        title: of the page.
    """
    chosen = random.Random(_SEED).sample(list(clips), min(CLIPS, len(clips)))
    return template("casting.html.j2").render(
        title=title,
        counted=counted,
        clips=clips,
        named=sum(clip["actor"] is not None for clip in clips),
        several=sum(len({track["actor"] for track in clip["tracks"] if track["actor"]}) > 1 for clip in clips),
        set_aside=set_aside,
        cards=[_card(clip, folder) for clip in sorted(chosen, key=lambda clip: str(clip["clip"]))],
    )


def _card(clip: Mapping[str, Any], folder: Path) -> CastCard:
    path = folder / clip["clip"]
    tracks = clip["tracks"]
    named = [track for track in tracks if track["actor"] is not None]
    shown = max(named, key=lambda track: float(track["similarity"]), default=None)
    shown = shown or max(tracks, key=lambda track: _area(track["box"]), default=None)
    start = shown["time"] if shown else 0.0
    return CastCard(
        clip["clip"],
        f"{file_uri(path)}#t={start:.2f}",
        _picture(path, start, shown),
        clip["actor"] or "",
        clip["confidence"],
        [_in_words(track) for track in tracks],
        ", ".join([*clip["action"], *clip["scene"]]),
    )


def _picture(path: Path, time: float, track: Mapping[str, Any] | None) -> str:
    """Return the picture at a time with the box of a track in it: green where it is named, red where it is not."""
    try:
        pixels = frames_at(path, [time], size=_SIDE).pixels[0]
    except MediaError:
        return ""
    image = Image.fromarray(pixels)
    if track is not None:
        left, top, right, bottom = track["box"]
        edges = (left * image.width, top * image.height, right * image.width, bottom * image.height)
        colour = "#2a9d5c" if track["actor"] else "#c8443f"
        ImageDraw.Draw(image).rectangle(edges, outline=colour, width=3)
    return jpeg(image)


def _area(box: Sequence[float]) -> float:
    left, top, right, bottom = box
    return (right - left) * (bottom - top)


def _in_words(track: Mapping[str, Any]) -> str:
    """Return whose a track is, or why it is nobody's."""
    span = clock_range(track["start"], track["end"])
    if track["problem"]:
        return f"{span} {track['problem']}"
    if track["actor"]:
        return f"{span} {track['actor']} {track['similarity']:.2f}"
    return f"{span} nobody (nearest: {track['nearest']} {track['similarity']:.2f})"
