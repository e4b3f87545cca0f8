"""Questions about a video, and their true answers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from .captions import NUMBERS, beside, definite, indefinite, noun, plural
from .dice import Dice
from .truth import deed, sentence
from .words import listed
from .world import COLOURS, OPPOSITE, SHAPES, Spec, facts, relations

QUESTION_KINDS = ("entities", "attributes", "counts", "actions", "relations", "order")


class Question(NamedTuple):
    """`kind` is one of QUESTION_KINDS."""

    text: str
    answer: str
    kind: str


def questions(spec: Spec) -> tuple[Question, ...]:
    """All questions that we know to ask, in the order of QUESTION_KINDS."""
    makers = (_entities, _attributes, _counts, _actions, _relations, _order)
    return tuple(
        Question(text, answer, kind)
        for kind, maker in zip(QUESTION_KINDS, makers, strict=True)
        for text, answer in maker(spec)
    )


_Answers = Iterator[tuple[str, str]]


def _entities(spec: Spec) -> _Answers:
    yield "What is in the video?", listed([indefinite(thing) for thing in spec.things])
    there = {(thing.colour, thing.shape) for thing in spec.things}
    dice = Dice(spec.seed, 2)
    absent = [(colour, shape) for colour in COLOURS for shape in SHAPES if (colour, shape) not in there]
    for (colour, shape), answer in ((dice.pick(sorted(there)), "yes"), (dice.pick(absent), "no")):
        yield f"Are there any {colour} {plural(shape)} in the video?", answer


def _attributes(spec: Spec) -> _Answers:
    for thing in spec.things:
        if sum(thing.shape == other.shape for other in spec.things) == 1:
            are = "is" if thing.count == 1 else "are"
            yield f"What colour {are} the {noun(thing, colour=False)}?", thing.colour
        if sum(thing.colour == other.colour for other in spec.things) == 1:
            yield f"What shape is {thing.colour}?", f"the {noun(thing, colour=False)}"


def _counts(spec: Spec) -> _Answers:
    yield "How many shapes are there altogether?", NUMBERS[sum(thing.count for thing in spec.things)]
    for thing in spec.things:
        yield f"How many {thing.colour} {plural(thing.shape)} are there?", NUMBERS[thing.count]


def _actions(spec: Spec) -> _Answers:
    for number, thing in enumerate(spec.things):
        does = "does" if thing.count == 1 else "do"
        own = [event for event in spec.events if event.actor == number]
        hunted = any(event.other == number for event in spec.events)
        if not own and not hunted:
            yield f"What {does} {definite(thing)} do?", "nothing"
        for place, event in enumerate([] if hunted else own):
            when = "" if len(own) == 1 else (" first", " second", " third")[place]
            yield f"What {does} {definite(thing)} do{when}?", deed(spec, event)
    for event in spec.events:
        doers = {fact[0] for other in spec.events for fact in facts(spec, other) if fact[1] == event.action}
        if doers == {event.actor}:
            yield f"What {deed(spec, event, singular=True)}?", definite(spec.things[event.actor])


def _relations(spec: Spec) -> _Answers:
    for one, other, relation in ((0, 1, spec.relation), (1, 0, OPPOSITE.get(spec.relation, ""))):
        if len(spec.things) == 1:
            return
        first, second = definite(spec.things[one]), definite(spec.things[other])
        are = "is" if spec.things[one].count == 1 else "are"
        yield f"Where {are} {first}, seen from {second}?", relation
        rivals = [number for number in range(len(spec.things)) if relation in relations(spec, number, other)]
        if len(rivals) == 1:
            yield f"What is {beside(relation)} {second}?", first


def _order(spec: Spec) -> _Answers:
    told = [sentence(spec, event) for event in spec.events]
    if len(told) < 2:
        return
    yield "What happens first?", told[0]
    yield "What happens last?", told[-1]
    for before, after in pairwise(told):
        yield f"What happens right after {before}?", after
        yield f"What happens right before {after}?", before
    turned = Dice(spec.seed, 3).chance(50)
    one, other = (told[1], told[0]) if turned else (told[0], told[1])
    yield f"Which comes first: {one}, or {other}?", told[0]
