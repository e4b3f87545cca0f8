"""The page of a library's people: their faces, as small crops of the videos in which they are seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..errors import MediaError
from ..media.video import frames_at
from ..types import Pixels
from ..utils.addresses import file_uri
from ..utils.wording import counted
from ._templates import template
from .page import jpeg
from .times import clock_range

_SIDE = 480  # pixels of the shorter side at which a video's picture is read
_MARGIN = 0.3  # around a face, as a share of it


@dataclass(frozen=True, slots=True)
class SeenFace:
    """A face in a video: `box` is left, top, right, bottom at `time` (seconds), as shares of the picture's sides;
    `start` and `end` (seconds) are how long it is seen, and `number` is that of the sighting."""

    path: Path
    time: float
    box: tuple[float, float, float, float]
    start: float
    end: float
    number: int


@dataclass(frozen=True, slots=True)
class FaceCard:
    """A person on the page, with some of the faces."""

    title: str
    photos: int
    sightings: int
    videos: int
    consents: Sequence[str]
    faces: Sequence[SeenFace]


@dataclass(frozen=True, slots=True)
class _Picture:
    """What the template shows of a face; `image` is empty where the video cannot be read, and `problem` says why."""

    face: SeenFace
    span: str
    link: str
    image: str
    problem: str


def people_page(cards: Sequence[FaceCard]) -> str:
    """Return the page as text. A video that can no longer be read keeps its place, with the reason."""
    pictures = [[_picture(face) for face in card.faces] for card in cards]
    shown = list(zip(cards, pictures, strict=True))
    return template("people.html.j2").render(cards=shown, counted=counted)


def _picture(face: SeenFace) -> _Picture:
    span = clock_range(face.start, face.end)
    link = f"{file_uri(face.path)}#t={face.start:.2f},{face.end:.2f}"
    try:
        pixels = frames_at(face.path, [face.time], size=_SIDE).pixels[0]
    except MediaError as error:
        return _Picture(face, span, link, "", error.reason)
    return _Picture(face, span, link, jpeg(Image.fromarray(face_crop(pixels, face.box))), "")


def face_crop(pixels: Pixels, box: tuple[float, float, float, float]) -> Pixels:
    """Return the part of a picture (H, W, 3) in a box (left, top, right, bottom, as shares of its
    sides) and a margin around it; at least a pixel."""
    height, width = pixels.shape[:2]
    left, top, right, bottom = box
    across, down = _MARGIN * (right - left), _MARGIN * (bottom - top)
    columns = _inside(left - across, right + across, width)
    rows = _inside(top - down, bottom + down, height)
    return pixels[rows, columns]


def _inside(first: float, last: float, length: int) -> slice:
    start = min(max(0, round(first * length)), length - 1)
    return slice(start, max(start + 1, min(length, round(last * length))))
