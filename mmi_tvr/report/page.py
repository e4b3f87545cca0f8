"""One self-contained HTML page for the hits of a search: pictures inside the file, videos linked at their moment."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..errors import MediaError
from ..media.video import frames_at, probe, sample
from ..search import SearchResult
from ..types import Explanation, Hit, Pixels, Video
from ..utils.addresses import file_uri
from ..utils.wording import counted
from ._templates import template
from .appearances import people_text
from .explanation import Cells, answer_table, key_image_times, verdict
from .levels import level_text
from .times import time_range

_SIDE = 270  # pixels, the shorter side of a thumbnail
_SMALL = 96  # the same, of the key images below an explanation
_QUALITY = 82


@dataclass(frozen=True, slots=True)
class HitCard:
    """What the template shows of one hit; `thumbnail` is a data URI, or empty where `problem` says why; `levels` says
    in words what its levels say, and `people` who is in it."""

    hit: Hit
    time_range: str
    link: str
    thumbnail: str
    problem: str
    explanation: ExplanationView | None
    levels: str
    people: str


@dataclass(frozen=True, slots=True)
class ExplanationView:
    """What the template shows of an explanation; `images` are (time, data URI) of key images that can be read."""

    verdict: str
    titles: Cells
    rows: Sequence[Cells]
    images: Sequence[tuple[float, str]]


def search_page(result: SearchResult) -> str:
    """Return the page as text.

    A video that can no longer be read keeps its place, with the reason instead of a picture.
    """
    hits = list(result)
    if not hits and result.closest is not None:
        hits = [result.closest]
    cards = [_card(result, hit) for hit in hits]
    return template("search.html.j2").render(result=result, cards=cards, counted=counted)


def picture(path: Path, time: float) -> str:
    """Return what a video shows at a time (seconds), as a data URI. MediaError where the file cannot be read."""
    return _jpeg(frames_at(path, [time], size=_SIDE, exact=False).pixels[0])


def middle_picture(video: Video) -> str:
    """Return what a video, or a span of one, shows in its middle, as a data URI; empty where it cannot be read."""
    try:
        if video.picture:
            return _jpeg(sample(video, fps=1, max_frames=1, size=_SIDE).pixels[0])
        end = probe(video.path).duration if video.end is None else video.end
        return picture(video.path, (video.start + end) / 2)
    except MediaError:
        return ""


def data_uri(content: bytes, kind: str) -> str:
    """Return a picture file of a kind ("png", "jpeg") as a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def jpeg(image: Image.Image) -> str:
    """Return a picture as a data URI."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return data_uri(buffer.getvalue(), "jpeg")


def _jpeg(pixels: Pixels) -> str:
    return jpeg(Image.fromarray(pixels))


def _card(result: SearchResult, hit: Hit) -> HitCard:
    # A media fragment (W3C): the browser starts at the moment and stops at its end.
    fragment = "" if hit.facts.is_still else f"#t={hit.start:.2f},{hit.end:.2f}"
    link = file_uri(hit.path) + fragment
    try:
        thumbnail, problem = "" if hit.kind == "audio" else picture(hit.path, hit.time), ""
    except MediaError as error:
        thumbnail, problem = "", error.reason
    view = _explanation_view(hit.path, hit.explanation) if hit.explanation else None
    return HitCard(hit, time_range(hit), link, thumbnail, problem, view, level_text(result, hit), people_text(hit))


def _explanation_view(path: Path, explanation: Explanation) -> ExplanationView:
    seconds = key_image_times(explanation)
    try:
        pictures = frames_at(path, seconds, size=_SMALL, exact=False).pixels if seconds else ()
    except MediaError:  # the card says so already
        pictures = ()
    images = [(time, _jpeg(pixels)) for time, pixels in zip(seconds, pictures, strict=False)]
    titles, rows = answer_table(explanation)
    return ExplanationView(verdict(explanation), titles, rows, images)
