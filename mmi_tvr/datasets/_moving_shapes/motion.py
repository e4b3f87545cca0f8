"""Where everything is at a time. Lengths are shares of the picture's side, x to the right and y downwards."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from .world import Spec, chase_direction, grid_cells

_RADIUS = {1: 0.11, 2: 0.095, 3: 0.095}  # of one shape at its largest, by how many stand together
_ALONE = 0.13  # the same for the only shape of a scene
_REACH = 1.15  # how far a shape's corners go, in radii
_PITCH = 2.5  # from one to the next in a row, in radii
_MARGIN = 0.02
_SMALL = 0.62  # of the largest radius: the smaller size of what grows, shrinks or swells
_USUAL = (0.68, 1.0)  # of the largest radius: everything else
_HOP = 0.14  # height of a bounce
_FARTHEST = 0.4  # that anything moves
_NARROW = (0.1, 0.9)  # across the relation, so that "left of" never looks like "above"
_SUDDEN = 0.15  # share of an event in which something comes, goes or turns white


class Pose(NamedTuple):
    """How one thing looks at one time: centre of each of its shapes, radius, angle (radians, clockwise), opacity
    (0..1), and how white it is (0..1)."""

    centres: tuple[tuple[float, float], ...]
    radius: float
    angle: float
    opacity: float
    white: float

    @property
    def visible(self) -> bool:
        return self.opacity >= 0.5

    @property
    def centre(self) -> tuple[float, float]:
        """Centre of the row."""
        xs, ys = zip(*self.centres, strict=True)
        return sum(xs) / len(xs), sum(ys) / len(ys)


@dataclass(frozen=True, slots=True)
class _Track:
    """What one thing does: where it starts, how far it goes, and its events by what they change."""

    start: tuple[float, float]
    travel: tuple[float, float]  # how far its moves take it, in x and in y
    radius: float  # before any event
    largest: float
    offsets: tuple[tuple[float, float], ...]  # of its shapes from its centre
    events: tuple[tuple[str, float], ...]  # action and start (seconds); a chase is a move


class Motion:
    """A spec as a function of time."""

    def __init__(self, spec: Spec) -> None:
        self._length = spec.length / 1000
        self._tracks = [_track(spec, number) for number in range(len(spec.things))]

    def at(self, time: float) -> tuple[Pose, ...]:
        """Return the pose of every thing at a time (seconds)."""
        return tuple(self._pose(track, time) for track in self._tracks)

    def _pose(self, track: _Track, time: float) -> Pose:
        (x, y), radius = track.start, track.radius
        angle, opacity, white = 0.0, 1.0, 0.0
        for action, start in track.events:
            progress = round(min(1.0, max(0.0, (time - start) / self._length)), 9)  # exactly 1 at the event's end
            if action in ("left", "right"):
                x += track.travel[0] * _ease(progress)
            elif action in ("up", "down"):
                y += track.travel[1] * _ease(progress)
            elif action in ("grows", "shrinks"):
                radius += (track.largest * (1.0 if action == "grows" else _SMALL) - radius) * _ease(progress)
            elif action == "swells":
                radius += (track.largest - radius) * _hump(progress, 0.35)
            elif action == "spins":
                angle = 2 * math.pi * _ease(progress)
            elif action == "bounces":
                y -= _HOP * abs(math.sin(3 * math.pi * (progress % 1)))  # three hops, and exactly back at the end
            elif action == "flashes":
                white = _hump(progress, _SUDDEN)
            else:
                opacity = _sight(action, progress)
        centres = tuple((round(x + dx, 6), round(y + dy, 6)) for dx, dy in track.offsets)
        angle = round(angle, 6) % round(2 * math.pi, 6)  # a full turn is none, to the last digit
        return Pose(centres, round(radius, 6), angle, round(opacity, 6), round(white, 6))


def _ease(progress: float) -> float:
    return progress * progress * (3 - 2 * progress)


def _hump(progress: float, ramp: float) -> float:
    """Go up in the first share `ramp` of an event, and down again in the last."""
    return _ease(min(1.0, progress / ramp, (1 - progress) / ramp))


def _sight(action: str, progress: float) -> float:
    if action == "blinks":
        return 1 - _hump(progress, _SUDDEN)
    change = _ease(min(1.0, max(0.0, (progress - 0.5) / _SUDDEN + 0.5)))
    return change if action == "appears" else 1 - change


def _track(spec: Spec, number: int) -> _Track:
    thing = spec.things[number]
    events = tuple(
        (chase_direction(spec, event) if event.action == "chases" else event.action, start / 1000)
        for event, start in zip(spec.events, spec.starts, strict=True)
        if number in (event.actor, event.other)
    )
    actions = {action for action, _ in events}
    largest = _ALONE if len(spec.things) == 1 and thing.count == 1 else _RADIUS[thing.count]
    stacked = spec.relation in ("left", "right") if spec.relation else bool(spec.corner & 1)  # across the relation
    steps = [(position - (thing.count - 1) / 2) * _PITCH * largest for position in range(thing.count)]
    paths = []
    for axis, (low, high) in enumerate(_room(spec, number)):
        half = largest * _REACH + (steps[-1] if stacked == bool(axis) else 0) + _MARGIN
        low += _HOP if axis == 1 and "bounces" in actions else 0
        share = (thing.across, thing.down)[axis] / 1000
        paths.append(_path(low + half, high - half, share, _sign(actions, axis)))
    (x, travel_x), (y, travel_y) = paths
    offsets = tuple((0.0, step) if stacked else (step, 0.0) for step in steps)
    return _Track((x, y), (travel_x, travel_y), _radius(thing.size, actions) * largest, largest, offsets, events)


def _sign(actions: set[str], axis: int) -> int:
    """Return whether a thing goes along an axis (1), against it (-1), or not (0)."""
    backward, forward = (("left", "right"), ("up", "down"))[axis]
    return int(forward in actions) - int(backward in actions)


def _room(spec: Spec, number: int) -> list[tuple[float, float]]:
    """Return from where to where a thing's room goes, in x and in y."""
    if len(spec.things) == 1:
        return [(0.0, 1.0), (0.0, 1.0)]
    halves = [(cell / 2, cell / 2 + 0.5) for cell in grid_cells(spec)[number]]
    if len(spec.things) == 2:
        halves[1 if spec.relation in ("left", "right") else 0] = _NARROW
    return halves


def _path(low: float, high: float, share: float, sign: int) -> tuple[float, float]:
    """Return where a centre starts within [low, high], and how far it goes; both ways cover the same stretch.

    share: 0..1, where in its room the stretch lies; sign: as `_sign` has it.
    """
    travel = min(_FARTHEST, high - low) * (0.85 + 0.15 * share) if sign else 0.0
    first = low + (high - low - travel) * share
    return (first, travel) if sign >= 0 else (first + travel, -travel)


def _radius(size: int, actions: set[str]) -> float:
    """Return the radius before any event, as a share of the largest."""
    if actions & {"grows", "swells"}:
        return _SMALL
    return 1.0 if "shrinks" in actions else _USUAL[0] + (_USUAL[1] - _USUAL[0]) * size / 1000
