"""Seeded specs, their twins, and the three splits.

Every spec is drawn until it suits its split (`world.split_of`), so no description can be in two splits. Videos come in
groups: a spec and its twins, which differ from it in exactly one thing. The first videos of a split are the same
however many are asked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

from ...errors import UsageError
from .dice import Dice
from .world import (
    ACTIONS,
    COLOURS,
    MOVES,
    OPPOSITE,
    PASSING,
    SHAPES,
    Event,
    Name,
    Spec,
    Thing,
    consistent,
    describes,
    key,
    split_of,
)

VERSION = 1  # of the generator: other specs or captions need another number
KINDS = ("order", "direction", "relation", "colour", "shape", "count")
SIZES = {"train": 24_000, "val": 1_000, "test": 1_000}
TEXTURES = ("plain", "gradient", "stripes", "checks", "dots", "waves", "clouds")
_STREAMS = {"train": 1, "val": 2, "test": 3, "contrast": 4}
_COUNTS = ((1,),) * 10 + ((2,),) * 7 + ((3,),) * 7 + ((1, 1),) * 42 + ((2, 1),) * 8 + ((1, 2),) * 8 + ((1, 1, 1),) * 18
_EVENTS = (1,) * 15 + (2,) * 55 + (3,) * 30
_TOLD = 65  # percent of the scenes with a relation
_STEP = 100  # ms; starts and lengths are multiples, so that a passing event shows the same pictures wherever it stands
_STILL = 8  # steps of stillness before, between and after events, at least
_TRIES = 20


class Item(NamedTuple):
    """One video of a split; twins share their `group`, and `kind` says in what it differs from the group's first."""

    spec: Spec
    group: int
    kind: str = ""


def draw(dice: Dice, actions: Sequence[str] = ACTIONS) -> Spec:
    """Any consistent spec whose events are among `actions`."""
    while True:
        things = tuple(_thing(dice, count) for count in dice.pick(_COUNTS))
        relation = dice.pick(("left", "right", "above", "below")) if len(things) > 1 else ""
        told = dice.chance(_TOLD) and bool(relation)
        count = dice.pick(_EVENTS)
        length = dice.between(12, 18) * _STEP
        starts, duration = _timing(dice, count, length)
        tint = (dice.between(-20, 20), dice.between(-20, 20), dice.between(-20, 20))
        looks = (dice.below(4), dice.pick(TEXTURES), tint, dice.next() >> 1)
        for _ in range(_TRIES):
            events = tuple(_event(dice, len(things), actions) for _ in range(count))
            spec = Spec(things, relation, told, events, starts, length, duration, *looks)
            if consistent(spec):
                return spec


def _thing(dice: Dice, count: int) -> Thing:
    looks = dice.pick(COLOURS), dice.pick(SHAPES)
    return Thing(*looks, count, dice.below(1001), dice.below(1001), dice.below(1001))


def _event(dice: Dice, things: int, actions: Sequence[str]) -> Event:
    actor, action = dice.below(things), dice.pick(actions)
    if action != "chases" or things == 1:
        return Event(actor, action if action != "chases" else dice.pick(MOVES))
    return Event(actor & 1, action, 1 - (actor & 1))  # only the two whose relation is known chase each other


