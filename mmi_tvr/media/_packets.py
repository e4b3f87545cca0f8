"""The packets of a film, on a player's clock, from any second of it.

Decision: 0:00 is the start of the container, the earliest of its sound and pictures, as in FFmpeg and in players. So a
second here is the same instant in a player, in a link with `#t=` and in other programs; a film that begins later than
its sound has its first picture later, too.

When a file is opened it is read from the last entry of its index to its end, because headers promise too little, and
joined recordings start again there; without an index it is read through once. Where times start again or jump, and
where the decoder denies that key frames are some (`distrust`), the container is not believed any more: packets are
numbered from the first one of the file, and read in order.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from statistics import median
from typing import Literal, TypeAlias, cast

import av
from av.format import Flags
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ._choice import Choice, choose
from ._container import open_container
from ._decoders import decoder_of, may_change_skip
from ._timeline import PAUSE, Timeline

VideoPacket: TypeAlias = "Packet[VideoStream]"
Skip = Literal["DEFAULT", "NONREF", "NONKEY"]  # frames that the decoder leaves out, by FFmpeg's names

_SEEK_COST = 4  # frames: what a seek costs, because decoder threads and reordering start anew
_BLIND_SEEK = 10.0  # seconds: without an index, a seek is tried only over a stretch that surely has a key frame
_READ_WHOLE = 256 << 20  # bytes: larger files without an index are looked at in places
_PLACES = 64
_UNEVEN = 20  # times the median step between these places: so much more time in as many bytes is a jump
_DECODING_TIMES_ONLY = {"avi", "mxf"}  # formats: FFmpeg guesses when frames come up,
_MUCH_REORDERED = {"h264", "hevc"}  # wrongly for these codecs, where frames move by more than one place
_BROKEN_PROMISE = 0.25  # seconds, and two frames: a header that promises so much less than there is counts for nothing


@dataclass
class _Census:
    """What reading packets to the end of the file has shown."""

    end: float = 0.0  # seconds: where the last picture ends
    times: list[float] = field(default_factory=list)  # seconds, of the packets in the order in which they lie
    keys: list[int] = field(default_factory=list)  # numbers of the packets at which decoding may start, ascending


class Packets:
    """The packets of one film, in order from where `rewind` or `land` has put them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counted = False  # the film has no timestamps: it is counted at its nominal rate
        self._reached = 0  # ticks: the latest time of a packet that was read
        self.blind_seeks = True  # a seek without the help of an index may pay
        self.single_threaded = False  # how the decoders work
        self._skip: Skip = "DEFAULT"
        self._choice: Choice | None = None  # until the file was opened
        self._first: tuple[int | None, ...] = ()
        self._delay: int | None = None  # ticks: how far decoding is ahead, where only its times are known
        self._trusted = True
        self._lag = 0  # ticks: an index of decoding times runs ahead of presentation times by this
        self._numbered: Iterator[VideoPacket | None] = iter(())  # where the file is not trusted
        self._number = 0  # of the next of them
        self.open()
        try:
            self._origin = self._start_of_container()
            self._census = self._look_behind()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self.container.close()

    def open(self) -> None:
        """Open the file, at its first packet."""
        self.container = open_container(self.path)
        if self._choice is None:
            self._choice = choose(self.container)
            if len(self.container.streams.video) > 1:  # packets were read
                self.container.close()
                self.container = open_container(self.path)
        films = {stream.index: stream for stream in self.container.streams.video}
        self.films = tuple(films[track] for track in self._choice.tracks)
        self.film = self.films[0]
        self._may_jump = Flags.ts_discont in Flags(self.container.format.flags)
        known = self.container.format.name in _DECODING_TIMES_ONLY
        self.in_decoding_order = known and self.film.codec_context.codec.canonical_name in _MUCH_REORDERED
        self.decoders = {film.index: decoder_of(film, self.single_threaded) for film in self.films}
        self.skip_frames(self._skip)
        self._base = self.film.time_base or Fraction(1, av.time_base)

    def skip_frames(self, which: Skip) -> None:
        """Let the decoder leave out frames of a kind, by FFmpeg's name for it; decoding has to start anew."""
        if self.in_decoding_order and which == "NONREF":  # what is left out would delay others
            which = "DEFAULT"
        restart = which != self._skip and not all(map(may_change_skip, self.decoders.values()))
        self._skip = which
        for decoder in self.decoders.values():
            decoder.skip_frame = which
        if restart and self._trusted:
            self.container.close()
            self.open()
        elif restart:
            self.rewind()

    def decode_in_one_thread(self) -> None:
        """Let the decoders work in one thread each from now on; decoding has to start anew."""
        self.single_threaded = True
        self.open()

    @property
    def skip(self) -> Skip:
        """The kind of frames that the decoder leaves out."""
        return self._skip

    @property
    def choice(self) -> Choice:
        """The tracks whose pictures are looked at, and why."""
        assert self._choice is not None
        return self._choice

    @property
    def trusted(self) -> bool:
        """Whether the container is believed what it says of times and key frames."""
        return self._trusted

    @property
    def rate(self) -> float:
        """The average frames per second, 0.0 where it is unknown."""
        return float(self.film.average_rate or self.film.guessed_rate or 0)

    @property
    def start(self) -> float:
        """When the first picture comes up, in seconds."""
        return 0.0 if self.film.start_time is None else max(0.0, self._seconds(self.film.start_time))

    @property
    def reached(self) -> float:
        """The latest second of which a packet was read."""
        return max(0.0, self._seconds(self._reached)) if self._trusted else self._census.end

    def duration(self) -> float:
        """Return the second at which the film ends, 0.0 where it is unknown.

        Decision: that is what the header promises, unless packets go on behind it, or times start again.
        """
        promised = self._promised() if self._trusted else 0.0
        late = min(promised, max(_BROKEN_PROMISE, 2 / self.rate if self.rate else 0.0))
        return promised if promised and self._end(self._census) <= promised + late else self._end(self._census)

    def measure(self) -> float:
        """Return the second at which the last packet ends; the file is read, and nothing is decoded."""
        return self._end(self._read_through(self.rewind()) if self._trusted else self._census)

    def times(self) -> list[float]:
        """Return when the pictures come up, in seconds, ascending; the file is read, and nothing is decoded."""
        return sorted((self._read_through(self.rewind()) if self._trusted else self._census).times)

    def time(self, item: VideoFrame | VideoPacket, before: float = 0.0) -> float:
        """Return when a frame, or that of a packet, comes up, in seconds; `before` is the time of the frame before it.

        Where only decoding times are known, a frame comes up by that of the packet that made the decoder hand it out.
        """
        stamp = _stamp(item)
        if self.in_decoding_order:
            stamp = item.dts
            if stamp is None:  # the decoder is drained
                return self._seconds(self._pts(before + (1 / self.rate if self.rate else 0.0)))
            if isinstance(item, VideoFrame):
                if self._delay is None:
                    self._delay = stamp - (self._first[-1] or 0)
                stamp -= self._delay
        return 0.0 if stamp is None else max(0.0, self._seconds(stamp))

    def before(self, packet: VideoPacket | None) -> float:
        """Return the time of the frame before the one at which decoding starts, where those without times need it."""
        if packet is None or not self.in_decoding_order or not self.rate:
            return 0.0
        return self.time(packet) - 1 / self.rate

    def seek_pays(self, position: float, goal: float) -> bool:
        """Return whether `land(goal)` spares decoding: a key frame lies well behind `position`, not behind `goal`."""
        if self.counted or position > goal:
            return False
        nearest = _SEEK_COST / self.rate if self.rate else 0.0
        if not self._trusted:
            return self._census.times[self._key_before(goal)] - position > nearest
        entries = self.film.index_entries
        number = entries.search_timestamp(self._pts(goal) - self._lag, backward=True) if len(entries) else -1
        if number >= 0:
            key_frame = self._seconds(entries[number].timestamp + self._lag)
            if key_frame > position:
                return key_frame - position > nearest
            if self._seconds(entries[len(entries) - 1].timestamp) > position:
                return False
        return self.blind_seeks and goal - position > _BLIND_SEEK

    def land(self, goal: float) -> Iterator[VideoPacket | None]:
        """Return the packets from the key frame at or before a second on; None stands between two tracks."""
        if goal <= 0:
            return self.rewind()
        if not self._trusted:
            return self._advance(self._key_before(goal))
        return self._read() if self._seek(goal) else self.rewind()

    def rewind(self) -> Iterator[VideoPacket | None]:
        """Return the packets from the first one of the file on, which a seek to 0:00 may miss."""
        if self._trusted:
            return self._from_first_packet()
        self.open()  # joined Matroska files end with their first part where they were read before
        self._number = 0
        self._numbered = self._count_off(self._on_clock(self._in_order(), self._timeline()))
        return self._numbered

    def distrust(self) -> None:
        """Number the packets of the file from now on, and believe nothing else that the container says."""
        self._trusted = False
        self._census = self._read_through(self.rewind())

    def believe_keys(self, numbers: Sequence[int]) -> None:
        """Take these numbers, after `distrust`, as those of the packets at which decoding may start."""
        self._census.keys = sorted(numbers)

    def _look_behind(self) -> _Census:
        """Read from the last entry of the index on, or from the first packet; distrust the file where times break."""
        first = next(self._read(), None)
        self._first = _identity(first)
        if first is not None and self.container.start_time is None and self.film.start_time is None:
            self._origin = _stamp(first) or 0
        if "matroska" in self.container.format.name and self.container.duration:
            self._seek(self.container.duration / av.time_base)  # Matroska reads its index at the first seek only
        entries = self.film.index_entries
        if first is not None and first.pts is not None and len(entries):
            self._lag = max(0, first.pts - entries[0].timestamp)
        census, timeline = _Census(), self._timeline()
        if len(self.films) > 1:
            whole = False
        elif self.container.size > _READ_WHOLE and self._promised() and (self._may_jump or not len(entries)):
            whole = not self._may_jump or self._ascends()
        else:
            indexed = len(entries) and not self._may_jump
            if indexed and self._seek_to(entries[len(entries) - 1].timestamp, any_frame=True):
                packets = self._in_order()
            elif indexed or "matroska" in self.container.format.name:  # it does not stand behind the first packet
                packets = self.rewind()
            else:
                packets = chain([first], self._in_order())
            census = self._read_through(self._on_clock(packets, timeline))
            whole = not timeline.broken
        if not whole:
            self.distrust()
            return self._census
        return census

    def _ascends(self) -> bool:
        """Whether times ascend over a large file, at places that lie evenly in it, about as its bytes do."""
        seconds = []
        for place in range(_PLACES):
            self.container.seek(place * self.container.size // _PLACES, unsupported_byte_offset=True)
            packet = next(self._read(), None)
            if packet is not None and packet.dts is not None:
                seconds.append(self._seconds(packet.dts))
        steps = [later - earlier for earlier, later in pairwise(seconds)]
        return not steps or (min(steps) > 0 and max(steps) < _UNEVEN * median(steps))

    def _read_through(self, packets: Iterator[VideoPacket | None]) -> _Census:
        census = _Census()
        tick, frame_length = float(self._base), 1 / self.rate if self.rate else 0.0
        for number, packet in enumerate(packet for packet in packets if packet is not None):
            stamp = _stamp(packet)
            time = 0.0 if stamp is None else max(0.0, (stamp - self._origin) * tick)
            census.times.append(time)
            if not packet.is_discard:  # those are decoded for others, or cut off by an edit list: never shown
                length = packet.duration * tick if packet.duration else frame_length
                census.end = max(census.end, time + length)
            if packet.is_keyframe:
                census.keys.append(number)
        return census

    def _end(self, census: _Census) -> float:
        return len(census.times) / self.rate if self.counted and self.rate else census.end

    def _key_before(self, goal: float) -> int:
        """The number of the last packet at or before a second at which decoding may start."""
        census = self._census
        last = bisect_right(census.keys, goal, key=census.times.__getitem__) - 1
        return census.keys[last] if last >= 0 else 0

    def _advance(self, number: int) -> Iterator[VideoPacket | None]:
        """The packets from a number on."""
        if self._number > number:
            self.rewind()
        while self._number < number:
            next(self._numbered)
        self._flush()
        return self._numbered

    def _count_off(self, packets: Iterator[VideoPacket | None]) -> Iterator[VideoPacket | None]:
        for packet in packets:
            self._number += packet is not None
            yield packet

    def _timeline(self) -> Timeline:
        return Timeline(self._may_jump)

    def _on_clock(self, packets: Iterator[VideoPacket | None], timeline: Timeline) -> Iterator[VideoPacket | None]:
        """The film's packets, on a clock that goes on; sound says only how far the clock has come."""
        for packet in packets:
            if packet is not None:
                timeline.correct(cast("Packet[Stream]", packet))
            if packet is None or packet.stream_index in self.choice.tracks:
                yield packet

    def _in_order(self) -> Iterator[VideoPacket | None]:
        """The packets from where the file stands, with those of the sound where that may say how late it is.

        Tracks that follow one another are read one by one: the last packets of one show up at the end of the file.
        """
        sound = [stream for stream in self.container.streams.audio if stream.codec_context and self._may_jump]
        if len(self.films) == 1:
            yield from self._read(*sound)
            return
        for number, film in enumerate(self.films):
            if number:
                yield None
                if not self._seek_to_start():
                    return
            yield from (packet for packet in self._read() if packet.stream_index == film.index)

    def _from_first_packet(self) -> Iterator[VideoPacket]:
        packets = self._read() if self._seek_to_start() else iter(())
        first = next(packets, None)
        if _identity(first) != self._first:
            self.open()
            first = next(self._read(), None)
        return chain([] if first is None else [first], self._read())

    def _seek_to_start(self) -> bool:
        if not self._may_jump or Flags.no_byte_seek in Flags(self.container.format.flags):
            return self._seek(0.0)
        try:
            self.container.seek(0, unsupported_byte_offset=True)
        except av.error.FFmpegError:
            return False
        self._flush()
        return True

    def _seek(self, seconds: float) -> bool:
        """Stand at the key frame at or before a time; False where the file cannot seek."""
        return self._seek_to(self._pts(max(0.0, seconds)))

    def _seek_to(self, stamp: int, any_frame: bool = False) -> bool:
        try:
            self.container.seek(stamp, stream=self.film, any_frame=any_frame)
        except av.error.FFmpegError:
            return False
        self._flush()
        return True

    def _flush(self) -> None:
        """Let the decoders forget what they were at."""
        for decoder in self.decoders.values():
            if decoder.is_open:
                decoder.flush_buffers()

    def _read(self, *others: Stream) -> Iterator[VideoPacket]:
        """The packets from where the file stands; a read error ends them as the end of the file does."""
        try:
            for packet in cast("Iterator[VideoPacket]", self.container.demux(*self.films, *others)):
                if packet.size:
                    self._reached = max(self._reached, _stamp(packet) or 0)
                    yield packet
        except (av.error.FFmpegError, IndexError):  # PyAV's IndexError: a damaged file grew a stream while it was read
            return

    def _promised(self) -> float:
        """The second at which the film ends by the header, 0.0 where it says nothing."""
        if self.film.duration:
            return self.start + float(self.film.duration * self._base)
        if self.container.duration:  # Matroska counts it from 0, not from its first frame
            return max(0.0, self.container.duration / av.time_base - float(self._origin * self._base))
        return 0.0

    def _start_of_container(self) -> int:
        """The time stamp of the film that is 0:00."""
        first_picture, start = self.film.start_time, self.container.start_time
        if start is None:
            return first_picture or 0
        ticks = round(Fraction(start, av.time_base) / self._base)
        # The container's start is in whole microseconds; where the film is what starts, its stamp is more precise.
        late = 0.0 if first_picture is None else float((first_picture - ticks) * self._base)
        if first_picture is not None and self._may_jump and late > PAUSE:
            return self._start_in_order(first_picture)
        return first_picture if first_picture is not None and abs(late) < 2e-6 else ticks

    def _start_in_order(self, first_picture: int) -> int:
        """The earliest time stamp up to the film's first packet: tracks that come later may have earlier ones."""
        earliest = first_picture
        try:
            for packet in self.container.demux():
                stamp = packet.dts if packet.pts is None else packet.pts
                if stamp is not None and packet.time_base is not None:
                    earliest = min(earliest, round(stamp * packet.time_base / self._base))
                if packet.stream_index == self.film.index:
                    break
        except (av.error.FFmpegError, IndexError):  # what is damaged counts as far as it can be read
            pass
        self.container.close()
        self.open()
        return earliest

    def _pts(self, seconds: float) -> int:
        return self._origin + int(seconds / float(self._base) + 1e-3)  # a time made from a timestamp finds it again

    def _seconds(self, pts: int) -> float:
        return (pts - self._origin) * self._base.numerator / self._base.denominator


def _stamp(item: VideoFrame | VideoPacket) -> int | None:
    return item.pts if item.pts is not None else item.dts


def _identity(packet: VideoPacket | None) -> tuple[int | None, ...]:
    """What tells a packet from others of its file."""
    return () if packet is None else (packet.pos, packet.size, packet.pts, packet.dts)
