"""What one moment of a video shows, in words: exact descriptions of single pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from typing import NamedTuple

from . import chinese
from .captions import indefinite, noun, relation_words
from .motion import Motion, Pose
from .words import listed
from .world import ROUND, Spec, Thing

_SYMMETRY = {"square": 4, "cross": 4, "triangle": 3, "star": 5}
_SMALL, _LARGE = 0.082, 0.106  # radii; between them no word is said
_EDGE = 0.36  # nearer to a side than this is "at the left"
_STEEP = 2.0  # so many times higher than wide is "above"; less is "to the upper left of"
_EMPTY = ("an empty picture", "nothing but the background", "画面里什么都没有")

_VisibleThing = tuple[Thing, Pose]


class VisibleShape(NamedTuple):
    """A single shape that is visible: "a red ring", "red", "ring", its centre in shares of width and height, its
    radius in shares of the width, and how far it is turned (0: as if it were upright, 1: half way to the next such
    angle)."""

    name: str
    colour: str
    shape: str
    centre: tuple[float, float]
    radius: float
    turned: float


def stills(spec: Spec, time: float) -> tuple[str, ...]:
    """Return descriptions of the picture at a time (seconds), English first, the last one Chinese.

    Each names everything that is visible, in its colour of that moment. They add nothing, or where things stand as
    seen from each other, where they stand in the picture, or how large they are and whether they are turned. What
    follows from a threshold (half faded, between large and small) is decided by the thresholds above.
    """
    visible = _visible(spec, time)
    if not visible:
        return _EMPTY
    plain = [
        listed([indefinite(thing) for thing, _ in visible]),
        listed([f"{indefinite(thing)} {_position(pose)}" for thing, pose in visible]),
        listed([_looks(thing, pose) for thing, pose in visible]),
    ]
    related = [_related(visible, *numbers) for numbers in permutations(range(len(visible)), 2)]
    words = listed([chinese.name(thing, with_number=True) for thing, _ in visible], "、", "和")
    return tuple(dict.fromkeys([*related, *plain, words]))


def visible_shapes(spec: Spec, time: float) -> tuple[VisibleShape, ...]:
    """Return every single shape that is visible at a time (seconds); a row of three is three of them."""
    return tuple(
        VisibleShape(
            indefinite(replace(thing, count=1)),
            thing.colour,
            thing.shape,
            centre,
            pose.radius,
            _turned(thing.shape, pose.angle),
        )
        for thing, pose in _visible(spec, time)
        for centre in pose.centres
    )


def _visible(spec: Spec, time: float) -> list[_VisibleThing]:
    """Return the visible things in their colour of that moment, with their poses."""
    return [
        (replace(thing, colour="white") if pose.white >= 0.5 else thing, pose)
        for thing, pose in zip(spec.things, Motion(spec).at(time), strict=True)
        if pose.visible
    ]


def _related(visible: Sequence[_VisibleThing], number: int, reference: int) -> str:
    """Return where a thing is as seen from another one, the reference, and what else there is."""
    (x, y), (reference_x, reference_y) = visible[number][1].centre, visible[reference][1].centre
    across, down = x - reference_x, y - reference_y
    side, height = "left" if across < 0 else "right", "above" if down < 0 else "below"
    if abs(across) >= _STEEP * abs(down):
        words = relation_words(side)
    elif abs(down) >= _STEEP * abs(across):
        words = relation_words(height)
    else:
        words = f"to the {'upper' if height == 'above' else 'lower'} {side} of"
    more = [indefinite(thing) for n, (thing, _) in enumerate(visible) if n not in (number, reference)]
    return ", and ".join([f"{indefinite(visible[number][0])} {words} {indefinite(visible[reference][0])}", *more])


def _position(pose: Pose) -> str:
    x, y = pose.centre
    height = "top" if y < _EDGE else "bottom" if y > 1 - _EDGE else ""
    side = "left" if x < _EDGE else "right" if x > 1 - _EDGE else ""
    return f"at the {height} {side}".replace("  ", " ").rstrip() if height or side else "in the middle"


def _looks(thing: Thing, pose: Pose) -> str:
    size = "small" if pose.radius < _SMALL else "large" if pose.radius > _LARGE else ""
    turned = "" if thing.shape in ROUND or _upright(thing.shape, pose.angle) else "turned"
    words = " ".join(word for word in (size, turned, noun(thing)) if word)
    article = indefinite(thing).split()[0] if thing.count > 1 else "an" if words.startswith("orange") else "a"
    return f"{article} {words}"


def _turned(shape: str, angle: float) -> float:
    return 0.0 if shape in ROUND else (1 - math.cos(_SYMMETRY[shape] * angle)) / 2


def _upright(shape: str, angle: float) -> bool:
    """Return whether a shape looks as if it had not been turned, give or take an eighth of its symmetry."""
    step = 2 * math.pi / _SYMMETRY[shape]
    return abs((angle + step / 2) % step - step / 2) < step / 8
