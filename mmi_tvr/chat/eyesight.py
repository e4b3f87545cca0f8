"""Whether a model sees what it is sent: plain pictures, whose colour a model that is blind can only guess."""

from __future__ import annotations

import numpy as np

from ..types import Pixels

QUESTION = "What colour is this picture? Answer with one word:"
SEVERAL = "What colour are these pictures? Answer with one word:"
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
