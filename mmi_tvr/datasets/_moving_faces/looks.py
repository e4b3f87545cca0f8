"""What a drawn face is made of: 14 parameters, each one of a few values."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import NamedTuple

from .._moving_shapes.dice import Dice


class Looks(NamedTuple):
    """The values of the parameters, as words. Hair colour is of brows and beard, too, so it shows on the bald; every
    face has a mark. No value tells left from right: pictures are mirrored."""

    skin: str
    outline: str
    hair: str
    hair_colour: str
    eyes: str
    spacing: str
    brows: str
    nose: str
    mouth: str
    glasses: str
    beard: str
    ears: str
    mark: str
    mark_place: str


PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "skin": ("pale", "rosy", "golden", "olive", "brown", "dark"),
    "outline": ("round", "long", "square", "pointed"),
    "hair": ("bald", "short", "long", "curly", "spiky", "bun"),
    "hair_colour": ("black", "chestnut", "blond", "red", "white", "blue", "green"),
    "eyes": ("round", "narrow", "sleepy"),
    "spacing": ("close", "even", "wide"),
    "brows": ("thin", "thick", "slanted"),
    "nose": ("small", "long", "broad"),
    "mouth": ("small", "wide", "full"),
    "glasses": ("none", "round", "square", "dark"),
    "beard": ("none", "moustache", "goatee", "full"),
    "ears": ("small", "large", "pointed"),
    "mark": ("mole", "scar", "plaster", "star"),
    "mark_place": ("forehead", "cheek", "chin", "temple"),
}


def draw_looks(dice: Dice) -> Looks:
    """Draw any face, every value of a parameter as likely as the others."""
    return Looks(*(dice.pick(values) for values in PARAMETERS.values()))


def differences(looks: Looks, other: Looks) -> int:
    """Return in how many parameters two faces differ, 0 to 14."""
    return sum(map(operator.ne, looks, other))


def numbers(looks: Looks) -> tuple[int, ...]:
    """Return the place of each parameter's value among its values."""
    return tuple(values.index(value) for value, values in zip(looks, PARAMETERS.values(), strict=True))
