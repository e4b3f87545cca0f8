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
from typing import Literal, NamedTuple, get_args

from ...errors import UsageError
from .dice import Dice
from .tail import LongTail, long_tail
from .world import (
    ACTIONS,
    COLOURS,
    MOVES,
    OPPOSITE,
    PASSING,
    SHAPES,
    Event,
    Spec,
    Thing,
    ThingName,
    consistent,
    describes,
    key,
    split_of,
)

VERSION = 1  # of the generator: other specs or captions need another number
Contrast = Literal["order", "direction", "relation", "colour", "shape", "count", "role", "order3"]
CONTRASTS: tuple[Contrast, ...] = ("order", "direction", "relation", "colour", "shape", "count")  # of a split's twins
CONTRAST_SETS: tuple[Contrast, ...] = get_args(Contrast)
SIZES = {"train": 24_000, "val": 1_000, "test": 1_000}
TEXTURES = ("plain", "gradient", "stripes", "checks", "dots", "waves", "clouds")
_STREAMS = {"train": 1, "val": 2, "test": 3, "contrast": 4}
_COUNTS = ((1,),) * 10 + ((2,),) * 7 + ((3,),) * 7 + ((1, 1),) * 42 + ((2, 1),) * 8 + ((1, 2),) * 8 + ((1, 1, 1),) * 18
_EVENTS = (1,) * 15 + (2,) * 55 + (3,) * 30
_STATED = 65  # percent of the scenes with a relation
_STEP = 100  # ms; starts and lengths are multiples, so that a passing event shows the same pictures wherever it stands
_STILL = 8  # steps of stillness before, between and after events, at least
_TRIES = 20
_UNIFORM = LongTail()


class Item(NamedTuple):
    """One video of a split; twins share their `group`, and `contrast` says in what it differs from the group's first
    ("" for the first itself)."""

    spec: Spec
    group: int
    contrast: str = ""


def draw(dice: Dice, actions: Sequence[str] = ACTIONS, tail: LongTail = _UNIFORM) -> Spec:
    """Draw any consistent spec whose events are among `actions`; `tail` says what is common."""
    while True:
        things = tuple(_thing(dice, count, tail) for count in dice.pick(_COUNTS))
        relation = dice.pick(("left", "right", "above", "below")) if len(things) > 1 else ""
        relation_stated = dice.chance(_STATED) and bool(relation)
        count = dice.pick(_EVENTS)
        length = dice.between(12, 18) * _STEP
        starts, duration = _timing(dice, count, length)
        tint = (dice.between(-20, 20), dice.between(-20, 20), dice.between(-20, 20))
        looks = (dice.below(4), dice.pick(TEXTURES), tint, dice.next() >> 1)
        for _ in range(_TRIES):
            events = tuple(_event(dice, len(things), actions, tail) for _ in range(count))
            spec = Spec(things, relation, relation_stated, events, starts, length, duration, *looks)
            if consistent(spec):
                return spec


def _thing(dice: Dice, count: int, tail: LongTail) -> Thing:
    looks = tail.pick(dice, COLOURS), tail.pick(dice, SHAPES)
    return Thing(*looks, count, dice.below(1001), dice.below(1001), dice.below(1001))


def _event(dice: Dice, things: int, actions: Sequence[str], tail: LongTail) -> Event:
    actor, action = dice.below(things), tail.pick(dice, actions)
    if action != "chases" or things == 1:
        return Event(actor, action if action != "chases" else tail.pick(dice, MOVES))
    return Event(actor & 1, action, 1 - (actor & 1))  # only the two whose relation is known chase each other


