"""A long tail: some colours, shapes and actions are common in a training split and others rare, as in life."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from .dice import Dice
from .world import ACTIONS, COLOURS, SHAPES, Spec

CLASSES = (COLOURS, SHAPES, ACTIONS)
_STREAM = 5  # of the dice that say what is common (`generate` has the others)
_UNIT = 1_000_000  # a weight of 1; integers are the same on every machine


@dataclass(frozen=True, slots=True)
class LongTail:
    """How often each colour, shape and action is drawn: `weights` by name; without weights, all alike."""

    weights: Mapping[str, int] = field(default_factory=dict)

    def pick(self, dice: Dice, options: Sequence[str]) -> str:
        """Draw one of some colours, shapes or actions."""
        if not self.weights:
            return dice.pick(options)
        return options[draw_weighted(dice, [self.weights[option] for option in options])]

    def place(self, dice: Dice, specs: Sequence[Spec]) -> int:
        """Draw the place of one of some specs, by what is in them."""
        if not self.weights:
            return dice.below(len(specs))
        return draw_weighted(dice, [prod(self.weights[name] for name in classes_of(spec)) for spec in specs])


def long_tail(skew: float) -> LongTail:
    """Return the long tail in which the class of rank r is drawn r^-skew times as often as the first; 0: no tail.

    What is common and what is rare is the same for every skew.
    """
    if not skew:
        return LongTail()
    weights: dict[str, int] = {}
    for number, names in enumerate(CLASSES):
        dice = Dice(_STREAM, number)
        numbers = {name: dice.next() for name in names}
        ranked = sorted(names, key=numbers.__getitem__)
        weights |= {name: round(_UNIT * rank**-skew) for rank, name in enumerate(ranked, 1)}
    return LongTail(weights)


def classes_of(spec: Spec) -> list[str]:
    """Return the colours, shapes and actions of a spec, as often as they are drawn."""
    looks = [name for thing in spec.things for name in (thing.colour, thing.shape)]
    return looks + [event.action for event in spec.events]


def missing_classes(specs: Iterable[Spec]) -> list[str]:
    """Return the colours, shapes and actions that none of the specs shows."""
    present = {name for spec in specs for name in classes_of(spec)}
    return [name for names in CLASSES for name in names if name not in present]


def draw_weighted(dice: Dice, weights: Sequence[int]) -> int:
    """Draw a number of the weights' positions, each as often as its weight says."""
    value = dice.below(sum(weights))
    for position, weight in enumerate(weights):
        value -= weight
        if value < 0:
            return position
    raise AssertionError("a number below the sum of the weights")
