"""One clock for a file whose times start again or jump.

Recordings that were joined, cameras and discs write times that start again in the middle of a file, or jump ahead by
hours. A player goes on; so does this clock. Decisions:

- Times start again where a key frame comes up before a picture that was there already, and its decoding time falls,
  too; or where any packet falls back by more than reordering can explain. B-frames fall back in presentation alone.
- In formats whose times may jump (MPEG-TS, MPEG-PS, Ogg ...) nothing for ten seconds, on no track, is a jump, as in
  FFmpeg, but for slides that come more rarely by their rate; elsewhere (MP4, Matroska) it is a picture that stays.
- The wrap of a 33-bit clock is undone by FFmpeg; where it is not, it is one more jump.
- Behind a jump times go on one frame after the last.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

_TOLERANCE = 0.05  # seconds: what a key frame may lie before the picture before it
_REORDERING = 8  # frames, and at least half a second: a packet that falls back further starts a new part
PAUSE = 10.0  # seconds, and eight frames, without any packet: a jump ahead
_FRAME = 0.04  # seconds, where the rate is unknown
_LONGEST_FRAME = 1.0  # seconds


@dataclass
class _Progress:
    """How far a track has come, in ticks of its time base, on the clock."""

    tick: float  # seconds
    frame: float  # seconds that a picture stays, where its packet does not say
    offset: int = 0  # what its own times are corrected by
    latest: int | None = None  # the latest presentation
    decoded: int | None = None  # the last decoding time


class Timeline:
    """Corrects the times of all packets of a file, from the first packet on, in the order in which they lie."""

    def __init__(self, may_jump: bool) -> None:
        self.broken = False  # whether times of a video track had to be corrected
        self._may_jump = may_jump
        self._progress: dict[int, _Progress] = {}  # by the index of the track; video tracks in turn share theirs
        self._video: _Progress | None = None
        self._now = -inf  # seconds: the latest presentation of any track

    def correct(self, packet: Packet[Stream]) -> None:
        """Put a packet's times on the clock."""
        pts, dts = packet.pts, packet.dts
        shown = dts if pts is None else pts
        if shown is None:
            return
        progress = self._progress.get(packet.stream_index) or self._start(packet.stream)
        if self._may_jump and pts is not None and dts is not None and pts - dts > _pause(packet, progress):
            # MPEG-PS: the last picture of a part got the time of the next part.
            pts = shown = dts + round(_stay(packet, progress) / progress.tick)
            packet.pts = pts
        shown += progress.offset
        if progress.latest is None:
            progress.latest = shown
        elif self._breaks(packet, shown, progress):
            shift = progress.latest + max(1, round(_stay(packet, progress) / progress.tick)) - shown
            progress.offset += shift
            shown += shift
            self.broken |= progress is self._video
        progress.latest = max(progress.latest, shown)
        self._now = max(self._now, shown * progress.tick)
        if dts is not None:
            progress.decoded = dts + progress.offset
        if progress.offset:
            packet.pts = None if pts is None else pts + progress.offset
            packet.dts = None if dts is None else dts + progress.offset

    def _start(self, stream: Stream) -> _Progress:
        tick = float(stream.time_base or 1)
        if isinstance(stream, VideoStream):
            rate = stream.average_rate
            self._video = self._video or _Progress(tick, min(_LONGEST_FRAME, float(1 / rate)) if rate else _FRAME)
            self._progress[stream.index] = self._video
        else:
            self._progress[stream.index] = _Progress(tick, _FRAME)
        return self._progress[stream.index]

    def _breaks(self, packet: Packet[Stream], shown: int, progress: _Progress) -> bool:
        """Whether the times start again, or jump, at this packet."""
        assert progress.latest is not None
        if shown > progress.latest:
            return self._may_jump and shown - self._now / progress.tick > _pause(packet, progress)
        behind = (progress.latest - shown) * progress.tick
        if behind <= _TOLERANCE:
            return False
        if packet.dts is None:
            return packet.is_keyframe
        if progress.decoded is None or packet.dts + progress.offset >= progress.decoded:  # reordering
            return False
        return packet.is_keyframe or behind > max(0.5, _REORDERING * _stay(packet, progress))


def _pause(packet: Packet[Stream], progress: _Progress) -> float:
    """After how many ticks without any packet times have jumped: later than slides at their own rate come."""
    return max(PAUSE / progress.tick, _REORDERING * (packet.duration or 0))


def _stay(packet: Packet[Stream], progress: _Progress) -> float:
    """For how long the picture of a packet stays, in seconds."""
    return min(_LONGEST_FRAME, packet.duration * progress.tick) if packet.duration else progress.frame
