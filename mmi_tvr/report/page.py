"""One self-contained HTML page for the hits of a search: pictures inside the file, videos linked at their moment."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader
from PIL import Image

from ..errors import MediaError
from ..media.video import frames_at
from ..search import SearchResult
from ..types import Explanation, Hit, Pixels
from .explanation import Row, aligned, times, verdict

_SIDE = 270  # pixels, the shorter side of a thumbnail
_SMALL = 96  # the same, of the key images below an explanation
_QUALITY = 82


@dataclass(frozen=True, slots=True)
class Card:
    """What the template shows of one hit; `thumbnail` is a data URI, or empty where `trouble` says why."""

    hit: Hit
    moment: str
    link: str
    thumbnail: str
    trouble: str
    why: Why | None


@dataclass(frozen=True, slots=True)
class Why:
    """What the template shows of an explanation; `images` are (time, data URI) of key images that can be read."""

    verdict: str
    titles: Row
    rows: Sequence[Row]
    images: Sequence[tuple[float, str]]


def search_page(result: SearchResult) -> str:
    """The page as text. A video that can no longer be read keeps its place, with the reason instead of a picture."""
    environment = Environment(loader=PackageLoader("mmi_tvr.report", "."), autoescape=True, trim_blocks=True)
    cards = [_card(hit) for hit in ([*result] or ([result.closest] if result.closest else []))]
    return environment.get_template("search.html.j2").render(result=result, cards=cards)


def picture(path: Path, time: float) -> str:
    """What a video shows at a time (seconds), as a data URI. MediaError where the file cannot be read."""
    return _data_uri(frames_at(path, [time], size=_SIDE, exact=False).pixels[0])


def moment(hit: Hit) -> str:
    """The hit's time range as m:ss-m:ss, in whole seconds that contain it."""
    return f"{clock(hit.start)}-{clock(math.ceil(hit.end))}"


def clock(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss from an hour on.

    >>> clock(75.4), clock(3661)
    ('1:15', '1:01:01')
    """
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _data_uri(pixels: Pixels) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _card(hit: Hit) -> Card:
    # A media fragment (W3C): the browser starts at the moment and stops at its end.
    link = f"{hit.path.absolute().as_uri()}#t={hit.start:.2f},{hit.end:.2f}"
    try:
        shown, trouble = picture(hit.path, hit.time), ""
    except MediaError as error:
        shown, trouble = "", error.reason
    return Card(hit, moment(hit), link, shown, trouble, _why(hit.path, hit.explanation) if hit.explanation else None)


def _why(path: Path, why: Explanation) -> Why:
    seconds = times(why)
    try:
        pictures = frames_at(path, seconds, size=_SMALL, exact=False).pixels if seconds else ()
    except MediaError:  # the card says so already
        pictures = ()
    images = [(time, _data_uri(pixels)) for time, pixels in zip(seconds, pictures, strict=False)]
    return Why(verdict(why), *aligned(why), images)
