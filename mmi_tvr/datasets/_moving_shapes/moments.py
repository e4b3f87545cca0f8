"""When what captions say happens: whole captions, and single events described alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ...types import DescribedMoment
from .captions import captions
from .world import Spec, ThingName, describes

_MS = 1000  # in a second


def caption_moments(specs: Sequence[Spec], count: int) -> Iterator[DescribedMoment]:
    """Yield the first `count` captions of each video: from the start of its first event to the end of its last."""
    for number, spec in enumerate(specs):
        events = tuple(_span(spec, event) for event in range(len(spec.events)))
        for text in captions(spec)[:count]:
            yield DescribedMoment(text, number, events[0][0], events[-1][1], events)


def event_moments(specs: Sequence[Spec], count: int) -> Iterator[DescribedMoment]:
    """Yield every event that is described by itself: in `count` captions of its scene, in which nothing else happens.

    Left out is an event of which the description is true of another moment of its video as well.
    """
    alike = _AlikeEvents(specs)
    for number, spec in enumerate(specs):
        for event in range(len(spec.events)):
            alone = single_event(spec, event)
            others = replace(spec, events=spec.events[:event] + spec.events[event + 1 :])
            if describes(alone, others):
                continue
            elsewhere = tuple(alike.elsewhere(alone, number))
            for text in captions(alone)[:count]:
                yield DescribedMoment(text, number, *_span(spec, event), elsewhere=elsewhere)


def single_event(spec: Spec, event: int) -> Spec:
    """Return the scene with one of its events (by number) alone, at its time."""
    return replace(spec, events=(spec.events[event],), starts=(spec.starts[event],))


class _AlikeEvents:
    """All events of some videos, by the things that a description of them has to name."""

    def __init__(self, specs: Sequence[Spec]) -> None:
        self._specs = specs
        self._showing: defaultdict[ThingName, set[int]] = defaultdict(set)  # the videos that show a thing
        for number, spec in enumerate(specs):
            for thing in spec.things:
                self._showing[thing.name].add(number)

    def elsewhere(self, described: Spec, number: int) -> Iterator[tuple[int, float, float]]:
        """Yield the events of all videos but this one of which a description is true: video, start, end."""
        candidates = set.intersection(*(self._showing[thing.name] for thing in described.things))
        for other in sorted(candidates - {number}):
            spec = self._specs[other]
            for event in range(len(spec.events)):
                if describes(described, single_event(spec, event)):
                    yield (other, *_span(spec, event))


def _span(spec: Spec, event: int) -> tuple[float, float]:
    """Return start and end of an event, in seconds."""
    return spec.starts[event] / _MS, (spec.starts[event] + spec.length) / _MS
