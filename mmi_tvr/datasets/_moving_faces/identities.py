"""The people: 400 for training, 100 for validation and 100 for testing, no two of them alike.

An identity is a number: first those of training, then of validation, then of testing.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from .._moving_shapes.dice import Dice
from .looks import Looks, differences, draw_looks

TRAIN, VAL, TEST = range(400), range(400, 500), range(500, 600)  # numbers of identities
NAMED = range(300)  # the training identities that have a name: "seen" in an evaluation
APART = 3  # parameters in which any two differ, at least
_STREAM = 11  # of dice: moving shapes have 1 to 4
_BEGINNINGS: tuple[str, ...] = ("b", "br", "d", "dr", "f", "g", "gr", "h", "j", "k", "kr", "l")
_BEGINNINGS += ("m", "n", "p", "pl", "r", "s", "st", "t", "tr", "v", "w", "z")
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ou")
_ENDS = ("l", "n", "r", "s", "th", "x", "ck", "m")


class Identity(NamedTuple):
    """Who somebody is: how they look, and an invented name of two words ("" for one without)."""

    looks: Looks
    name: str


@cache
def identities() -> tuple[Identity, ...]:
    """Return everybody, by number. The people of validation and testing have names too, which no caption of the
    training split says."""
    dice = Dice(_STREAM)
    looks: list[Looks] = []
    while len(looks) < TEST.stop:
        drawn = draw_looks(dice)
        if not any(is_close(drawn, other) for other in looks):
            looks.append(drawn)
    names = invented_names(len(looks), Dice(_STREAM, 1))
    return tuple(
        Identity(one, "" if number in TRAIN and number not in NAMED else name)
        for number, (one, name) in enumerate(zip(looks, names, strict=True))
    )


def is_close(looks: Looks, other: Looks) -> bool:
    """Return whether two faces differ in fewer than `APART` parameters."""
    return differences(looks, other) < APART


def invented_names(count: int, dice: Dice) -> list[str]:
    """Draw different names of two words: Bralon Stoukix.

    No word comes twice, so that a name can be told by either word.
    """
    words: dict[str, None] = {}
    while len(words) < 2 * count:
        words[_word(dice)] = None
    spelled = list(words)
    return [f"{first} {last}" for first, last in zip(spelled[:count], spelled[count:], strict=True)]


def _word(dice: Dice) -> str:
    syllables = [dice.pick(_BEGINNINGS) + dice.pick(_VOWELS) for _ in range(2)]
    return ("".join(syllables) + dice.pick(_ENDS)).capitalize()
