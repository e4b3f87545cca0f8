"""A dozen videos to show: a scene, its twins, and others that have nothing to do with it."""

from __future__ import annotations

from dataclasses import replace

from .captions import verb
from .world import Event, Spec, Thing

_RED = Thing("red", "circle", 1, 700, 500, 600)
_BLUE = Thing("blue", "square", 1, 300, 400, 600)
_SCENE = Spec(
    things=(_RED, _BLUE),
    relation="left",
    relation_stated=False,
    events=(Event(0, "left"), Event(1, "grows")),
    starts=(1500, 4500),
    length=1400,
    duration=7500,
    corner=0,
    texture="waves",
    tint=(4, -6, 8),
    seed=7,
)
_OTHERS = (
    ((Thing("green", "star", 1, 500, 500, 700),), (Event(0, "spins"),)),
    ((Thing("green", "star", 1, 200, 300, 700),), (Event(0, "bounces"),)),
    ((Thing("pink", "ring", 3, 500, 500, 500),), (Event(0, "up"), Event(0, "flashes"))),
    (
        (Thing("yellow", "cross", 1, 500, 500, 900), Thing("black", "triangle", 1, 500, 500, 500)),
        (Event(0, "chases", 1),),
    ),
    ((Thing("purple", "triangle", 2, 500, 500, 500), _RED), (Event(1, "hides"), Event(0, "down"))),
    ((_BLUE, Thing("orange", "star", 1, 600, 200, 800)), (Event(1, "appears"), Event(0, "blinks"))),
)


def example() -> dict[str, Spec]:
    """Return twelve specs by a short name for each, the scene of "first the red circle moves left, then the blue square
    grows" first; five of the others differ from it in one thing."""
    swapped = replace(_SCENE, events=_SCENE.events[::-1])
    reversed_ = replace(_SCENE, events=(replace(_SCENE.events[0], action="right"), _SCENE.events[1]))
    green = replace(_SCENE, things=(replace(_RED, colour="green"), _BLUE))
    ring = replace(_SCENE, things=(replace(_RED, shape="ring"), _BLUE))
    shrunk = replace(_SCENE, events=(_SCENE.events[0], Event(1, "shrinks")))
    specs = [_SCENE, swapped, reversed_, green, ring, shrunk]
    specs += [
        replace(
            _SCENE,
            things=things,
            relation=_SCENE.relation if len(things) > 1 else "",
            events=events,
            starts=_SCENE.starts[: len(events)],
            seed=number,
        )
        for number, (things, events) in enumerate(_OTHERS)
    ]
    return {_name(spec): spec for spec in specs}


def _name(spec: Spec) -> str:
    """Return what happens, as a file's name: red-circle-moves-left_blue-square-grows."""
    sentences = []
    for event in spec.events:
        actor = spec.things[event.actor]
        words = "chases" if event.other >= 0 else verb(event.action, plural=actor.count > 1)
        other = f" {spec.things[event.other].colour} {spec.things[event.other].shape}" if event.other >= 0 else ""
        number = f"{actor.count} " if actor.count > 1 else ""
        sentences.append(f"{number}{actor.colour} {actor.shape} {words}{other}".replace(" ", "-"))
    return "_".join(sentences)
