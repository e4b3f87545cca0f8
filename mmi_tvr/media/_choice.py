"""Which of several video tracks is the film.

Decision: a track counts where it has at least a quarter of the frames and half of the length of the track that has
most. So a still, a cover that is not marked as one, and the few large frames of a phone's motion photo never stand in
for the film beside them. Of those that count the one that the container marks as its default is taken, then the
largest picture, then the first. Frames are counted, because headers lie about them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

import av
from av.container import InputContainer
from av.format import Flags
from av.stream import Disposition
from av.video.stream import VideoStream

from ._container import is_film

_COUNTED_FRAMES = 300  # of the track that has most: by then a still or a preview has shown what it is
_LEAST_FRAMES = 0.25  # of the track that has most
_LEAST_LENGTH = 0.5  # of the longest track
_LEAST_PART = 10  # frames of a track that takes its turn in a film
_READ_WHOLE = 256 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Choice:
    """The tracks whose pictures are looked at: one, or several that follow one another."""

    tracks: tuple[int, ...]  # indexes of streams, in the order in which they come
    reason: str  # a phrase


@dataclass
class _Count:
    """What was seen of a track while packets were read."""

    frames: int = 0
    first: float = inf  # where its packets lie, in bytes from the start of the file
    last: int = -1
    seconds: float = 0.0


def choose(container: InputContainer) -> Choice:
    """Choose the film of a file that has one. With several tracks packets are read, and the file has to be rewound."""
    films = [stream for stream in container.streams.video if is_film(stream) and stream.codec_context]
    if len(films) == 1:
        return Choice((films[0].index,), "the only video track")
    counts = _counts(container, films)
    parts = _in_turn(films, counts) if _may_take_turns(container) else []
    if len(parts) > 1:
        return Choice(tuple(film.index for film in parts), f"goes on in {len(parts)} tracks, one behind another")
    frames = {film.index: counts[film.index].frames for film in films}
    lengths = _lengths(films, counts)
    most = max(frames.values())
    longest = max(lengths[film.index] for film in films if frames[film.index] >= _LEAST_FRAMES * most)
    eligible = [
        film
        for film in films
        if frames[film.index] >= _LEAST_FRAMES * most and lengths[film.index] >= _LEAST_LENGTH * longest
    ]
    if len(eligible) == 1:
        return Choice((eligible[0].index,), "by far the most frames of all video tracks")
    defaults = [film for film in eligible if film.disposition & Disposition.default] or eligible
    if len(defaults) == 1:
        return Choice((defaults[0].index,), "the one that is marked as the default")
    largest = max(defaults, key=lambda film: film.width * film.height)
    return Choice((largest.index,), "the largest of those that are as long")


def _counts(container: InputContainer, films: Sequence[VideoStream]) -> dict[int, _Count]:
    """Count packets until one track has enough of them to tell; through the whole file where tracks may take turns."""
    counts = {stream.index: _Count() for stream in films}
    enough = inf if _may_take_turns(container) and container.size <= _READ_WHOLE else _COUNTED_FRAMES
    starts: dict[int, float] = {}
    try:
        for packet in container.demux(tuple(films)):
            if not packet.size:
                continue
            count = counts[packet.stream.index]
            if packet.pos is not None:
                count.first, count.last = min(count.first, packet.pos), max(count.last, packet.pos)
            if packet.dts is not None and packet.time_base is not None:
                time = float(packet.dts * packet.time_base)
                count.seconds = max(count.seconds, time - starts.setdefault(packet.stream.index, time))
            count.frames += 1
            if count.frames >= enough:
                break
    except (av.error.FFmpegError, IndexError):  # what is damaged counts as far as it can be read
        pass
    return counts


def _may_take_turns(container: InputContainer) -> bool:
    """Whether tracks may come and go in the middle of a file of this format (joined recordings, new ids)."""
    return Flags.ts_discont in Flags(container.format.flags)


def _in_turn(films: Sequence[VideoStream], counts: dict[int, _Count]) -> list[VideoStream]:
    """The tracks that are no stills, in order, where each starts in the file behind the end of the one before."""
    parts = [film for film in films if counts[film.index].frames >= _LEAST_PART]
    parts.sort(key=lambda film: counts[film.index].first)
    if all(counts[later.index].first > counts[earlier.index].last for earlier, later in pairwise(parts)):
        return parts
    return []


def _lengths(films: Sequence[VideoStream], counts: dict[int, _Count]) -> dict[int, float]:
    """Seconds of each track: as far as they were counted, or what the headers promise where all of them do."""
    promises = [float(film.duration * film.time_base) if film.duration and film.time_base else 0.0 for film in films]
    if not all(promises):
        promises = [0.0] * len(films)
    return {film.index: max(promise, counts[film.index].seconds) for film, promise in zip(films, promises, strict=True)}
