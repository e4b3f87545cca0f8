"""Exact labels of a spec on three levels: what is there, what happens, and who does what to whom.

Words are those of the world: "red", "ring", "two", "red ring"; "chases"; ("ring", "chases", "cross"), ("ring", "moves",
"left"), ("ring", "left of", "cross"). An action without object or direction is a triplet without object (decision):
("ring", "spins", ""), since who acts is what the level is for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import permutations

from ...types import Labels, Triplet
from .captions import NUMBERS
from .world import COLOURS, MOVES, OPPOSITE, SHAPES, Event, Spec, relations

ENTITIES = (*COLOURS, *SHAPES, *NUMBERS[1:], *(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES))
_RELATION_LABELS = {"left": "left of", "right": "right of", "above": "above", "below": "below"}


def caption_labels(spec: Spec) -> Labels:
    """Return what every caption of a spec says; a relation alone where it is stated, from both sides."""
    places: list[Triplet] = []
    if spec.relation_stated:
        places = [_place(spec, 0, spec.relation, 1), _place(spec, 1, OPPOSITE[spec.relation], 0)]
    return _labels(spec, places)


def video_labels(spec: Spec) -> Labels:
    """Return what is true of a spec's video: what its captions say, and all relations of its things, said or not."""
    pairs = permutations(range(len(spec.things)), 2)
    return _labels(
        spec,
        (
            _place(spec, number, relation, reference)
            for number, reference in pairs
            for relation in sorted(relations(spec, number, reference))
        ),
    )


def _labels(spec: Spec, places: Iterable[Triplet]) -> Labels:
    entities = [
        word
        for thing in spec.things
        for word in (thing.colour, thing.shape, NUMBERS[thing.count], f"{thing.colour} {thing.shape}")
    ]
    events = [triplet for event in spec.events for triplet in _triplets(spec, event)]
    return Labels(
        tuple(dict.fromkeys(entities)),
        tuple(dict.fromkeys(event.action for event in spec.events)),
        tuple(dict.fromkeys([*events, *places])),
    )


def _triplets(spec: Spec, event: Event) -> Iterator[Triplet]:
    shape = spec.things[event.actor].shape
    if event.other >= 0:
        yield Triplet(shape, event.action, spec.things[event.other].shape)
    elif event.action in MOVES:
        yield Triplet(shape, "moves", event.action)
    else:
        yield Triplet(shape, event.action, "")


def _place(spec: Spec, number: int, relation: str, reference: int) -> Triplet:
    return Triplet(spec.things[number].shape, _RELATION_LABELS[relation], spec.things[reference].shape)
