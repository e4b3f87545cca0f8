"""What is to be seen, in English: how somebody looks, what they do, where. All of it is true.

A description says some of the parameters of a face, a doing and a place, or nothing of them; what it says is known
exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .._moving_shapes.dice import Dice
from .._moving_shapes.words import listed
from .looks import Looks
from .scenes import Scene

SOMEBODY = "a person"
# finite | -ing
_DOINGS: Mapping[str, tuple[str, str]] = {
    "flag": ("waves a flag", "waving a flag"),
    "cup": ("drinks from a cup", "drinking from a cup"),
    "book": ("reads a book", "reading a book"),
    "guitar": ("plays the guitar", "playing the guitar"),
    "balloon": ("holds a balloon", "holding a balloon"),
    "banana": ("eats a banana", "eating a banana"),
    "ball": ("throws a ball", "throwing a ball"),
    "box": ("carries a parcel", "carrying a parcel"),
    "brush": ("paints with a brush", "painting with a brush"),
    "broom": ("sweeps with a broom", "sweeping with a broom"),
    "weights": ("lifts weights", "lifting weights"),
    "umbrella": ("opens an umbrella", "opening an umbrella"),
}
_PLACES: Mapping[str, str] = {
    "plain": "in front of a plain wall",
    "gradient": "in front of a fading wall",
    "stripes": "in front of stripes",
    "checks": "in front of checks",
    "dots": "in front of dots",
    "waves": "in front of waves",
    "clouds": "in front of clouds",
    "bricks": "in front of bricks",
}
_HAIR = {"short": "short {} hair", "long": "long {} hair", "curly": "curly {} hair", "spiky": "spiky {} hair"}
_HAIR |= {"bun": "a {} bun", "bald": "a bald head and {} eyebrows"}


class Phrase(NamedTuple):
    """A part of a description, and the parameters of the face that it says."""

    text: str
    parameters: tuple[str, ...]


def phrases(looks: Looks) -> tuple[Phrase, ...]:
    """Return every part that a description of this face can have; all fourteen parameters are in one."""
    spacing = {"close": "close-set eyes", "even": "evenly set eyes", "wide": "wide-set eyes"}[looks.spacing]
    mouth = {"small": "a small mouth", "wide": "a wide mouth", "full": "full lips"}[looks.mouth]
    beard = {"none": "no beard", "moustache": "a moustache", "goatee": "a goatee", "full": "a full beard"}[looks.beard]
    return (
        Phrase(f"{looks.skin} skin", ("skin",)),
        Phrase(f"a {looks.outline} face", ("outline",)),
        Phrase(_HAIR[looks.hair].format(looks.hair_colour), ("hair", "hair_colour")),
        Phrase(f"{looks.eyes} eyes", ("eyes",)),
        Phrase(spacing, ("spacing",)),
        Phrase(f"{looks.brows} eyebrows", ("brows",)),
        Phrase(f"a {looks.nose} nose", ("nose",)),
        Phrase(mouth, ("mouth",)),
        Phrase("no glasses" if looks.glasses == "none" else f"{looks.glasses} glasses", ("glasses",)),
        Phrase(beard, ("beard",)),
        Phrase(f"{looks.ears} ears", ("ears",)),
        Phrase(f"a {looks.mark} on the {looks.mark_place}", ("mark", "mark_place")),
    )


class PartialDescription(NamedTuple):
    """A sentence, and what it says: the parameters of the face, whether the doing, whether the place."""

    text: str
    parameters: frozenset[str]
    doing: bool
    place: bool


def draw_description(scene: Scene, looks: Looks, dice: Dice, most: int = 8) -> PartialDescription:
    """Draw a description of a picture: up to `most` parts of the face, the doing and the place in every other one."""
    left = list(phrases(looks))
    parts = [left.pop(dice.below(len(left))) for _ in range(dice.between(0, most))]
    doing, place = dice.chance(50), dice.chance(50)
    if not (parts or doing or place):
        doing = place = True
    words = f"{SOMEBODY} with {listed([part.text for part in parts])}" if parts else SOMEBODY
    stated = frozenset(parameter for part in parts for parameter in part.parameters)
    return PartialDescription(sentence(words, scene, doing, place, finite=dice.chance(50)), stated, doing, place)


def sentence(who: str, scene: Scene, doing: bool = True, place: bool = True, finite: bool = True) -> str:
    """Return what somebody does, and where: "[p] waves a flag in front of waves"; or neither: "an image of [p]".

    Args:
        who: words, a name, or a handle in brackets.
        scene: of the doing and the place.
        doing: whether it is stated what they do.
        place: whether it is stated where.
        finite: "waves a flag", else "waving a flag".
    """
    parts = [who] if doing or place else [f"an image of {who}"]
    if doing:
        parts.append(_DOINGS[scene.doing][0 if finite else 1])
    if place:
        parts.append(_PLACES[scene.place])
    return " ".join(parts)


def captions(scene: Scene, looks: Looks, dice: Dice, count: int) -> tuple[str, ...]:
    """Return captions of a video that say doing and place, and how the person looks; the first is the longest."""
    every = list(phrases(looks))
    texts = [sentence(f"{SOMEBODY} with {listed([part.text for part in every])}", scene)]
    while len(texts) < count:
        left = list(every)
        parts = [left.pop(dice.below(len(left))).text for _ in range(dice.between(4, 8))]
        texts.append(sentence(f"{SOMEBODY} with {listed(parts)}", scene, finite=dice.chance(50)))
    return tuple(texts)
