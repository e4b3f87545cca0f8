"""What happens in a video, in English: paraphrases that all say the whole of it, and nothing but the truth.

Every caption names all things with their number, the relation where it is told, and all events in their order. What
varies is the syntax (order of mention, subordinate clauses, pronouns, progressive forms) and the words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import chinese
from .dice import Dice
from .words import listed, table
from .world import OPPOSITE, Event, Spec, Thing, chase_direction

ENGLISH, CHINESE = 15, 5
CAPTIONS = ENGLISH + CHINESE
NUMBERS = ("no", "one", "two", "three")
_TRIES = 400

# singular | plural | -ing; {other} and {way} are filled in
_VERBS = table("""
left: moves left|move left|moving left
left: moves to the left|move to the left|moving to the left
left: slides to the left|slide to the left|sliding to the left
left: goes left|go left|going left
right: moves right|move right|moving right
right: moves to the right|move to the right|moving to the right
right: slides to the right|slide to the right|sliding to the right
right: goes right|go right|going right
up: moves up|move up|moving up
up: rises|rise|rising
up: goes up|go up|going up
up: slides upwards|slide upwards|sliding upwards
down: moves down|move down|moving down
down: sinks|sink|sinking
down: goes down|go down|going down
down: slides downwards|slide downwards|sliding downwards
grows: grows|grow|growing
grows: gets bigger|get bigger|getting bigger
grows: becomes larger|become larger|becoming larger
grows: expands|expand|expanding
shrinks: shrinks|shrink|shrinking
shrinks: gets smaller|get smaller|getting smaller
shrinks: becomes smaller|become smaller|becoming smaller
shrinks: contracts|contract|contracting
spins: spins|spin|spinning
spins: spins around|spin around|spinning around
spins: turns around once|turn around once|turning around once
spins: rotates|rotate|rotating
bounces: bounces|bounce|bouncing
bounces: hops up and down|hop up and down|hopping up and down
bounces: jumps up and down|jump up and down|jumping up and down
bounces: bounces up and down|bounce up and down|bouncing up and down
swells: swells and shrinks back|swell and shrink back|swelling and shrinking back
swells: gets bigger for a moment|get bigger for a moment|getting bigger for a moment
swells: swells briefly|swell briefly|swelling briefly
swells: grows and shrinks again|grow and shrink again|growing and shrinking again
blinks: vanishes for a moment|vanish for a moment|vanishing for a moment
blinks: disappears and comes back|disappear and come back|disappearing and coming back
blinks: disappears briefly|disappear briefly|disappearing briefly
blinks: vanishes and reappears|vanish and reappear|vanishing and reappearing
flashes: flashes white|flash white|flashing white
flashes: turns white for a moment|turn white for a moment|turning white for a moment
flashes: briefly turns white|briefly turn white|briefly turning white
flashes: lights up white|light up white|lighting up white
appears: appears|appear|appearing
appears: comes into view|come into view|coming into view
appears: shows up|show up|showing up
appears: pops up|pop up|popping up
hides: disappears|disappear|disappearing
hides: vanishes|vanish|vanishing
hides: goes away|go away|going away
hides: disappears for good|disappear for good|disappearing for good
chases: chases {other} {way}|chase {other} {way}|chasing {other} {way}
chases: follows {other} {way}|follow {other} {way}|following {other} {way}
chases: runs after {other} {way}|run after {other} {way}|running after {other} {way}
chases: pursues {other} {way}|pursue {other} {way}|pursuing {other} {way}
""")
_WAYS = {"left": "to the left", "right": "to the right", "up": "upwards", "down": "downwards"}
_RELATION_WORDS = {
    "left": ("to the left of", "left of", "on the left of"),
    "right": ("to the right of", "right of", "on the right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
}
_SEEN_FROM = {
    "left": "{b} with {a} to the left of {it}",
    "right": "{b} with {a} to the right of {it}",
    "above": "{b} with {a} above {it}",
    "below": "{b} with {a} below {it}",
}
# By the number of events. A clause is worded when its place is reached, so pronouns follow the order of mention.
_JOINED = {
    1: ("{0}",),
    2: (
        *("first {0}, then {1}", "{0}, then {1}", "{0}, and then {1}", "{0}, and after that {1}"),
        *("{0} before {1}", "after {0}, {1}", "{1} after {0}", "{0}; later, {1}", "first {0}, and later {1}"),
    ),
    3: (
        *("first {0}, then {1}, and finally {2}", "{0}, then {1}, and then {2}", "{0}; next, {1}; at the end, {2}"),
        *("{0}; after that, {1}, and finally {2}", "after {0}, {1}, and then {2}", "{0} before {1}, and finally {2}"),
        *("first {0}, then {1}, then {2}", "{0}, then {1}, and at the end {2}"),
    ),
}
# {s} mentions the scene, {e} tells the events; a capital letter starts a sentence.
_SCENE_FIRST = ("There {is} {s}. {E}.", "We see {s}. {E}.", "The video shows {s}. {E}.", "{S}; {e}.", "{S}: {e}.")
_EVENTS_FIRST = ("{E}.", "{E}.", "In this video, {e}.", "In this clip, {e}.")


def captions(spec: Spec) -> tuple[str, ...]:
    """Return twenty different captions: 15 English ones, then 5 Chinese."""
    dice = Dice(spec.seed, 1)
    english = distinct_texts(lambda: _CaptionWriter(spec, dice).caption(), ENGLISH)
    return (*english, *distinct_texts(lambda: chinese.caption(spec, dice), CHINESE))


def relation_sentences(spec: Spec) -> tuple[str, ...]:
    """Return the relation of the first two things in every wording, and nothing else: English, then Chinese."""
    if not spec.relation:
        return ()
    first, second = spec.things[:2]
    sides = (first, second, spec.relation), (second, first, OPPOSITE[spec.relation])
    english = [
        text
        for thing, reference, relation in sides
        for words in _RELATION_WORDS[relation]
        for text in (
            f"{indefinite(thing)} {words} {indefinite(reference)}",
            f"{definite(thing)} {'is' if thing.count == 1 else 'are'} {words} {definite(reference)}",
        )
    ]
    return (*english, *(text for side in sides for text in chinese.relation_sentences(*side)))


def distinct_texts(make: Callable[[], str], count: int) -> tuple[str, ...]:
    """Return the first `count` different texts that `make` comes up with."""
    texts: dict[str, None] = {}  # a dict keeps the order and drops repetitions
    for _ in range(_TRIES):
        texts[make()] = None
        if len(texts) == count:
            return tuple(texts)
    raise AssertionError(f"only {len(texts)} of {count} different captions: {list(texts)}")


def indefinite(thing: Thing) -> str:
    """Return a thing that is new to the reader: a red ring; an orange ring; two red rings."""
    if thing.count == 1:
        return f"{'an' if thing.colour[0] in 'aeiou' else 'a'} {noun(thing)}"
    return f"{NUMBERS[thing.count]} {noun(thing)}"


def definite(thing: Thing) -> str:
    """Return a thing that the reader knows: the red ring; the two red rings."""
    return f"the {noun(thing)}" if thing.count == 1 else f"the {NUMBERS[thing.count]} {noun(thing)}"


def noun(thing: Thing, colour: bool = True) -> str:
    """Return a thing without an article: red ring; red rings; rings."""
    shape = plural(thing.shape) if thing.count > 1 else thing.shape
    return f"{thing.colour} {shape}" if colour else shape


def plural(shape: str) -> str:
    """Return the plural of a shape: crosses."""
    return shape + ("es" if shape.endswith("s") else "s")


def verb(action: str, plural: bool) -> str:
    """Return an action in plain words: moves left; move left."""
    return _VERBS[action][0][plural]


def verbs(action: str, plural: bool) -> list[str]:
    """Return an action in all its words, the plain ones first; of a chase with blanks for `other` and `way`."""
    return [forms[plural] for forms in _VERBS[action]]


def relation_words(relation: str) -> str:
    """Return a relation in plain words: to the left of."""
    return _RELATION_WORDS[relation][0]


def direction(spec: Spec, event: Event) -> str:
    """Return where a chase goes: to the left; upwards."""
    return _WAYS[chase_direction(spec, event)]


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


class _CaptionWriter:
    """Writes one caption: it remembers what has been mentioned, and what was spoken of last."""

    def __init__(self, spec: Spec, dice: Dice) -> None:
        self._spec, self._dice = spec, dice
        self._mentioned: set[int] = set()
        self._antecedent = -1  # number of the only thing that "it" can mean
        self._introduce_with_a = dice.chance(50)  # else with "the"

    def caption(self) -> str:
        idle = self._idle()
        if self._dice.chance(55) or (len(self._spec.things) == 1 and self._dice.chance(30)):
            frame = self._dice.pick(_SCENE_FIRST[:3] if len(self._spec.things) == 1 else _SCENE_FIRST)
            scene, number = self._scene()
            text = self._filled(frame, s=scene, e=self._events(), number=number)
        elif self._spec.relation_stated and self._dice.chance(40):
            relation = self._relation_sentence(idle)
            text = self._filled("{S}. {E}.", s=relation, e=self._events())
        else:
            events = self._events()
            rest = [self._relation()] if self._spec.relation_stated else []
            rest += [self._stays_still(number) for number in idle]
            mark = "; " if self._spec.relation_stated else ", while "
            text = self._filled(self._dice.pick(_EVENTS_FIRST), e=events + (mark + " and ".join(rest) if rest else ""))
        return text[0].lower() + text[1:-1] if ". " not in text and self._dice.chance(50) else text

    def _filled(self, frame: str, s: str = "", e: str = "", number: int = 1) -> str:
        return frame.format(s=s, S=capital(s), e=e, E=capital(e), **{"is": "is" if number == 1 else "are"})

    def _scene(self) -> tuple[str, int]:
        """Introduce all things; returns the text and the number that "there is" must agree with."""
        things = self._spec.things
        self._mentioned.update(range(len(things)))
        self._antecedent = 0 if len(things) == 1 else -1
        if not self._spec.relation_stated:
            start = self._dice.below(len(things))
            rotated = [*things[start:], *things[:start]]
            return listed([indefinite(thing) for thing in rotated]), rotated[0].count
        first, second = things[:2]
        more = "".join(f", and {indefinite(thing)}" for thing in things[2:])
        if self._dice.chance(25):
            pattern = _SEEN_FROM[self._spec.relation]
            it = "it" if second.count == 1 else "them"
            return pattern.format(a=indefinite(first), b=indefinite(second), it=it) + more, second.count
        relation = self._spec.relation
        if self._dice.chance(50):
            first, second, relation = second, first, OPPOSITE[relation]
        words = self._dice.pick(_RELATION_WORDS[relation])
        return f"{indefinite(first)} {words} {indefinite(second)}{more}", first.count

    def _relation_sentence(self, idle: Sequence[int]) -> str:
        """Return the relation as a sentence of its own, with the things that have no part in it."""
        self._introduce_with_a = self._introduce_with_a or bool(idle)
        text = self._relation()
        others = range(2, len(self._spec.things))
        self._mentioned.update(others)
        more = "".join(f", and there is {indefinite(self._spec.things[number])}" for number in others)
        self._antecedent = -1
        return text + more

    def _relation(self) -> str:
        first, second, relation = 0, 1, self._spec.relation
        if self._dice.chance(50):
            first, second, relation = second, first, OPPOSITE[relation]
        self._antecedent = -1
        subject = f"{self._mention(first)} {self._is(first)}"
        words = self._dice.pick(_RELATION_WORDS[relation])
        return f"{subject} {words} {self._mention(second)}"

    def _stays_still(self, number: int) -> str:
        self._antecedent = -1
        return f"{self._mention(number)} {'stays' if self._spec.things[number].count == 1 else 'stay'} still"

    def _idle(self) -> list[int]:
        """Return the things that nothing else is said about."""
        busy = {number for event in self._spec.events for number in (event.actor, event.other)}
        busy |= {0, 1} if self._spec.relation_stated else set()
        return [number for number in range(len(self._spec.things)) if number not in busy]

    def _events(self) -> str:
        events = self._spec.events
        pattern = self._dice.pick(_JOINED[len(events)])
        order = sorted(range(len(events)), key=lambda number: pattern.index(f"{{{number}}}"))
        clauses = {number: self._clause(events[number]) for number in order}
        return pattern.format(*(clauses[number] for number in range(len(events))))

    def _clause(self, event: Event) -> str:
        actor = self._mention(event.actor)
        forms = self._dice.pick(_VERBS[event.action])
        if len(self._spec.events) == 1 and self._dice.chance(30):
            predicate = f"{self._is(event.actor)} {forms[2]}"
        else:
            predicate = forms[0 if self._spec.things[event.actor].count == 1 else 1]
        self._antecedent = event.actor
        if event.other >= 0:
            predicate = predicate.format(other=self._mention(event.other), way=direction(self._spec, event))
            self._antecedent = -1
        return f"{actor} {predicate}"

    def _is(self, number: int) -> str:
        return "is" if self._spec.things[number].count == 1 else "are"

    def _mention(self, number: int) -> str:
        """Return a thing by the words that its place in the text allows."""
        thing = self._spec.things[number]
        if number not in self._mentioned:
            self._mentioned.add(number)
            return indefinite(thing) if self._introduce_with_a else definite(thing)
        if number == self._antecedent and self._dice.chance(75):
            return "it" if thing.count == 1 else "they"
        unique_shape = sum(thing.shape == other.shape for other in self._spec.things) == 1
        name = noun(thing, colour=not unique_shape or self._dice.chance(50))
        articles = {1: ("the",), 2: ("the", "the two", "both"), 3: ("the", "the three", "all three")}
        return f"{self._dice.pick(articles[thing.count])} {name}"
