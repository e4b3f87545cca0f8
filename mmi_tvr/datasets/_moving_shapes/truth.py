"""True answers to general questions, as a person would ask them of any video: those of the question pools.

What no caption and no picture of this world tells (moods, people, places) is `unknown`. Decision: things are named in
alphabetical order, so that a text and its video have the same answer; a relation is told of the thing that comes first
there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Literal

from .captions import NUMBERS, definite, direction, indefinite, noun, relation_words, verb
from .words import listed
from .world import LASTING, MOVES, Event, Spec, Thing, grid_cells

UNKNOWN, NONE = "unknown", "none"
Truth = Callable[[Spec, bool], str]  # of a spec, and whether a caption is all that is known of it


def sentence(spec: Spec, event: Event) -> str:
    """Return an event as a sentence: the red ring moves left."""
    return f"{definite(spec.things[event.actor])} {predicate(spec, event)}"


def predicate(spec: Spec, event: Event, singular: bool = False) -> str:
    """Return what an event's actor does: moves left."""
    words = verb(event.action, plural=spec.things[event.actor].count > 1 and not singular)
    if event.other < 0:
        return words
    return words.format(other=definite(spec.things[event.other]), way=direction(spec, event))


def entities(spec: Spec, caption_only: bool) -> str:
    return listed([indefinite(thing) for thing in _sorted(spec)])


def colours(spec: Spec, caption_only: bool) -> str:
    return listed([*dict.fromkeys(sorted(thing.colour for thing in spec.things))])


def shapes(spec: Spec, caption_only: bool) -> str:
    return listed([*dict.fromkeys(sorted(thing.shape for thing in spec.things))])


def total(spec: Spec, caption_only: bool) -> str:
    return _number(sum(thing.count for thing in spec.things))


def kinds(spec: Spec, caption_only: bool) -> str:
    return _number(len(spec.things))


def counts(spec: Spec, caption_only: bool) -> str:
    return listed([f"{NUMBERS[thing.count]} {noun(thing)}" for thing in _sorted(spec)])


def several(spec: Spec, caption_only: bool) -> str:
    """Return the rows of equal things."""
    return _names(thing for thing in spec.things if thing.count > 1)


def predicates(spec: Spec, caption_only: bool) -> str:
    return listed([*dict.fromkeys(predicate(spec, event, singular=True) for event in spec.events)])


def number_of_events(spec: Spec, caption_only: bool) -> str:
    return _number(len(spec.events))


def first(spec: Spec, caption_only: bool) -> str:
    return sentence(spec, spec.events[0])


def last(spec: Spec, caption_only: bool) -> str:
    return sentence(spec, spec.events[-1])


def second(spec: Spec, caption_only: bool) -> str:
    return sentence(spec, spec.events[1]) if len(spec.events) > 1 else NONE


def order(spec: Spec, caption_only: bool) -> str:
    return ", then ".join(sentence(spec, event) for event in spec.events)


def first_actor(spec: Spec, caption_only: bool) -> str:
    return definite(spec.things[spec.events[0].actor])


def others(spec: Spec, caption_only: bool) -> str:
    """Return what there is besides the thing that acts first."""
    main = spec.events[0].actor
    return _names(thing for number, thing in enumerate(spec.things) if number != main)


def described(spec: Spec, caption_only: bool) -> str:
    """Return the thing that acts first."""
    return indefinite(spec.things[spec.events[0].actor])


def main_predicates(spec: Spec, caption_only: bool) -> str:
    """Return all that the thing does that acts first."""
    main = spec.events[0].actor
    return listed([predicate(spec, event) for event in spec.events if event.actor == main])


def texture(spec: Spec, caption_only: bool) -> str:
    """Return the texture of the background, which no caption mentions."""
    return UNKNOWN if caption_only else spec.texture


def still(spec: Spec, caption_only: bool) -> str:
    busy = {number for event in spec.events for number in (event.actor, event.other)}
    return _names(thing for number, thing in enumerate(spec.things) if number not in busy)


