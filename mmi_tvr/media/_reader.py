"""Frames of one video stream at given times, with as little decoding as the file allows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain, pairwise
from math import inf
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ..errors import MediaError

_STILL_FORMATS = {"image2", "image2pipe", "ico", "apng_pipe"}  # and every "<format>_pipe"
_PLAYLIST_FORMATS = {"hls", "dash", "concat", "concatf", "imf", "sdp"}  # they name other files: never followed
_TEXT_ART_FORMATS = {"tty", "bin", "xbin", "adf", "idf"}  # FFmpeg draws plain text as pictures
TimedFrame = tuple[float, VideoFrame]  # seconds, and the frame that comes up then

_SEEK_COST = 4  # frames: what a seek costs, because decoder threads and reordering start anew
_BLIND_SEEK = 10.0  # seconds: without an index, a seek is tried only over a stretch that surely has a key frame


def open_container(path: Path) -> InputContainer:
    """Open a media file, or raise MediaError with the reason why it is none."""
    if path.is_dir():
        raise MediaError(path, "is a folder, not a video file")
    if not path.exists():
        raise MediaError(path, "no such file")
    try:
        if not path.is_file():  # opening a pipe would wait for a writer
            raise MediaError(path, "is not a regular file")
        if path.stat().st_size == 0:
            raise MediaError(path, "is empty (0 bytes)")
        # Only local files: a playlist must not make us fetch what it names.
        container = av.open(
            str(path.absolute()), mode="r", metadata_errors="ignore", options={"protocol_whitelist": "file"}
        )
    except PermissionError as error:
        raise MediaError(path, "may not be read (permission denied)") from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise MediaError(path, "is not a media file, or its header is damaged or cut off") from error
    try:
        _check_container(path, container)
    except MediaError:
        container.close()
        raise
    return container


def _check_container(path: Path, container: InputContainer) -> None:
    """Raise MediaError where the container opens and is still no video."""
    formats = set(container.format.name.split(","))
    if formats & _STILL_FORMATS or all(name.endswith("_pipe") for name in formats):
        raise MediaError(path, "is a still image, not a video")
    if formats & _PLAYLIST_FORMATS:
        raise MediaError(path, "is a playlist, not a video file")
    if formats & _TEXT_ART_FORMATS:
        raise MediaError(path, "is a text file, not a video")
    moving = [stream for stream in container.streams.video if _moving(stream)]
    if not moving:
        raise MediaError(path, "has sound but no video stream" if container.streams.audio else "has no video stream")
    if not any(stream.codec_context for stream in moving):
        raise MediaError(path, "its video codec is unknown here")


def _moving(stream: VideoStream) -> bool:
    """Whether a video stream is one, not the cover picture of a song or a preview."""
    return not stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails)


class Reader:
    """One video stream, decoded at given times. Times are seconds from the stream's start.

    Times come from the stream's timestamps. Only a raw stream, which has none, is counted at its nominal rate.
    """

    # Where decoding stands: `_frames` go on behind `_next`, and `_current` is the frame before it. Where a key frame
    # was decoded alone there is only `_current`, and nothing to go on with.
    _frames: Iterator[TimedFrame] | None
    _current: TimedFrame | None
    _next: TimedFrame | None

    def __init__(self, path: Path) -> None:
        self.path = path
        self._counted = False  # the stream has no timestamps
        self._blind_seeks = True  # a seek without the help of an index may pay
        self._open()
        try:
            # A sampling goes on from the first frame, so what it will leave out is left out here already.
            self.stream.codec_context.skip_frame = "NONREF"
            self._decode_on(self._start())
            if self._next is None:
                raise MediaError(path, "none of its frames can be decoded (damaged or cut off)")
            self.first = self._next[1]
            self._counted = self.first.pts is None
            self._at_start = not self._counted
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        # The generator refers to this object: without letting go of it the decoder would live until a collection.
        self._forget_position()
        self.container.close()

    def _open(self) -> None:
        self.container = open_container(self.path)
        moving = [stream for stream in self.container.streams.video if _moving(stream) and stream.codec_context]
        self.stream: VideoStream = max(moving, key=lambda stream: stream.width * stream.height)
        self.stream.thread_type = "AUTO"
        self._base = self.stream.time_base or Fraction(1, av.time_base)
        self._origin = self.stream.start_time or 0
        self.reached = 0.0  # the time of the last packet that was read
        self._lag = 0  # an index of decoding times runs ahead of presentation times by this
        self._forget_position()

    def _forget_position(self) -> None:
        self._frames = self._current = self._next = None

    def _start(self) -> Iterable[Packet[VideoStream]]:
        """All packets, after the index is read, and how its first entry relates to the first packet."""
        if "matroska" in self.container.format.name and self.container.duration:
            self._seek(self.container.duration / av.time_base)  # Matroska reads its index at the first seek only
            self._seek(0.0)
        packets = self._packets()
        first = next(packets, None)
        entries = self.stream.index_entries
        if first is not None and first.pts is not None and len(entries):
            self._lag = max(0, first.pts - entries[0].timestamp)
        return packets if first is None else chain([first], packets)

    @property
    def rate(self) -> float:
        """Return the average frames per second, 0.0 where it is unknown."""
        return float(self.stream.average_rate or self.stream.guessed_rate or 0)

    def header_duration(self) -> float:
        """Return the seconds of video that the header promises, 0.0 where it says nothing."""
        if self.stream.duration:
            return float(self.stream.duration * self._base)
        if self.container.duration:  # Matroska counts it from 0, not from its first frame
            return max(0.0, self.container.duration / av.time_base - float(self._origin * self._base))
        return 0.0

    def measure(self) -> float:
        """Return the seconds of video in the file, from its packets; nothing is decoded."""
        self._frames, self._at_start = None, False
        self._seek(0.0)
        frame_length = 1 / self.rate if self.rate else 0.0
        end, packets = 0.0, 0
        for packet in self._packets():
            packets += 1
            length = float(packet.duration * self._base) if packet.duration else frame_length
            end = max(end, self._time(packet) + length)
        return packets * frame_length if self._counted else end

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
        self.stream.codec_context.skip_frame = "NONREF" if skip and not self._counted else "DEFAULT"
        for target, next_target in pairwise([*targets, inf]):
            position = self._next[0] if self._next else None
            if self._frames is None:
                self._jump(target, tolerance, next_target)
            elif position is not None and self._seek_pays(position, target + tolerance):
                self._jump(target, tolerance, next_target)
                if self._next and self._next[0] <= position:
                    self._blind_seeks = False  # no key frame lay on the way: what was decoded is decoded again
            while self._frames and self._next and self._next[0] <= target:
                self._current, self._next = self._next, next(self._frames, None)
            frame = self._current or self._next
            if frame is not None:
                yield frame

    def _seek_pays(self, position: float, goal: float) -> bool:
        """Whether a seek spares decoding: a key frame lies well behind `position` and not behind `goal`."""
        if self._counted or position > goal:
            return False
        entries = self.stream.index_entries
        number = entries.search_timestamp(self._pts(goal) - self._lag, backward=True) if len(entries) else -1
        if number >= 0:
            key_frame = self._seconds(entries[number].timestamp + self._lag)
            if key_frame > position:
                return not self.rate or key_frame - position > _SEEK_COST / self.rate
            if self._seconds(entries[len(entries) - 1].timestamp) > position:
                return False
        return self._blind_seeks and goal - position > _BLIND_SEEK

    def _jump(self, target: float, tolerance: float, next_target: float) -> None:
        """Go on from the key frame before a target.

        A key frame within the tolerance is decoded alone where the next target has a key frame of its own. An index
        may promise what the file lost, and seeking may land too late: then it is tried again from earlier, and at last
        (MPEG-TS whose first frames come out of order) by opening the file again.
        """
        back = 0.0
        while True:
            goal = target + tolerance - back
            self._seek(goal)
            packets = self._packets()
            packet = next(packets, None)
            if packet is not None and goal > 0 and self._stands_alone(packet, target, tolerance, next_target):
                if self._decode_alone(packet):
                    return
            else:
                self._decode_on(packets if packet is None else chain([packet], packets))
                if self._next and self._next[0] <= target + tolerance:
                    return
                if goal <= 0:
                    if self._next is None or self._next[0] > self._time(self.first):
                        self._reopen()
                        self._decode_on(self._packets())
                    return
            back = max(1.0, 2 * back)

    def _stands_alone(self, packet: Packet[VideoStream], target: float, tolerance: float, next_target: float) -> bool:
        """Whether this is a key frame within the tolerance of a target, and none of what follows it is needed."""
        if not packet.is_keyframe or abs(self._time(packet) - target) >= tolerance:
            return False
        return next_target == inf or self._seek_pays(self._time(packet), next_target + tolerance)

    def _decode_on(self, packets: Iterable[Packet[VideoStream]]) -> None:
        """Decode from these packets on."""
        frames = self._decoded(packets)
        self._frames, self._current, self._next = frames, None, next(frames, None)

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        """The stream's packets from where the file stands; a read error ends them as the end of the file does."""
        try:
            for packet in self.container.demux(self.stream):
                if packet.size:
                    self.reached = self._time(packet)
                    yield packet
        except (av.error.FFmpegError, IndexError):  # PyAV's IndexError: a damaged file grew a stream while it was read
            return

    def _decoded(self, packets: Iterable[Packet[VideoStream]]) -> Iterator[TimedFrame]:
        """Decoded frames with their times; what is damaged is passed over.

        Containers that know decoding times only (AVI) let the guessed times of neighbours swap: a time never falls.
        """
        count, time = 0, 0.0
        for packet in chain(packets, [None]):
            for frame in self._decode(packet):
                time = count / self.rate if self._counted and self.rate else max(time, self._time(frame))
                yield time, frame
                count += 1

    def _decode_alone(self, packet: Packet[VideoStream]) -> bool:
        """Decode one key packet without feeding the decoder what follows, so that only a seek can come after it."""
        frames = [*self._decode(packet), *self._decode(None)]
        if frames:
            self._frames, self._current, self._next = None, (self._time(frames[0]), frames[0]), None
        return bool(frames)

    def _decode(self, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
        try:
            return self.stream.decode(packet)
        except av.error.FFmpegError:
            return []

    def _seek(self, seconds: float) -> None:
        """Stand at the key frame at or before a time; a stream that cannot seek is opened again at its start."""
        try:
            self.container.seek(self._pts(max(0.0, seconds)), stream=self.stream, backward=True)
        except av.error.FFmpegError:
            self._reopen()

    def _reopen(self) -> None:
        """Stand at the start of the file, with frames skipped as before."""
        skip = self.stream.codec_context.skip_frame
        self.close()
        self._open()
        self.stream.codec_context.skip_frame = skip

    def _time(self, item: VideoFrame | Packet[VideoStream]) -> float:
        pts = item.pts if item.pts is not None else item.dts
        return 0.0 if pts is None else max(0.0, self._seconds(pts))

    def _pts(self, seconds: float) -> int:
        return self._origin + int(seconds / float(self._base) + 1e-3)  # a time made from a timestamp finds it again

    def _seconds(self, pts: int) -> float:
        return float((pts - self._origin) * self._base)
