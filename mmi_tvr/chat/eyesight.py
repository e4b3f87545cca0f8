"""Whether a model sees what it is sent: plain pictures, whose colour a model that is blind can only guess."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from ..errors import AnswerError
from ..types import Pixels
from .client import ServerClient
from .content import data_url, picture_part
from .replies import NOT_A_COMPLETION, completion, counted_tokens

QUESTION = "What colour is this picture? Answer with one word:"
SEVERAL = "What colour are these pictures? Answer with one word:"
_FEW_PICTURE_TOKENS = 8  # a picture; no model that sees key images reads so few
WIDTH, HEIGHT = 448, 336  # pixels, about as large as key images are sent
# Name -> the colour, and the words for it that count. Decision: colours that are not the first guess.
_COLOURS: dict[str, tuple[tuple[int, int, int], tuple[str, ...]]] = {
    "green": ((30, 160, 40), ("green", "绿")),
    "purple": ((128, 0, 128), ("purple", "violet", "magenta", "紫")),
    "red": ((220, 30, 30), ("red", "红")),
}


def plain_picture(colour: str) -> Pixels:
    """Return a picture of one colour: green, purple or red."""
    return np.full((HEIGHT, WIDTH, 3), _COLOURS[colour][0], np.uint8)


def names_colour(answer: object, colour: str) -> bool:
    """Return whether an answer, if it is one, names a colour.

    >>> names_colour("It is Violet.", "purple"), names_colour("blue", "purple")
    (True, False)
    """
    return isinstance(answer, str) and any(word in answer.lower() for word in _COLOURS[colour][1])


class BlindnessCheck:
    """Finds out whether a model sees what it is sent, where its server counted too few tokens for that. For several
    threads."""

    def __init__(self, encoding: str, max_tokens: int) -> None:
        """Args: encoding: of pictures, png or jpeg; max_tokens: of a reply, with what a model thinks before it."""
        self._encoding, self._max_tokens = encoding, max_tokens
        self._sees: bool | None = None  # None: there was no reason to check
        self._lock = threading.Lock()

    def error(self, server: ServerClient, model: str, document: Any, pictures: int) -> AnswerError | None:
        """Return why a reply (its JSON) to a message with so many pictures means nothing; None where it may."""
        if not _suspicious(document, pictures) or self._sees_pictures(server, model):
            return None
        return AnswerError("the model does not see pictures, though the server takes them: name one that does")

    def _sees_pictures(self, server: ServerClient, model: str) -> bool:
        """Return whether the model knows the colour of a plain picture. It is asked once, and again after an error."""
        with self._lock:
            if self._sees is None:
                picture = picture_part(data_url(plain_picture("purple"), self._encoding))
                message = {"role": "user", "content": [picture, {"type": "text", "text": QUESTION}]}
                body = {"model": model, "messages": [message], "temperature": 0, "max_tokens": self._max_tokens}
                try:
                    answer = completion(server.chat(body).json(), self._max_tokens)
                except (AnswerError, *NOT_A_COMPLETION):
                    return True  # nothing was learned
                self._sees = names_colour(answer, "purple")
            return self._sees


def _suspicious(document: Any, pictures: int) -> bool:
    """Return whether a server counted too few tokens to have read so many pictures; it may count the text alone."""
    tokens = counted_tokens(document, "prompt_tokens")
    return pictures > 0 and tokens is not None and tokens < _FEW_PICTURE_TOKENS * pictures