def resizing(spec: Spec, caption_only: bool) -> str:
    return _doing(spec, lambda event: event.action in ("grows", "shrinks", "swells"))


def moving(spec: Spec, caption_only: bool) -> str:
    """Return which thing goes where, chases included."""
    return _sentences(spec, (*MOVES, "chases"))


def mover_colours(spec: Spec, caption_only: bool) -> str:
    movers = {spec.things[event.actor].colour for event in spec.events if event.action in (*MOVES, "chases")}
    return listed(sorted(movers)) if movers else NONE


def lasting(spec: Spec, caption_only: bool) -> str:
    """Return what is different at the end."""
    return _sentences(spec, LASTING)


def turning(spec: Spec, caption_only: bool) -> str:
    return _doing(spec, lambda event: event.action == "spins")


def bouncing(spec: Spec, caption_only: bool) -> str:
    return _doing(spec, lambda event: event.action == "bounces")


def recolouring(spec: Spec, caption_only: bool) -> str:
    return _doing(spec, lambda event: event.action == "flashes")


def appearing(spec: Spec, caption_only: bool) -> str:
    return _doing(spec, lambda event: event.action == "appears")


def vanishing(spec: Spec, caption_only: bool) -> str:
    return _doing(spec, lambda event: event.action in ("hides", "blinks"))


def blinking(spec: Spec, caption_only: bool) -> str:
    """Return what flashes, or is gone for a moment."""
    return _doing(spec, lambda event: event.action in ("flashes", "blinks"))


def chase(spec: Spec, caption_only: bool) -> str:
    return _sentences(spec, ("chases",))


def relation(spec: Spec, caption_only: bool) -> str:
    """Return where things of one row or column stand; of a caption, what it says."""
    return _related(spec, caption_only, ("left", "right", "above", "below"))


def across(spec: Spec, caption_only: bool) -> str:
    return _related(spec, caption_only, ("left", "right"))


def upright(spec: Spec, caption_only: bool) -> str:
    return _related(spec, caption_only, ("above", "below"))


def unknown(spec: Spec, caption_only: bool) -> str:
    return UNKNOWN


def _related(spec: Spec, caption_only: bool, sides: Sequence[str]) -> str:
    clauses = [
        f"{definite(thing)} {'is' if thing.count == 1 else 'are'} {relation_words(side)} {definite(reference)}"
        for thing, side, reference in _sides(spec, caption_only)
        if side in sides
    ]
    if clauses:
        return listed(clauses)
    return UNKNOWN if caption_only else NONE


def _sides(spec: Spec, caption_only: bool) -> Iterator[tuple[Thing, str, Thing]]:
    """Yield a thing, its side and the thing from which it is seen, for every two of one row or column."""
    if len(spec.things) == 1 or (caption_only and not spec.relation_stated):
        return
    cells = grid_cells(spec)
    numbers = sorted(range(2 if caption_only else len(cells)), key=lambda number: spec.things[number].name)
    for first, second in combinations(numbers, 2):
        (column, row), (reference_column, reference_row) = cells[first], cells[second]
        if row == reference_row:
            side = "left" if column < reference_column else "right"
        elif column == reference_column:
            side = "above" if row < reference_row else "below"
        else:
            continue
        yield spec.things[first], side, spec.things[second]


def _sentences(spec: Spec, actions: Sequence[str]) -> str:
    sentences = [sentence(spec, event) for event in spec.events if event.action in actions]
    return listed(sentences) if sentences else NONE


def _doing(spec: Spec, which: Callable[[Event], bool]) -> str:
    return _names(spec.things[event.actor] for event in spec.events if which(event))


def _names(things: Iterable[Thing]) -> str:
    distinct = sorted({thing.name: thing for thing in things}.values(), key=lambda thing: thing.name)
    return listed([definite(thing) for thing in distinct]) if distinct else NONE


