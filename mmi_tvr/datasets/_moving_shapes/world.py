"""What a video of moving shapes holds (`Spec`), and when a description is true of a video.

A scene has one or two or three things: coloured shapes, or a row of two or three equal ones that act together. One to
three events happen one after the other, short, with stillness before, between and after them. Everything is an
integer or a word, so a spec is the same on every machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black")
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
ROUND = ("circle", "ring")  # nobody sees them spin
OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above", "up": "down", "down": "up"}
MOVES = ("left", "right", "up", "down")
LASTING = (*MOVES, "grows", "shrinks", "appears", "hides")
PASSING = ("spins", "bounces", "swells", "blinks", "flashes")  # afterwards everything is as it was
ACTIONS = (*LASTING, *PASSING, "chases")
# What an action changes. A thing has at most one event of each kind (decision): no change hides or undoes another.
_CHANGES = {
    "left": "x",
    "right": "x",
    "up": "y",
    "down": "y",
    "bounces": "y",
    "grows": "size",
    "shrinks": "size",
    "swells": "size",
    "spins": "angle",
    "flashes": "colour",
    "appears": "sight",
    "hides": "sight",
    "blinks": "sight",
}
_IMPLIED = {"swells": ("grows", "shrinks"), "blinks": ("hides", "appears")}  # what a loose reader may call it
_TOWARDS = {"left": "right", "right": "left", "above": "down", "below": "up"}  # the way to go, seen from where one is


class ThingName(NamedTuple):
    """What distinguishes a thing from all others of its scene."""

    colour: str
    shape: str
    number: int


@dataclass(frozen=True, slots=True)
class Thing:
    """`count` equal shapes. `across`, `down` and `size` (0..1000) say where in its room it stands, and how large."""

    colour: str
    shape: str
    count: int
    across: int
    down: int
    size: int

    @property
    def name(self) -> ThingName:
        return ThingName(self.colour, self.shape, self.count)


@dataclass(frozen=True, slots=True)
class Event:
    """Thing number `actor` does `action`; `other` is the thing that is chased, or -1."""

    actor: int
    action: str
    other: int = -1


@dataclass(frozen=True, slots=True)
class Spec:
    """One video.

    `relation` is of things[0] to things[1] ("" for one thing), and true all the time; captions say so where
    `relation_stated`. `starts` (ms) are of the events, each `length` ms long; `duration` in ms. `corner` (0..3) chooses
    among mirror images of the arrangement, `texture`, `tint` and `seed` the background; `seed` the captions too.
    """

    things: tuple[Thing, ...]
    relation: str
    relation_stated: bool
    events: tuple[Event, ...]
    starts: tuple[int, ...]
    length: int
    duration: int
    corner: int
    texture: str
    tint: tuple[int, int, int]
    seed: int


def spelled(spec: Spec) -> str:
    """Spell a spec as the name of its file depends on it: another text would be another file.

    So `relation_stated` goes by the name that it had when the first files were named.
    """
    return repr(spec).replace(", relation_stated=", ", told=")


def chase_direction(spec: Spec, event: Event) -> str:
    """Return where a chase goes: left, right, up or down; the chased one is ahead."""
    return _TOWARDS[spec.relation if event.actor == 0 else OPPOSITE[spec.relation]]


def grid_cells(spec: Spec) -> tuple[tuple[int, int], ...]:
    """Return column and row (0 or 1) of each thing. Two things stand in one row or one column, a third in the other."""
    if len(spec.things) == 1:
        return ((0, 0),)
    first = int(spec.relation in ("right", "below"))
    band = spec.corner & 1
    along = [(first, band), (1 - first, band), (spec.corner >> 1, 1 - band)][: len(spec.things)]
    return tuple(along) if spec.relation in ("left", "right") else tuple((row, column) for column, row in along)


def relations(spec: Spec, number: int, reference: int) -> frozenset[str]:
    """Return all that is true of a thing seen from another one, the reference."""
    cells = grid_cells(spec)
    (column, row), (reference_column, reference_row) = cells[number], cells[reference]
    across = {-1: {"left"}, 0: set(), 1: {"right"}}[column - reference_column]
    return frozenset(across | {-1: {"above"}, 0: set(), 1: {"below"}}[row - reference_row])


def consistent(spec: Spec) -> bool:
    """Return whether such a video can be: names are clear, events are visible, and nobody acts unseen."""
    names = {(thing.colour, thing.shape) for thing in spec.things}
    if len(names) < len(spec.things):
        return False
    axis = "x" if spec.relation in ("left", "right") else "y"
    changes: list[list[str]] = [[] for _ in spec.things]
    for event in spec.events:
        if event.action == "chases":
            changes[event.actor].append(axis)
            changes[event.other].append(axis)
        elif event.action == "spins" and spec.things[event.actor].shape in ROUND:
            return False
        else:
            changes[event.actor].append(_CHANGES[event.action])
    changes_once = all(len(set(kinds)) == len(kinds) for kinds in changes)
    return changes_once and _acts_while_visible(spec)


def _acts_while_visible(spec: Spec) -> bool:
    """Return whether a thing that appears does nothing before, and one that hides nothing after."""
    for number in range(len(spec.things)):
        actions = [event.action for event in spec.events if number in (event.actor, event.other)]
        if "appears" in actions[1:] or "hides" in actions[:-1]:
            return False
    return True


def key(spec: Spec) -> str:
    """Return the canonical description: equal for two specs exactly where their captions say the same.

    The order of the things and the side from which a relation is stated do not matter.
    """
    names = [f"{thing.count} {thing.colour} {thing.shape}" for thing in spec.things]
    parts = [", ".join(sorted(names))]
    if spec.relation_stated:
        first, second = names[:2]
        flipped = OPPOSITE[spec.relation]
        parts.append(f"{first} {spec.relation} {second}" if first < second else f"{second} {flipped} {first}")
    parts += [" ".join([names[event.actor], *_predicate(spec, event, names)]) for event in spec.events]
    return "; ".join(parts)


def split_of(spec: Spec) -> str:
    """Return the only split that may hold this description: 1/8 of all belong to test, 1/8 to val (decision).

    It depends on the things and on who does what, but not on order, direction, relation or count: a description of the
    test split has no such sibling in train either.
    """
    names = [f"{thing.colour} {thing.shape}" for thing in spec.things]
    sentences = sorted(
        f"{names[event.actor]} {'moves' if event.action in MOVES else event.action}" for event in spec.events
    )
    text = "; ".join([*sorted(names), *sentences])
    return ("test", "val", *["train"] * 6)[hashlib.sha256(text.encode()).digest()[0] & 7]


def describes(caption_of: Spec, video: Spec) -> bool:
    """Return whether what the captions of one spec say is true of another one's video.

    Counts are exact. Otherwise the reading is generous: more may be there and more may happen than is said, a swelling
    shape also grows, one that blinks also hides, one that chases also moves.
    """
    numbers = {thing.name: number for number, thing in enumerate(video.things)}
    if any(thing.name not in numbers for thing in caption_of.things):
        return False
    in_video = [numbers[thing.name] for thing in caption_of.things]
    if caption_of.relation_stated and caption_of.relation not in relations(video, in_video[0], in_video[1]):
        return False
    video_events = iter(video.events)  # each event of the caption takes up where the one before it was matched
    for event in caption_of.events:
        actor, other = in_video[event.actor], in_video[event.other] if event.other >= 0 else -1
        direction = chase_direction(caption_of, event) if other >= 0 else ""
        fact = (actor, event.action, other, direction)
        if not any(fact in facts(video, video_event) for video_event in video_events):
            return False
    return True


def facts(spec: Spec, event: Event) -> Iterator[tuple[int, str, int, str]]:
    """Yield all that may be said of one event: actor, action, the chased one, the direction of the chase."""
    if event.action == "chases":
        direction = chase_direction(spec, event)
        yield event.actor, "chases", event.other, direction
        yield event.actor, direction, -1, ""
        yield event.other, direction, -1, ""
    for action in (event.action, *_IMPLIED.get(event.action, ())):
        yield event.actor, action, -1, ""


def _predicate(spec: Spec, event: Event, names: list[str]) -> list[str]:
    return ["chases", names[event.other], chase_direction(spec, event)] if event.other >= 0 else [event.action]
