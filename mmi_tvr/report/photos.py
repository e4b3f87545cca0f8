"""The page of photos whose faces are numbered, so that somebody can say which one is meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ..types import Pixels
from ..utils.wording import counted
from ._templates import template
from .page import jpeg

_SIDE = 900  # pixels of the longer side of a picture on the page
_LINE, _TEXT = 3, 22  # pixels: how thick a frame is, and how high a number
_COLOUR, _GROUND = (255, 225, 0), (0, 0, 0)


@dataclass(frozen=True, eq=False, slots=True)
class NumberedPhoto:
    """A photo (H, W, 3) with the boxes of its faces (left, top, right, bottom in its pixels) from number 1 on; of one
    that cannot be read a `problem` instead."""

    path: Path
    picture: Pixels | None
    boxes: Sequence[tuple[float, float, float, float]]
    problem: str = ""


def photos_page(photos: Sequence[NumberedPhoto]) -> str:
    """Return the page as text, with every photo and a number at each of its faces."""
    images = [jpeg(numbered(one.picture, one.boxes)) if one.picture is not None else "" for one in photos]
    return template("photos.html.j2").render(photos=list(zip(photos, images, strict=True)), counted=counted)


def numbered(picture: Pixels, boxes: Sequence[tuple[float, float, float, float]]) -> Image.Image:
    """Return a picture, made smaller where it is large, with a frame and a number, from 1, at each box."""
    image = Image.fromarray(picture).convert("RGB")
    scale = min(1.0, _SIDE / max(image.size))
    if scale < 1:
        image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(_TEXT)
    for number, box in enumerate(boxes, start=1):
        left, top, right, bottom = (side * scale for side in box)
        draw.rectangle((left, top, right, bottom), outline=_COLOUR, width=_LINE)
        place = (max(0, left), max(0, min(top - _TEXT - _LINE, image.height - _TEXT)))
        draw.rectangle(draw.textbbox(place, str(number), font), fill=_GROUND, outline=_GROUND, width=_LINE)
        draw.text(place, str(number), _COLOUR, font)
    return image
