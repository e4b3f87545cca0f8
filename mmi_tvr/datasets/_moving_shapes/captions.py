"""What happens in a video, in English: paraphrases that all say the whole of it, and nothing but the truth.

Every caption names all things with their number, the relation where it is told, and all events in their order. What
varies is the syntax (order of mention, subordinate clauses, pronouns, progressive forms) and the words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import chinese
from .dice import Dice
from .words import listed, table
from .world import OPPOSITE, Event, Spec, Thing, way

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
_BESIDE = {
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
    """Twenty different captions: 15 English ones, then 5 Chinese."""
    dice = Dice(spec.seed, 1)
    english = different(lambda: _Teller(spec, dice).caption(), ENGLISH)
    return (*english, *different(lambda: chinese.caption(spec, dice), CHINESE))


def related(spec: Spec) -> tuple[str, ...]:
    """The relation of the first two things in every wording, and nothing else: English, then Chinese."""
    if not spec.relation:
        return ()
    one, other = spec.things[:2]
    sides = (one, other, spec.relation), (other, one, OPPOSITE[spec.relation])
    english = [
        text
        for first, second, relation in sides
        for words in _BESIDE[relation]
        for text in (
            f"{indefinite(first)} {words} {indefinite(second)}",
            f"{definite(first)} {'is' if first.count == 1 else 'are'} {words} {definite(second)}",
        )
    ]
    return (*english, *(text for side in sides for text in chinese.related(*side)))


def different(make: Callable[[], str], count: int) -> tuple[str, ...]:
    """The first `count` different texts that `make` comes up with."""
    found: dict[str, None] = {}
    for _ in range(_TRIES):
        found[make()] = None
        if len(found) == count:
            return tuple(found)
    raise AssertionError(f"only {len(found)} of {count} different captions: {list(found)}")


def indefinite(thing: Thing) -> str:
    """a red ring; an orange ring; two red rings"""
    if thing.count == 1:
        return f"{'an' if thing.colour[0] in 'aeiou' else 'a'} {noun(thing)}"
    return f"{NUMBERS[thing.count]} {noun(thing)}"


def definite(thing: Thing) -> str:
    """the red ring; the two red rings"""
    return f"the {noun(thing)}" if thing.count == 1 else f"the {NUMBERS[thing.count]} {noun(thing)}"


def noun(thing: Thing, colour: bool = True) -> str:
    """red ring; red rings; rings"""
    shape = plural(thing.shape) if thing.count > 1 else thing.shape
    return f"{thing.colour} {shape}" if colour else shape


def plural(shape: str) -> str:
    """crosses"""
    return shape + ("es" if shape.endswith("s") else "s")


def verb(action: str, plural: bool) -> str:
    """An action in plain words: moves left; move left"""
    return _VERBS[action][0][plural]


def beside(relation: str) -> str:
    """A relation in plain words: to the left of"""
    return _BESIDE[relation][0]


def direction(spec: Spec, event: Event) -> str:
    """Where a chase goes: to the left; upwards"""
    return _WAYS[way(spec, event)]


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


class _Teller:
    """Tells one caption: it remembers what has been mentioned, and who was spoken of last."""

    def __init__(self, spec: Spec, dice: Dice) -> None:
        self._spec, self._dice = spec, dice
        self._known: set[int] = set()
        self._last = -1  # the only thing that "it" can mean
        self._shy = dice.chance(50)  # introduces with "a", not with "the"

    def caption(self) -> str:
        idle = self._idle()
        if self._dice.chance(55) or (len(self._spec.things) == 1 and self._dice.chance(30)):
            frame = self._dice.pick(_SCENE_FIRST[:3] if len(self._spec.things) == 1 else _SCENE_FIRST)
            scene, number = self._scene()
            text = self._filled(frame, s=scene, e=self._events(), number=number)
        elif self._spec.told and self._dice.chance(40):
            stated = self._stated(idle)
            text = self._filled("{S}. {E}.", s=stated, e=self._events())
        else:
            events = self._events()
            rest = [self._relation()] if self._spec.told else []
            rest += [self._still(number) for number in idle]
            mark = "; " if self._spec.told else ", while "
            text = self._filled(self._dice.pick(_EVENTS_FIRST), e=events + (mark + " and ".join(rest) if rest else ""))
        return text[0].lower() + text[1:-1] if ". " not in text and self._dice.chance(50) else text

    def _filled(self, frame: str, s: str = "", e: str = "", number: int = 1) -> str:
        return frame.format(s=s, S=capital(s), e=e, E=capital(e), **{"is": "is" if number == 1 else "are"})

    def _scene(self) -> tuple[str, int]:
        """All things, as nobody has heard of them yet, and the number that "there is" must agree with."""
        things = self._spec.things
        self._known.update(range(len(things)))
        self._last = 0 if len(things) == 1 else -1
        if not self._spec.told:
            start = self._dice.below(len(things))
            turned = [*things[start:], *things[:start]]
            return listed([indefinite(thing) for thing in turned]), turned[0].count
        first, second = things[:2]
        more = "".join(f", and {indefinite(thing)}" for thing in things[2:])
        if self._dice.chance(25):
            pattern = _SEEN_FROM[self._spec.relation]
            it = "it" if second.count == 1 else "them"
            return pattern.format(a=indefinite(first), b=indefinite(second), it=it) + more, second.count
        relation = self._spec.relation
        if self._dice.chance(50):
            first, second, relation = second, first, OPPOSITE[relation]
        return f"{indefinite(first)} {self._dice.pick(_BESIDE[relation])} {indefinite(second)}{more}", first.count

    def _stated(self, idle: Sequence[int]) -> str:
        """The relation as a sentence of its own, and who else is there."""
        self._shy = self._shy or bool(idle)
        text = self._relation()
        others = range(2, len(self._spec.things))
        self._known.update(others)
        more = "".join(f", and there is {indefinite(self._spec.things[number])}" for number in others)
        self._last = -1
        return text + more

    def _relation(self) -> str:
        one, other, relation = 0, 1, self._spec.relation
        if self._dice.chance(50):
            one, other, relation = other, one, OPPOSITE[relation]
        self._last = -1
        return f"{self._who(one)} {self._is(one)} {self._dice.pick(_BESIDE[relation])} {self._who(other)}"

    def _still(self, number: int) -> str:
        self._last = -1
        return f"{self._who(number)} {'stays' if self._spec.things[number].count == 1 else 'stay'} still"

    def _idle(self) -> list[int]:
        """The things that nothing else is said about."""
        busy = {number for event in self._spec.events for number in (event.actor, event.other)}
        busy |= {0, 1} if self._spec.told else set()
        return [number for number in range(len(self._spec.things)) if number not in busy]

    def _events(self) -> str:
        events = self._spec.events
        pattern = self._dice.pick(_JOINED[len(events)])
        order = sorted(range(len(events)), key=lambda number: pattern.index(f"{{{number}}}"))
        clauses = {number: self._clause(events[number]) for number in order}
        return pattern.format(*(clauses[number] for number in range(len(events))))

    def _clause(self, event: Event) -> str:
        who = self._who(event.actor)
        forms = self._dice.pick(_VERBS[event.action])
        if len(self._spec.events) == 1 and self._dice.chance(30):
            does = f"{self._is(event.actor)} {forms[2]}"
        else:
            does = forms[0 if self._spec.things[event.actor].count == 1 else 1]
        self._last = event.actor
        if event.other >= 0:
            does = does.format(other=self._who(event.other), way=direction(self._spec, event))
            self._last = -1
        return f"{who} {does}"

    def _is(self, number: int) -> str:
        return "is" if self._spec.things[number].count == 1 else "are"

    def _who(self, number: int) -> str:
        """A thing by the words that its place in the text allows."""
        thing = self._spec.things[number]
        if number not in self._known:
            self._known.add(number)
            return indefinite(thing) if self._shy else definite(thing)
        if number == self._last and self._dice.chance(75):
            return "it" if thing.count == 1 else "they"
        only = sum(thing.shape == other.shape for other in self._spec.things) == 1
        name = noun(thing, colour=not only or self._dice.chance(50))
        all_of_them = {1: ("the",), 2: ("the", "the two", "both"), 3: ("the", "the three", "all three")}
        return f"{self._dice.pick(all_of_them[thing.count])} {name}"
