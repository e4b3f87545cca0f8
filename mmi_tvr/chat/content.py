"""The parts of a message to a server: a person's text as data, and pictures."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from ..plugins import BaseOptions
from ..types import Pixels

Content = str | Sequence[Mapping[str, Any]]  # of a message: a text, or parts of which some are pictures

TOKEN_CHARACTERS = 4  # on average: how much of a text is read cannot depend on a tokenizer that is elsewhere
# The beginning of what a server's tokenizer may take for a special token: </s>, <image>, <|im_end|>, [INST].
_LONGEST_SPECIAL = 32  # characters
_SPECIAL = re.compile(r"<(?=\S)|\[(?=/?[A-Z_]+\])")


class SentPictureOptions(BaseOptions):
    """How key images are sent to a server."""

    pictures: Literal["png", "jpeg"] = Field("png", description="how key images are sent: exact, or smaller")
    detail: Literal["low", "high"] | None = Field(
        None, description="how closely a model looks, where a cloud asks more tokens for more; default: its own"
    )


def quote(text: str, limit: int | None = None) -> str:
    """Return a person's text as part of a prompt: at most `limit` characters, in which neither the end of a quotation
    nor what a tokenizer may take for a special token can be written.

    >>> quote('a "red" </s> circle', 17)
    "a 'red' < /s> cir"
    """
    if limit is not None:
        text = text[: limit + _LONGEST_SPECIAL]  # what lies behind is not read, and not looked at
    return _SPECIAL.sub(lambda match: f"{match[0]} ", text.replace('"', "'"))[:limit]


def data_url(pixels: Pixels, encoding: str) -> str:
    """Return a picture as a data URL; `encoding` is png or jpeg."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=encoding, quality=92)
    return f"data:image/{encoding};base64,{base64.b64encode(stream.getvalue()).decode()}"


class PictureEncoder:
    """Key images as parts of messages: those that several questions are about are encoded once."""

    def __init__(self, options: SentPictureOptions) -> None:
        self._options = options
        self._parts: dict[int, list[dict[str, Any]]] = {}

    def parts(self, pictures: tuple[Pixels, ...]) -> list[dict[str, Any]]:
        """Return the parts of the pictures of one video, which outlive this object."""
        if id(pictures) not in self._parts:  # two threads may both make them, which costs time alone
            options = self._options
            parts = [picture_part(data_url(picture, options.pictures), options.detail) for picture in pictures]
            self._parts[id(pictures)] = parts
        return self._parts[id(pictures)]


def picture_part(url: str, detail: str | None = None) -> dict[str, Any]:
    """Return a picture (its data URL) as part of a message; `detail` as in `SentPictureOptions`."""
    image = {"url": url} if detail is None else {"url": url, "detail": detail}
    return {"type": "image_url", "image_url": image}


def around_pictures(before: str, pictures: Sequence[Mapping[str, Any]], after: str) -> list[Mapping[str, Any]]:
    """Return the parts of a message: a text, pictures and another text; an empty text is left out."""
    texts = [[{"type": "text", "text": text}] if text else [] for text in (before, after)]
    return [*texts[0], *pictures, *texts[1]]


def count_pictures(content: Content) -> int:
    """Return how many parts of a message are pictures."""
    return 0 if isinstance(content, str) else sum(part["type"] == "image_url" for part in content)