def _timing(dice: Dice, count: int, length: int) -> tuple[tuple[int, ...], int]:
    """Starts of the events and the length of the whole, ms: 6 to 10 seconds, the slack spread at random."""
    busy = count * (length // _STEP) + (count + 1) * _STILL
    duration = max(busy, dice.between(60, 90 if count < 3 else 100))
    cuts = sorted(dice.between(0, duration - busy) for _ in range(count))
    starts = (cut + (place + 1) * _STILL + place * (length // _STEP) for place, cut in enumerate(cuts))
    return tuple(start * _STEP for start in starts), duration * _STEP


def twin_kinds(spec: Spec) -> tuple[str, ...]:
    """The kinds of twins that a spec has within its split."""
    return tuple(kind for kind in KINDS if _twins(spec, kind))


def twin(spec: Spec, kind: str, number: int = 0) -> Spec:
    """The same scene with one thing changed, of the same split; `number` chooses among several. Their captions are
    never true of each other's videos. Raises UsageError where there is none: `twin_kinds` says which there are."""
    found = _twins(spec, kind)
    if not found:
        raise UsageError(f"this video has no twin by {kind}; it has: {', '.join(twin_kinds(spec)) or 'none'}")
    return found[(Dice(spec.seed, KINDS.index(kind)).below(len(found)) + number) % len(found)]


def _twins(spec: Spec, kind: str) -> list[Spec]:
    if kind not in _CHANGED:
        raise UsageError(f"no kind of twin is called {kind!r}; there are: {', '.join(KINDS)}")
    home = split_of(spec)
    return [
        other
        for other in _CHANGED[kind](spec)
        if consistent(other) and split_of(other) == home and not describes(other, spec) and not describes(spec, other)
    ]


def _order(spec: Spec) -> Iterator[Spec]:
    events = spec.events
    for at in range(len(events) - 1):
        yield replace(spec, events=(*events[:at], events[at + 1], events[at], *events[at + 2 :]))


def _direction(spec: Spec) -> Iterator[Spec]:
    for at, event in enumerate(spec.events):
        if event.action in MOVES:
            turned = replace(event, action=OPPOSITE[event.action])
            yield replace(spec, events=(*spec.events[:at], turned, *spec.events[at + 1 :]))


def _relation(spec: Spec) -> Iterator[Spec]:
    if spec.told and all(event.action != "chases" for event in spec.events):  # a chase would turn round too
        yield replace(spec, relation=OPPOSITE[spec.relation])


def _with(spec: Spec, at: int, thing: Thing) -> Spec:
    return replace(spec, things=(*spec.things[:at], thing, *spec.things[at + 1 :]))


def _colour(spec: Spec) -> Iterator[Spec]:
    for at, thing in enumerate(spec.things):
        yield from (_with(spec, at, replace(thing, colour=colour)) for colour in COLOURS if colour != thing.colour)


def _shape(spec: Spec) -> Iterator[Spec]:
    for at, thing in enumerate(spec.things):
        yield from (_with(spec, at, replace(thing, shape=shape)) for shape in SHAPES if shape != thing.shape)


def _count(spec: Spec) -> Iterator[Spec]:
    room = 3 - sum(thing.count for thing in spec.things)
    for at, thing in enumerate(spec.things):
        counts = [count for count in range(1, thing.count + room + 1) if count != thing.count]
        yield from (_with(spec, at, replace(thing, count=count)) for count in counts)


_CHANGED: dict[str, Callable[[Spec], Iterator[Spec]]] = {
    **{"order": _order, "direction": _direction, "relation": _relation},
    **{"colour": _colour, "shape": _shape, "count": _count},
}


@cache
def split(name: str, count: int, twins: int = 1) -> tuple[Item, ...]:
    """The first `count` videos of a split. No description comes twice; in val and test no caption is true of any
    other video either.

    In train every spec is followed by up to `twins` twins of different kinds, each kind as often as any other. In val
    and test groups of two and lone videos alternate, so half of the videos have a twin.
    """
    dice = Dice(_STREAMS[name])
    exact = name != "train"
    taken = _Taken(exact)
    items: list[Item] = []
    group = 0
    while len(items) < count:
        lone = exact and group % 3
        wanted = [KINDS[(group // (3 if exact else 1) + more) % len(KINDS)] for more in range(0 if lone else twins)]
        specs = _group(dice, name, wanted)
        if taken.add_all(specs):
            items += (Item(spec, group, kind) for spec, kind in zip(specs, ["", *wanted], strict=True))
            group += 1
    return tuple(items[:count])


def _group(dice: Dice, name: str, wanted: Sequence[str]) -> list[Spec]:
    while True:
        spec = draw(dice)
        if split_of(spec) == name and all(_twins(spec, kind) for kind in wanted):
            return [spec, *(twin(spec, kind) for kind in wanted)]


class _Taken:
    """The specs so far; `exact` keeps out those whose captions are true of another's video, or the other way."""

    def __init__(self, exact: bool) -> None:
        self._exact = exact
        self._keys: set[str] = set()
        self._holding: defaultdict[Name, list[Spec]] = defaultdict(list)

    def add_all(self, specs: Sequence[Spec]) -> bool:
        """Take all or none."""
        keys = {key(spec) for spec in specs}
        if len(keys) < len(specs) or keys & self._keys or (self._exact and self._clashes(specs)):
            return False
        self._keys |= keys
        for spec in specs if self._exact else ():
            for thing in spec.things:
                self._holding[thing.name].append(spec)
        return True

    def _clashes(self, specs: Sequence[Spec]) -> bool:
        return any(
            describes(spec, other) or describes(other, spec)
            for spec in specs
            for thing in spec.things
            for other in self._holding[thing.name]
        )


@cache
def contrast_specs(kind: str, count: int) -> tuple[tuple[Spec, Spec], ...]:
    """`count` pairs of twins of one kind from the test split's descriptions.

    Decision: the order set holds passing events only, so both videos of a pair show the same pictures, at other
    times: a model that does not see order is at chance.
    """
    if kind not in KINDS:
        raise UsageError(f"no contrast is called {kind!r}; there are: {', '.join(KINDS)}")
    dice = Dice(_STREAMS["contrast"], KINDS.index(kind))
    taken = _Taken(exact=False)
    pairs: list[tuple[Spec, Spec]] = []
    while len(pairs) < count:
        one = draw(dice, PASSING if kind == "order" else ACTIONS)
        if split_of(one) == "test" and _twins(one, kind):
            other = twin(one, kind)
            if taken.add_all([one, other]):
                pairs.append((one, other))
    return tuple(pairs)
