"""What one moment of a video shows, in words: exact descriptions of single pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from . import chinese
from .captions import beside, indefinite, noun
from .motion import Motion, Pose
from .words import listed
from .world import ROUND, Spec, Thing

_SYMMETRY = {"square": 4, "cross": 4, "triangle": 3, "star": 5}
_SMALL, _LARGE = 0.082, 0.106  # radii; between them no word is said
_EDGE = 0.36  # nearer to a side than this is "at the left"
_STEEP = 2.0  # so many times higher than wide is "above"; less is "to the upper left of"
_EMPTY = ("an empty picture", "nothing but the background", "画面里什么都没有")

_Seen = tuple[Thing, Pose]


class Shown(NamedTuple):
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
    """Descriptions of the picture at a time (seconds), English first, the last one Chinese.

    Each names everything that is visible, in its colour of that moment. They add nothing, or where things stand as
    seen from each other, where they stand in the picture, or how large they are and whether they are turned. What
    follows from a threshold (half faded, between large and small) is told by the thresholds above.
    """
    there = _visible(spec, time)
    if not there:
        return _EMPTY
    plain = [
        listed([indefinite(thing) for thing, _ in there]),
        listed([f"{indefinite(thing)} {_position(pose)}" for thing, pose in there]),
        listed([_looks(thing, pose) for thing, pose in there]),
    ]
    related = [_related(there, one, other) for one in range(len(there)) for other in range(len(there)) if one != other]
    words = listed([chinese.name(thing, number_too=True) for thing, _ in there], "、", "和")
    return tuple(dict.fromkeys([*related, *plain, words]))


def seen(spec: Spec, time: float) -> tuple[Shown, ...]:
    """Every single shape that is visible at a time (seconds); a row of three is three of them."""
    return tuple(
        Shown(
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


def _visible(spec: Spec, time: float) -> list[_Seen]:
    return [_seen(*both) for both in zip(spec.things, Motion(spec).at(time), strict=True) if both[1].visible]


def _seen(thing: Thing, pose: Pose) -> _Seen:
    return (replace(thing, colour="white") if pose.white >= 0.5 else thing), pose


def _related(seen: Sequence[_Seen], one: int, other: int) -> str:
    """Two things as seen from each other, and what else there is."""
    (x, y), (there_x, there_y) = seen[one][1].centre, seen[other][1].centre
    across, down = x - there_x, y - there_y
    side, height = "left" if across < 0 else "right", "above" if down < 0 else "below"
    if abs(across) >= _STEEP * abs(down):
        words = beside(side)
    elif abs(down) >= _STEEP * abs(across):
        words = beside(height)
    else:
        words = f"to the {'upper' if height == 'above' else 'lower'} {side} of"
    more = [indefinite(thing) for number, (thing, _) in enumerate(seen) if number not in (one, other)]
    return ", and ".join([f"{indefinite(seen[one][0])} {words} {indefinite(seen[other][0])}", *more])


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
    """Whether a shape looks as if it had not been turned, give or take an eighth of its symmetry."""
    step = 2 * math.pi / _SYMMETRY[shape]
    return abs((angle + step / 2) % step - step / 2) < step / 8