def _sorted(spec: Spec) -> Sequence[Thing]:
    return sorted(spec.things, key=lambda thing: thing.name)


def _number(number: int) -> str:
    return NUMBERS[number] if number < len(NUMBERS) else str(number)


# The questions of prompts/text.yaml and prompts/video.yaml that have a true answer here, by their words: one in
# other words is another question. All others are unknown.
_TRUTHS: Mapping[str, Mapping[str, Truth]] = {
    "text": {
        "What key concepts are mentioned in this text?": entities,
        "Which events are occurring, and which entities are involved?": order,
        "Who or what is the text mainly about?": first_actor,
        "Which things are mentioned besides the main one?": others,
        "Which colours are mentioned?": colours,
        "Which thing has which colour?": entities,
        "What shape do the things in the text have?": shapes,
        "How is the main subject described, in a few words?": described,
        "How many different things are mentioned?": kinds,
        "How many of each kind of thing are there?": counts,
        "Of which thing is there more than one?": several,
        "How many separate events does the text describe?": number_of_events,
        "What does the main subject do?": main_predicates,
        "What does each of the things mentioned do?": order,
        "Which verbs say what happens?": predicates,
        "Does anything move, and in which direction?": moving,
        "What turns, spins or rolls?": turning,
        "What bounces, jumps or hops?": bouncing,
        "What is mentioned but does nothing at all?": still,
        "Where are the things in relation to each other?": relation,
        "What is on the left, and what is on the right?": across,
        "What is above or below something else?": upright,
        "What happens first?": first,
        "What happens last?": last,
        "In which order do the events take place?": order,
        "What comes directly after the first event?": second,
        "What gets bigger or smaller?": resizing,
        "What comes into view?": appearing,
        "What goes out of sight or is hidden?": vanishing,
        "What is different at the end from what it was at the beginning?": lasting,
        "Does anything change its colour or brightness, even for a moment?": recolouring,
        "Who or what follows or chases whom?": chase,
    },
    "video": {
        "What are the important entities in this video?": entities,
        "What are the relationships of these entities in this video?": relation,
        "What is the main thing to look at in this video?": first_actor,
        "Which other things can be seen, apart from the main one?": others,
        "What colours do the things in this video have?": colours,
        "What colour is the thing that moves the most?": mover_colours,
        "Which shapes can be seen?": shapes,
        "Describe the appearance of the main thing in a few words.": described,
        "What does the background look like?": texture,
        "How many things can be seen altogether?": total,
        "How many are there of each kind?": counts,
        "Are there several things that look the same, and which?": several,
        "How many separate things happen, one after another?": number_of_events,
        "What is the main action in this video?": first,
        "What does each thing or person do?": order,
        "Which things move, and in which direction does each go?": moving,
        "What spins around or turns over?": turning,
        "What goes up and down, hops or bounces?": bouncing,
        "What stays in its place the whole time?": still,
        "Which thing is to the left of which?": across,
        "Which thing is above or below another?": upright,
        "What is the first thing that happens?": first,
        "What is the last thing that happens?": last,
        "What happens step by step, from beginning to end?": order,
        "Which thing acts before the others do?": first_actor,
        "What follows right after the first action?": second,
        "Which thing grows or shrinks?": resizing,
        "What appears that was not there at the start?": appearing,
        "What disappears, or is hidden for a while?": vanishing,
        "How does the last picture differ from the first?": lasting,
        "Does anything flash, blink or change colour?": blinking,
        "Does one thing go after another, and which one is it?": chase,
    },
}


def truth(question: str, about: Literal["text", "video"]) -> Truth:
    """Return the true answer to a question of a pool: a function of a spec, and of whether only a caption is known."""
    return _TRUTHS[about].get(question, unknown)


def answerable(about: Literal["text", "video"]) -> tuple[str, ...]:
    """Return the pool's questions whose answer is not always `unknown`."""
    return tuple(_TRUTHS[about])
