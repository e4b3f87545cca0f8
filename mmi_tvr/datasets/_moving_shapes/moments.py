"""When what captions say happens: whole captions, and single events described alone.

Both are built when they are looked at: all captions of all events of a training split would take minutes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, overload

from ...types import DescribedMoment
from ...utils.loading import late_property
from .captions import captions
from .world import Spec, ThingName, describes

_MS = 1000  # in a second
_REMEMBERED = 1 << 12  # scenes whose captions are kept


class _BuiltMoments(Sequence[DescribedMoment]):
    """Moments of which number i is caption i % `count` of `places[i // count]`."""

    def __init__(self, specs: Sequence[Spec], count: int) -> None:
        self._specs, self._count = specs, count

    @late_property
    def places(self) -> Sequence[Any]:
        """What is described."""
        raise NotImplementedError

    def build(self, place: Any, caption: int) -> DescribedMoment:
        """Return the moment of a place, in the words of one of its captions."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.places) * self._count

    @overload
    def __getitem__(self, number: int) -> DescribedMoment: ...

    @overload
    def __getitem__(self, number: slice) -> list[DescribedMoment]: ...

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[position] for position in range(len(self))[number]]
        place, caption = divmod(range(len(self))[number], self._count)  # IndexError beyond the end
        return self.build(self.places[place], caption)


class CaptionMoments(_BuiltMoments):
    """The first `count` captions of each video: from the start of its first event to the end of its last."""

    @late_property
    def places(self) -> Sequence[int]:
        """The numbers of the videos."""
        return range(len(self._specs))

    def build(self, place: int, caption: int) -> DescribedMoment:
        spec = self._specs[place]
        events = tuple(_span(spec, event) for event in range(len(spec.events)))
        return DescribedMoment(_captions(spec)[caption], place, events[0][0], events[-1][1], events)


class EventMoments(_BuiltMoments):
    """Every event that is described by itself: in `count` captions of its scene, in which nothing else happens.

    Left out is an event of which the description is true of another moment of its video as well. Of which other videos
    it is true is known where `exact`.
    """

    def __init__(self, specs: Sequence[Spec], count: int, exact: bool) -> None:
        super().__init__(specs, count)
        self._alike = _AlikeEvents(specs) if exact else None

    @late_property
    def places(self) -> Sequence[tuple[int, int]]:
        """Number of the video, and of the event in it."""
        return [
            (number, event)
            for number, spec in enumerate(self._specs)
            for event in range(len(spec.events))
            if not describes(
                single_event(spec, event), replace(spec, events=spec.events[:event] + spec.events[event + 1 :])
            )
        ]

    def build(self, place: tuple[int, int], caption: int) -> DescribedMoment:
        number, event = place
        spec = self._specs[number]
        alone = single_event(spec, event)
        elsewhere = tuple(self._alike.elsewhere(alone, number)) if self._alike else ()
        return DescribedMoment(_captions(alone)[caption], number, *_span(spec, event), elsewhere=elsewhere)


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


def single_event(spec: Spec, event: int) -> Spec:
    """Return the scene with one of its events (by number) alone, at its time."""
    return replace(spec, events=(spec.events[event],), starts=(spec.starts[event],))


@lru_cache(_REMEMBERED)
def _captions(spec: Spec) -> tuple[str, ...]:
    return captions(spec)


def _span(spec: Spec, event: int) -> tuple[float, float]:
    """Return start and end of an event, in seconds."""
    return spec.starts[event] / _MS, (spec.starts[event] + spec.length) / _MS
