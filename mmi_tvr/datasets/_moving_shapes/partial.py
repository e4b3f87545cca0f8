"""Queries that say a part of what is in a video, as people type them, and the videos that each of them is true of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ...types import PartialQuery
from . import chinese, truth
from .captions import captions, indefinite, noun
from .dice import Dice
from .moments import single_event
from .world import Spec, ThingName, describes

_STREAM = 4  # of the random numbers of a scene


def partial_queries(specs: Sequence[Spec], rounds: int = 1) -> dict[str, list[PartialQuery]]:
    """Return queries about parts of these videos, by kind, drawn so many times.

    `events` name all things of a video and one of its several events, in any of the words of captions; one a video,
    where that event is described by itself. `short` are two a video: a thing ("a red circle"), and an event without
    what is around it ("the red circle moves left"), in English or Chinese.
    """
    showing: defaultdict[ThingName, set[int]] = defaultdict(set)
    for number, spec in enumerate(specs):
        for thing in spec.things:
            showing[thing.name].add(number)
    queries: dict[str, list[PartialQuery]] = {"events": [], "short": []}
    for number, spec in enumerate(specs):
        dice = Dice(spec.seed, _STREAM)
        for kind, text, described in (written for _ in range(rounds) for written in _written(spec, dice)):
            candidates = sorted(set.intersection(*(showing[thing.name] for thing in described.things)))
            videos = tuple(other for other in candidates if describes(described, specs[other]))
            queries[kind].append(PartialQuery(text, number, videos))
    return queries


def _written(spec: Spec, dice: Dice) -> Iterator[tuple[str, str, Spec]]:
    """Yield kind and text of the queries about a scene, and the scene that each text describes."""
    event = dice.below(len(spec.events))
    alone = single_event(spec, event)
    others = replace(spec, events=spec.events[:event] + spec.events[event + 1 :])
    if others.events and not describes(alone, others):
        yield "events", dice.pick(captions(alone)), alone
    thing = dice.pick(spec.things)
    without_event = replace(spec, things=(thing,), relation="", relation_stated=False, events=(), starts=())
    bare = noun(thing) if thing.count == 1 else indefinite(thing)
    yield "short", dice.pick([indefinite(thing), bare, chinese.name(thing, True)]), without_event
    bare_event = without_surroundings(alone)
    sentence = truth.sentence(bare_event, bare_event.events[0])
    yield "short", dice.pick([sentence, *captions(bare_event)[::2]]), bare_event


def without_surroundings(spec: Spec) -> Spec:
    """Return a scene of one event with nothing but the things that take part in it."""
    [event] = spec.events
    numbers = [number for number in range(len(spec.things)) if number in (event.actor, event.other)]
    acted = replace(
        event,
        actor=numbers.index(event.actor),
        other=numbers.index(event.other) if event.other >= 0 else -1,
    )
    things = tuple(spec.things[number] for number in numbers)
    relation = spec.relation if len(things) > 1 else ""
    return replace(spec, things=things, relation=relation, relation_stated=False, events=(acted,))