def _timing(dice: Dice, count: int, length: int) -> tuple[tuple[int, ...], int]:
    """Draw the starts of the events and the length of the whole, ms: 6 to 10 seconds, the slack spread at random."""
    busy = count * (length // _STEP) + (count + 1) * _STILL
    duration = max(busy, dice.between(60, 90 if count < 3 else 100))
    cuts = sorted(dice.between(0, duration - busy) for _ in range(count))
    starts = (cut + (position + 1) * _STILL + position * (length // _STEP) for position, cut in enumerate(cuts))
    return tuple(start * _STEP for start in starts), duration * _STEP


def twin_contrasts(spec: Spec) -> tuple[str, ...]:
    """Return the contrasts by which a spec has a twin within its split."""
    return tuple(contrast for contrast in CONTRAST_SETS if _twins(spec, contrast))


def twin(spec: Spec, contrast: str, number: int = 0, tail: LongTail = _UNIFORM) -> Spec:
    """Return the same scene with one thing changed, of the same split; `number` chooses among several, and `tail` says
    what is common among them.

    Their captions are never true of each other's videos. Raises UsageError where there is none: `twin_contrasts` says
    which there are.
    """
    twins = _twins(spec, contrast)
    if not twins:
        raise UsageError(f"this video has no twin by {contrast}; it has: {', '.join(twin_contrasts(spec)) or 'none'}")
    dice = Dice(spec.seed, CONTRAST_SETS.index(contrast))
    return twins[(tail.place(dice, twins) + number) % len(twins)]


def _twins(spec: Spec, contrast: str) -> list[Spec]:
    if contrast not in _VARIANTS:
        raise UsageError(f"no kind of twin is called {contrast!r}; there are: {', '.join(CONTRAST_SETS)}")
    split_name = split_of(spec)
    return [
        variant
        for variant in _VARIANTS[contrast](spec)
        if consistent(variant)
        and split_of(variant) == split_name
        and not describes(variant, spec)
        and not describes(spec, variant)
    ]


def _order(spec: Spec) -> Iterator[Spec]:
    events = spec.events
    for first in range(len(events) - 1):
        swapped = (*events[:first], events[first + 1], events[first], *events[first + 2 :])
        yield replace(spec, events=swapped)


def _order3(spec: Spec) -> Iterator[Spec]:
    """Two of three events change places, the first and the last, too."""
    if len(spec.events) == 3:
        first, second, third = spec.events
        for events in ((second, first, third), (first, third, second), (third, second, first)):
            yield replace(spec, events=events)


def _direction(spec: Spec) -> Iterator[Spec]:
    for position, event in enumerate(spec.events):
        if event.action in MOVES:
            opposite = replace(event, action=OPPOSITE[event.action])
            yield replace(spec, events=(*spec.events[:position], opposite, *spec.events[position + 1 :]))


def _relation(spec: Spec) -> Iterator[Spec]:
    if spec.relation_stated and all(event.action != "chases" for event in spec.events):  # a chase would turn round too
        yield replace(spec, relation=OPPOSITE[spec.relation])


def _with(spec: Spec, number: int, thing: Thing) -> Spec:
    return replace(spec, things=(*spec.things[:number], thing, *spec.things[number + 1 :]))


def _colour(spec: Spec) -> Iterator[Spec]:
    for number, thing in enumerate(spec.things):
        yield from (_with(spec, number, replace(thing, colour=colour)) for colour in COLOURS if colour != thing.colour)


def _shape(spec: Spec) -> Iterator[Spec]:
    for number, thing in enumerate(spec.things):
        yield from (_with(spec, number, replace(thing, shape=shape)) for shape in SHAPES if shape != thing.shape)


def _count(spec: Spec) -> Iterator[Spec]:
    room = 3 - sum(thing.count for thing in spec.things)
    for number, thing in enumerate(spec.things):
        counts = [count for count in range(1, thing.count + room + 1) if count != thing.count]
        yield from (_with(spec, number, replace(thing, count=count)) for count in counts)


def _role(spec: Spec) -> Iterator[Spec]:
    """Who chases whom, the same way. The two change places for it, so no caption may say how they stand."""
    for position, event in enumerate(spec.events):
        if event.action == "chases" and not spec.relation_stated:
            events = (*spec.events[:position], Event(event.other, "chases", event.actor), *spec.events[position + 1 :])
            yield replace(spec, relation=OPPOSITE[spec.relation], events=events)


_VARIANTS: dict[str, Callable[[Spec], Iterator[Spec]]] = {
    "order": _order,
    "direction": _direction,
    "relation": _relation,
    "colour": _colour,
    "shape": _shape,
    "count": _count,
    "role": _role,
    "order3": _order3,
}


@cache
def split(
    name: str,
    count: int,
    twins: int = 1,
    kinds: tuple[Contrast, ...] = CONTRASTS,
    skew: float = 0.0,
    seed: int = 0,
) -> tuple[Item, ...]:
    """Return the first `count` videos of a split; another `seed` draws others of the same split.

    No description comes twice; in val and test no caption is true of any other video either.

    In train every spec is followed by up to `twins` twins of different `kinds`, each kind as often as any other, and
    colours, shapes and actions have the long tail of `skew` (twins too). In val and test groups of two and lone videos
    alternate, so half of the videos have a twin.
    """
    dice = Dice(_STREAMS[name], *([seed] if seed else []))
    exact = name != "train"
    used = _UsedSpecs(exact)
    items: list[Item] = []
    group = 0
    while len(items) < count:
        alone = exact and group % 3 != 0
        first = group // 3 if exact else group  # of the contrasts, in turn
        contrasts = [kinds[(first + more) % len(kinds)] for more in range(0 if alone else twins)]
        specs = _group(dice, name, contrasts, long_tail(skew))
        if used.add_all(specs):
            items += (Item(spec, group, contrast) for spec, contrast in zip(specs, ["", *contrasts], strict=True))
            group += 1
    return tuple(items[:count])


def _group(dice: Dice, name: str, contrasts: Sequence[str], tail: LongTail) -> list[Spec]:
    """Draw a spec of this split that has a twin by each of the contrasts; returns it and them."""
    while True:
        spec = draw(dice, tail=tail)
        if split_of(spec) == name and all(_twins(spec, contrast) for contrast in contrasts):
            return [spec, *(twin(spec, contrast, tail=tail) for contrast in contrasts)]


class _UsedSpecs:
    """The specs so far; `exact` keeps out those whose captions are true of another's video, or the other way."""

    def __init__(self, exact: bool) -> None:
        self._exact = exact
        self._keys: set[str] = set()
        self._holding: defaultdict[ThingName, list[Spec]] = defaultdict(list)

    def add_all(self, specs: Sequence[Spec]) -> bool:
        """Add all or none of them; returns whether they were added."""
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
def contrast_specs(contrast: str, count: int) -> tuple[tuple[Spec, Spec], ...]:
    """Return `count` pairs of twins by one contrast, of the test split's descriptions.

    Decision: the sets of order hold passing events only, so both videos of a pair show the same pictures, at other
    times: a model that does not see order is at chance. In `order3` all have three events. The role set holds chases
    and passing events, and says of none of its scenes how things stand.
    """
    if contrast not in CONTRAST_SETS:
        raise UsageError(f"no contrast is called {contrast!r}; there are: {', '.join(CONTRAST_SETS)}")
    dice = Dice(_STREAMS["contrast"], CONTRAST_SETS.index(contrast))
    used = _UsedSpecs(exact=False)
    pairs: list[tuple[Spec, Spec]] = []
    while len(pairs) < count:
        spec = _candidate(dice, contrast)
        if split_of(spec) == "test" and _twins(spec, contrast):
            pair = spec, twin(spec, contrast)
            if used.add_all(pair):
                pairs.append(pair)
    return tuple(pairs)


def _candidate(dice: Dice, contrast: str) -> Spec:
    if contrast == "role":
        return replace(draw(dice, (*["chases"] * 4, *PASSING)), relation_stated=False)
    return draw(dice, PASSING if contrast in ("order", "order3") else ACTIONS)
