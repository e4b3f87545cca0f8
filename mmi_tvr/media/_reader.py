"""Frames of one film at given times, with as little decoding as the file allows.

After a jump only a frame counts that the decoder itself calls a key frame. Containers call frames so that are none, and
what is decoded from there is grey with moving patches. Decisions:

- H.264 decoders hold back what has not recovered, also where a stream is refreshed bit by bit and has no key frame but
  the first: what they hand out counts. So does every frame of a codec that knows key frames alone.
- Where a decoder calls not even the first frame of a file a key frame, those of type I are taken for some; and where
  there are none either (QuickTime Animation, MS Video 1) there are no jumps: decoding starts at the first packet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, pairwise
from math import inf
from pathlib import Path

import av
from av.video.frame import PictureType, VideoFrame

from ..errors import MediaError
from ._encryption import ENCRYPTED, is_encrypted, is_encrypted_packet
from ._packets import Packets, VideoPacket

_LATE = 3  # frames: so many more than may be left out on purpose lack at the end of a film
TimedFrame = tuple[float, VideoFrame]  # seconds, and the frame that comes up then


class Reader:
    """The frames of one film. Times are seconds on a player's clock (see `_packets`).

    Times come from the stream's timestamps. Only a raw stream, which has none, is counted at its nominal rate.
    """

    # Where decoding stands: `_frames` go on behind `_next`, and `_current` is the frame before it. Where a key frame
    # was decoded alone there is only `_current`, and nothing to go on with.
    _frames: Iterator[TimedFrame] | None
    _current: TimedFrame | None
    _next: TimedFrame | None

    def __init__(self, path: Path) -> None:
        self.path = path
        self._forget_position()
        self.packets = Packets(path)
        try:
            # A sampling goes on from the first frame, so what it will leave out is left out here already.
            self.packets.skip_frames("NONREF")
            self._decode_on(self.packets.rewind())
            if self._next is None:
                raise MediaError(path, self._why_none())
            self.first = self._next[1]
            self.packets.counted = self.first.pts is None
            self._at_start = not self.packets.counted
            self._keys_checked = False  # key frames are those that the decoder calls so
            self._may_jump = self._is_start(self.first)
        except BaseException:
            self.close()
            raise

    def _why_none(self) -> str:
        """The reason why no frame can be decoded."""
        packets = self.packets
        packets.open()
        if is_encrypted(packets.path, packets.container, packets.film):
            return ENCRYPTED
        return "none of its frames can be decoded (damaged or cut off)"

    def close(self) -> None:
        # The generator refers to this object: without letting go of it the decoder would live until a collection.
        self._forget_position()
        self.packets.close()

    def _forget_position(self) -> None:
        self._frames = self._current = self._next = None

    def measure(self) -> float:
        """Return the second at which the film ends, from its packets; nothing is decoded."""
        self._leave()
        return self.packets.measure()

    def times(self) -> list[float]:
        """Return when the pictures come up, in seconds, ascending; nothing is decoded."""
        self._leave()
        return self.packets.times()

    def walk(self, targets: Iterable[float], tolerance: float = 0.0, skip: bool = False) -> Iterator[TimedFrame]:
        """Yield for each target the time of the frame on screen then, and the frame.

        A target before the first frame gets the first, one behind the last gets the last that can be decoded.

        Args:
            targets: ascending seconds.
            tolerance: a key frame that is nearer to the target than so many seconds is taken as it is.
            skip: leave out frames that no other frame refers to; the frame is then the nearest kept one before the
                target.
        """
        if not (self._at_start and skip):
            self._frames = None
        self._at_start = False
        self.packets.skip_frames("NONREF" if skip and not self.packets.counted else "DEFAULT")
        for target, next_target in pairwise([*targets, inf]):
            position = self._next[0] if self._next else None
            if self._frames is None:
                self._jump(target, tolerance, next_target)
            elif position is not None and self._may_jump and self.packets.seek_pays(position, target + tolerance):
                self._jump(target, tolerance, next_target)
                if self._next and self._next[0] <= position:
                    self.packets.blind_seeks = False  # no key frame lay on the way: what was decoded is decoded again
            while self._frames and self._next and self._next[0] <= target:
                self._current, self._next = self._next, next(self._frames, None)
            frame = self._current or self._next
            if frame is not None:
                yield frame

    def _leave(self) -> None:
        """Forget where decoding stands, because packets are read for something else."""
        self._frames, self._at_start = None, False

    def _jump(self, target: float, tolerance: float, next_target: float) -> None:
        """Go on from the key frame before a target.

        A key frame within the tolerance is decoded alone where the next target has a key frame of its own. An index
        may promise what the file lost, and seeking may land too late: then it is tried again from earlier, and at last
        from the first packet. Where the decoder denies that a frame is a key frame, all are checked by decoding them.
        """
        back = 0.0 if self._may_jump else inf
        while True:
            goal = target + tolerance - back
            packets = self.packets.land(goal)
            packet = next(packets, None)
            if packet is not None and goal > 0 and self._stands_alone(packet, target, tolerance, next_target):
                if self._decode_alone(packet):
                    return
            else:
                self._decode_on(packets if packet is None else chain([packet], packets))
                if goal <= 0:
                    return
                denied = self._pass_over(target + tolerance)
                if self._next and self._next[0] <= target + tolerance:
                    return
                if denied and packet is not None and packet.is_keyframe and not self._keys_checked:
                    self._check_keys()
                    continue
            back = max(1.0, 2 * back)

    def _pass_over(self, until: float) -> bool:
        """Pass over frames before a second at which decoding may not have started; return whether there were any."""
        count = 0
        while self._frames and self._next and self._next[0] <= until and not self._is_start(self._next[1]):
            self._next = next(self._frames, None)
            count += 1
        return count > 0

    def _is_start(self, frame: VideoFrame) -> bool:
        """Whether decoding may have started at this frame, by what the decoder says."""
        codec = self.packets.film.codec_context.codec
        if frame.key_frame or codec.intra_only or codec.canonical_name == "h264":
            return True
        return not self.first.key_frame and frame.pict_type == PictureType.I

    def _check_keys(self) -> None:
        """Let the decoder say which packets are key frames; it passes over the others quickly."""
        self._keys_checked = True
        self.packets.distrust()
        keys: list[int] = []
        numbers: dict[int | None, int] = {}  # by time stamp
        packets = 0
        skip = self.packets.skip
        self.packets.skip_frames("NONKEY")
        for packet in chain(self.packets.rewind(), [None]):
            if packet is not None:
                numbers[_stamp(packet)] = packets
                packets += 1
            frames = [frame for frame in self._decode(packet) if self._is_start(frame)]
            keys += [numbers[_stamp(frame)] for frame in frames if _stamp(frame) in numbers]
        self.packets.skip_frames(skip)
        self.packets.believe_keys(keys)

    def _stands_alone(self, packet: VideoPacket, target: float, tolerance: float, next_target: float) -> bool:
        """Whether this is a key frame within the tolerance of a target, and none of what follows it is needed."""
        time = self.packets.time(packet)
        if not packet.is_keyframe or self.packets.in_decoding_order or abs(time - target) >= tolerance:
            return False
        return next_target == inf or self.packets.seek_pays(time, next_target + tolerance)

    def _decode_on(self, packets: Iterable[VideoPacket | None]) -> None:
        """Decode from these packets on."""
        frames = self._decoded(packets)
        self._frames, self._current, self._next = frames, None, next(frames, None)

    def _decoded(self, packets: Iterable[VideoPacket | None]) -> Iterator[TimedFrame]:
        """Decoded frames with their times; what is damaged is passed over.

        Guessed times of neighbours may swap: a time never falls.
        """
        packets = chain(packets, [None])
        first = next(packets)
        count, time, rate = 0, self.packets.before(first), self.packets.rate
        latest = 0.0
        for packet in chain([first], packets):
            if packet is not None and not packet.is_discard:
                latest = max(latest, self.packets.time(packet))
            for frame in self._decode(packet):
                time = count / rate if self.packets.counted and rate else max(time, self.packets.time(frame, time))
                yield time, frame
                count += 1
        may_lack = not (self.packets.single_threaded or self.packets.counted)
        if may_lack and rate and latest - time > _LATE / rate:
            yield from self._decoded_behind(time if count else -1.0)

    def _decoded_behind(self, last: float) -> Iterator[TimedFrame]:
        """The frames behind a second at which a decoder with threads came to its end too early, from one thread.

        Each thread holds a frame back, and a damaged frame among those at the end of a film hides what is behind it.
        """
        self.packets.decode_in_one_thread()
        started = last < 0
        for time, frame in self._decoded(self.packets.land(last)):
            started = started or self._is_start(frame)
            if started and time > last:
                yield time, frame

    def _decode_alone(self, packet: VideoPacket) -> bool:
        """Decode one key packet without feeding the decoder what follows, so that only a seek can come after it."""
        frames = [*self._decode(packet), *self._decode(None)]
        if frames and self._is_start(frames[0]):
            self._frames, self._current, self._next = None, (self.packets.time(frames[0]), frames[0]), None
            return True
        return False

    def _decode(self, packet: VideoPacket | None) -> list[VideoFrame]:
        """What the decoder hands out for a packet, or, for None, at the end of a track."""
        decoders = self.packets.decoders
        try:
            if packet is None:
                return [frame for decoder in decoders.values() for frame in decoder.decode(None)]
            if is_encrypted_packet(packet):
                return []
            return decoders[packet.stream.index].decode(packet)
        except av.error.FFmpegError:
            return []


def _stamp(item: VideoFrame | VideoPacket) -> int | None:
    return item.pts if item.pts is not None else item.dts
