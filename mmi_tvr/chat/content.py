"""The parts of a message to a server: a person's text as data, and pictures."""

from __future__ import annotations

import base64
import io
import re

from ..types import Pixels

TOKEN_CHARACTERS = 4  # on average: how much of a text is read cannot depend on a tokenizer that is elsewhere
# The beginning of what a server's tokenizer may take for a special token: </s>, <image>, <|im_end|>, [INST].
_LONGEST_SPECIAL = 32  # characters
_SPECIAL = re.compile(r"<(?=\S)|\[(?=/?[A-Z_]+\])")


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
