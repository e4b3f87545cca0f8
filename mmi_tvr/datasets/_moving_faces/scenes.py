"""Who does what where, and all that varies from picture to picture; which scenes a split has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Literal, NamedTuple

from .._moving_shapes.dice import Dice
from .._moving_shapes.world import COLOURS
from .identities import NAMED, TEST, TRAIN, VAL

Kind = Literal["pictures", "videos"]
SplitName = Literal["train", "val", "test"]
DOINGS = ("flag", "cup", "book", "guitar", "balloon", "banana", "ball", "box", "brush", "broom", "weights", "umbrella")
PLACES = ("plain", "gradient", "stripes", "checks", "dots", "waves", "clouds", "bricks")
SIZES = {"train": {"pictures": 4800, "videos": 1600}, "val": {"pictures": 500, "videos": 500}}
SIZES["test"] = {"pictures": 1000, "videos": 1000}
_STREAMS = {"train": 21, "val": 22, "test": 23}
_KINDS = {"pictures": 0, "videos": 1, "portraits": 2}
_PER_PERSON = 5  # scenes of a person in val and test
_SEEN = {"val": range(50), "test": range(100)}  # training identities with a name that come in val and test
_UNSEEN = {"val": VAL[:50], "test": TEST}
_TURN = 25  # degrees, to either side
_STEP = 100  # ms


class Scene(NamedTuple):
    """One video or picture. Everything is an integer or a word, so it is the same on every machine.

    identity: number of the person (`identities`).
    doing, place: of `DOINGS` and `PLACES`.
    face: height of the face, in thousandths of the picture's side.
    across, down: of the middle of the face, in the room that it has, thousandths.
    turn, sway: degrees to which the head is turned at the start, and how far it turns on from there in a period.
    tilt: degrees, clockwise.
    mirrored: the whole person, with what they hold.
    light, tint: percent of the light, and thirds of it (red, green, blue) in grey levels.
    clothes: a colour of moving shapes.
    period: ms of a movement. duration: ms.
    seed: of the background and of the noise.
    """

    identity: int
    doing: str
    place: str
    face: int
    across: int
    down: int
    turn: int
    sway: int
    tilt: int
    mirrored: bool
    light: int
    tint: tuple[int, int, int]
    clothes: str
    period: int
    duration: int
    seed: int

    def turned(self, time: float) -> float:
        """Return by how many degrees the head is turned at a time (seconds), -25 to 25."""
        angle = self.turn + self.sway * math.sin(2 * math.pi * time * 1000 / (2 * self.period))
        return max(-_TURN, min(_TURN, angle))

    def mouth(self, time: float) -> float:
        """Return how far the mouth is open at a time (seconds), 0 to 1."""
        return max(0.0, math.sin(2 * math.pi * (time * 1000 / self.period + (self.seed & 7) / 8)))

    def movement(self, time: float) -> float:
        """Return where a movement stands at a time (seconds), -1 to 1."""
        return math.sin(2 * math.pi * (time * 1000 / self.period + (self.seed >> 3 & 7) / 8))


def draw_scene(dice: Dice, identity: int, doing: str, place: str) -> Scene:
    """Draw all that varies from picture to picture, for a person who does this there."""
    return Scene(
        identity,
        doing,
        place,
        face=dice.between(313, 500),  # 20 to 32 of 64 pixels
        across=dice.below(1001),
        down=dice.below(1001),
        turn=dice.between(-_TURN, _TURN),
        sway=dice.between(-20, 20),
        tilt=dice.between(-10, 10),
        mirrored=dice.chance(50),
        light=dice.between(75, 115),
        tint=(dice.between(-25, 25), dice.between(-25, 25), dice.between(-25, 25)),
        clothes=dice.pick(COLOURS),
        period=dice.between(8, 16) * _STEP,
        duration=dice.between(24, 36) * _STEP,
        seed=dice.next() >> 1,
    )


@cache
def scenes(split: SplitName, kind: Kind, count: int, seed: int = 0) -> tuple[Scene, ...]:
    """Return the first `count` scenes of a split, the people in turn; another `seed` draws others.

    In val and test a person does two things in both of two places, and a third thing in a third place: person, doing
    and place together are one scene, and no two of the three are enough.
    """
    dice = Dice(_STREAMS[split], _KINDS[kind], *([seed] if seed else []))
    if split == "train":
        return tuple(_any_scene(dice, number % len(TRAIN)) for number in range(count))
    people = (*_SEEN[split], *_UNSEEN[split])
    plans = {person: _plan(dice) for person in people}
    rounds = [
        draw_scene(dice, person, *plans[person][number]) for number in range(_PER_PERSON) for person in _mixed(people)
    ]
    return tuple(rounds[:count])


def _any_scene(dice: Dice, identity: int) -> Scene:
    return draw_scene(dice, identity, dice.pick(DOINGS), dice.pick(PLACES))


def _plan(dice: Dice) -> list[tuple[str, str]]:
    """Draw doing and place of a person's scenes."""
    doings, places = _sample(dice, DOINGS, 3), _sample(dice, PLACES, 3)
    return [(doings[number], places[place]) for number, place in ((0, 0), (1, 1), (2, 2), (0, 1), (1, 0))]


def _sample(dice: Dice, values: Sequence[str], count: int) -> list[str]:
    left = list(values)
    return [left.pop(dice.below(len(left))) for _ in range(count)]


def _mixed(people: Sequence[int]) -> list[int]:
    """Return seen and unseen people in turn, so that the first scenes of a split have both."""
    half = len(people) // 2
    return [person for pair in zip(people[:half], people[half:], strict=True) for person in pair]


@cache
def portraits(identity: int, count: int, seed: int = 0) -> tuple[Scene, ...]:
    """Return further scenes of a person that are in no split: the pictures that others know them by."""
    dice = Dice(_STREAMS["test"], _KINDS["portraits"], identity, *([seed] if seed else []))
    return tuple(_any_scene(dice, identity) for _ in range(count))


def is_seen(identity: int) -> bool:
    """Return whether a person is in the training split, with a name."""
    return identity in NAMED
