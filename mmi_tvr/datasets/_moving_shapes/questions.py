"""Questions about a video, and their true answers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from .captions import NUMBERS, definite, indefinite, noun, plural, relation_words
from .dice import Dice
from .truth import predicate, sentence
from .words import listed
from .world import COLOURS, OPPOSITE, SHAPES, Spec, facts, relations

QUESTION_KINDS = ("entities", "attributes", "counts", "actions", "relations", "order")


class SceneQuestion(NamedTuple):
    """A question, its true answer, and what it asks for: `kind` is one of QUESTION_KINDS."""

    text: str
    answer: str
    kind: str


def questions(spec: Spec) -> tuple[SceneQuestion, ...]:
    """Return all questions with a true answer, in the order of QUESTION_KINDS."""
    makers = (_entities, _attributes, _counts, _actions, _relations, _order)
    return tuple(
        SceneQuestion(text, answer, kind)
        for kind, maker in zip(QUESTION_KINDS, makers, strict=True)
        for text, answer in maker(spec)
    )


_Answers = Iterator[tuple[str, str]]


def _entities(spec: Spec) -> _Answers:
    yield "What is in the video?", listed([indefinite(thing) for thing in spec.things])
    present = {(thing.colour, thing.shape) for thing in spec.things}
    dice = Dice(spec.seed, 2)
    absent = [(colour, shape) for colour in COLOURS for shape in SHAPES if (colour, shape) not in present]
    for (colour, shape), answer in ((dice.pick(sorted(present)), "yes"), (dice.pick(absent), "no")):
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
        events = [event for event in spec.events if event.actor == number]
        chased = any(event.other == number for event in spec.events)
        if not events and not chased:
            yield f"What {does} {definite(thing)} do?", "nothing"
        for position, event in enumerate([] if chased else events):
            when = "" if len(events) == 1 else (" first", " second", " third")[position]
            yield f"What {does} {definite(thing)} do{when}?", predicate(spec, event)
    for event in spec.events:
        actors = {fact[0] for other in spec.events for fact in facts(spec, other) if fact[1] == event.action}
        if actors == {event.actor}:
            yield f"What {predicate(spec, event, singular=True)}?", definite(spec.things[event.actor])


def _relations(spec: Spec) -> _Answers:
    if len(spec.things) == 1:
        return
    for number, reference, relation in ((0, 1, spec.relation), (1, 0, OPPOSITE[spec.relation])):
        first, second = definite(spec.things[number]), definite(spec.things[reference])
        are = "is" if spec.things[number].count == 1 else "are"
        yield f"Where {are} {first}, seen from {second}?", relation
        on_that_side = [n for n in range(len(spec.things)) if relation in relations(spec, n, reference)]
        if len(on_that_side) == 1:
            yield f"What is {relation_words(relation)} {second}?", first


def _order(spec: Spec) -> _Answers:
    sentences = [sentence(spec, event) for event in spec.events]
    if len(sentences) < 2:
        return
    yield "What happens first?", sentences[0]
    yield "What happens last?", sentences[-1]
    for before, after in pairwise(sentences):
        yield f"What happens right after {before}?", after
        yield f"What happens right before {after}?", before
    choices = sentences[:2]
    if Dice(spec.seed, 3).chance(50):
        choices.reverse()
    yield f"Which comes first: {choices[0]}, or {choices[1]}?", sentences[0]
