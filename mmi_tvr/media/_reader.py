"""Frames of one video stream at wanted times, with as little decoding as the file allows."""

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

_STILL = {"image2", "image2pipe", "ico", "apng_pipe"}  # and every "<kind>_pipe"
_PLAYLISTS = {"hls", "dash", "concat", "concatf", "imf", "sdp"}  # they name other files: never followed
_TEXT_ART = {"tty", "bin", "xbin", "adf", "idf"}  # FFmpeg draws plain text as pictures
Timed = tuple[float, VideoFrame]

_REFILL = 4  # frames: what a jump costs, because decoder threads and reordering start anew
_BLIND = 10.0  # seconds: without an index, a jump is tried only over a stretch that surely has a key frame


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
        _refuse(path, container)
    except MediaError:
        container.close()
        raise
    return container


def _refuse(path: Path, container: InputContainer) -> None:
    """Raise MediaError where the container opens and is still no video."""
    kinds = set(container.format.name.split(","))
    if kinds & _STILL or all(kind.endswith("_pipe") for kind in kinds):
        raise MediaError(path, "is a still image, not a video")
    if kinds & _PLAYLISTS:
        raise MediaError(path, "is a playlist, not a video file")
    if kinds & _TEXT_ART:
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
    """One video stream, decoded at wanted times. Times are seconds from the stream's start.

    Times come from the stream's timestamps. Only a raw stream, which has none, is counted at its nominal rate.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._counted = False  # the stream has no timestamps
        self._blind = True  # a jump without the help of an index may pay
        self._open()
        try:
            # A sampling goes on from the first frame, so what it will leave out is left out here already.
            self.stream.codec_context.skip_frame = "NONREF"
            self._read_on(self._start())
            if self._ahead is None:
                raise MediaError(path, "none of its frames can be decoded (damaged or cut off)")
            self.first = self._ahead[1]
            self._counted = self.first.pts is None
            self._fresh = not self._counted
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        # The generator refers to this object: without letting go of it the decoder would live until a collection.
        self._frames = self._shown = self._ahead = None
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
        # Where decoding stands: `_frames` go on behind `_ahead`, and `_shown` is the frame before it. Where a key
        # frame was decoded alone there is only `_shown`, and nothing to go on with.
        self._frames: Iterator[Timed] | None = None
        self._shown: Timed | None = None
        self._ahead: Timed | None = None

    def _start(self) -> Iterable[Packet[VideoStream]]:
        """All packets, after a look at the index and at how its first entry relates to the first packet."""
        if "matroska" in self.container.format.name and self.container.duration:
            self._seek(self.container.duration / av.time_base)  # Matroska reads its index at the first seek only
            self._seek(0.0)
        packets = self._packets()
        first = next(packets, None)
        entries = self.stream.index_entries
        if first is not None and first.pts is not None and len(entries):
            self._lag = max(0, first.pts - entries[0].timestamp)
        return chain([first] if first else [], packets)

    @property
    def rate(self) -> float:
        """Average frames per second, 0.0 where it is unknown."""
        return float(self.stream.average_rate or self.stream.guessed_rate or 0)

    def header_duration(self) -> float:
        """Seconds of video that the header promises, 0.0 where it says nothing."""
        if self.stream.duration:
            return float(self.stream.duration * self._base)
        if self.container.duration:  # Matroska counts it from 0, not from its first frame
            return max(0.0, self.container.duration / av.time_base - float(self._origin * self._base))
        return 0.0

    def measure(self) -> float:
        """Seconds of video in the file, from its packets; nothing is decoded."""
        self._frames, self._fresh = None, False
        self._seek(0.0)
        frame_length = 1 / self.rate if self.rate else 0.0
        end, packets = 0.0, 0
        for packet in self._packets():
            packets += 1
            length = float(packet.duration * self._base) if packet.duration else frame_length
            end = max(end, self._time(packet) + length)
        return packets * frame_length if self._counted else end

    def walk(self, targets: Iterable[float], tolerance: float = 0.0, skip: bool = False) -> Iterator[Timed]:
        """For each target (ascending seconds): the frame on screen then, after its own time.

        `skip` leaves out frames that no other frame refers to; the frame is then the nearest kept one before the
        target. With a `tolerance` (seconds), a key frame that near to the target is taken as it is. A target before
        the first frame gets the first, one behind the last gets the last that can be decoded.
        """
        if not (self._fresh and skip):
            self._frames = None
        self._fresh = False
        self.stream.codec_context.skip_frame = "NONREF" if skip and not self._counted else "DEFAULT"
        for target, following in pairwise([*targets, inf]):
            position = self._ahead[0] if self._ahead else None
            if self._frames is None:
                self._jump(target, tolerance, following)
            elif position is not None and self._pays(position, target + tolerance):
                self._jump(target, tolerance, following)
                if self._ahead and self._ahead[0] <= position:
                    self._blind = False  # there was no key frame on the way: all that was seen is decoded again
            while self._frames and self._ahead and self._ahead[0] <= target:
                self._shown, self._ahead = self._ahead, next(self._frames, None)
            if found := self._shown or self._ahead:
                yield found

    def _pays(self, position: float, goal: float) -> bool:
        """Whether a jump spares decoding: a key frame lies well behind `position` and not behind `goal`."""
        if self._counted or position > goal:
            return False
        entries = self.stream.index_entries
        found = entries.search_timestamp(self._pts(goal) - self._lag, backward=True) if len(entries) else -1
        if found >= 0:
            key = self._seconds(entries[found].timestamp + self._lag)
            if key > position:
                return not self.rate or key - position > _REFILL / self.rate
            if self._seconds(entries[len(entries) - 1].timestamp) > position:
                return False
        return self._blind and goal - position > _BLIND

    def _jump(self, target: float, tolerance: float, following: float) -> None:
        """Go on from the key frame before a target.

        A key frame near enough is decoded alone where the target after it has a key frame of its own. An index may
        promise what the file lost, and seeking may land too late: then it is tried again from earlier.
        """
        back = 0.0
        while True:
            goal = target + tolerance - back
            self._seek(goal)
            packets = self._packets()
            packet = next(packets, None)
            near = packet and packet.is_keyframe and abs(self._time(packet) - target) < tolerance
            if near and goal > 0 and (following == inf or self._pays(self._time(packet), following + tolerance)):
                if self._alone(packet):
                    return
            else:
                self._read_on(chain([packet] if packet else [], packets))
                if goal <= 0 or (self._ahead and self._ahead[0] <= target + tolerance):
                    return
            back = max(1.0, 2 * back)

    def _read_on(self, packets: Iterable[Packet[VideoStream]]) -> None:
        self._frames = self._decoded(packets)
        self._shown, self._ahead = None, next(self._frames, None)

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        """The stream's packets from where the file stands; a read error ends them as the end of the file does."""
        try:
            for packet in self.container.demux(self.stream):
                if packet.size:
                    self.reached = self._time(packet)
                    yield packet
        except (av.error.FFmpegError, IndexError):  # PyAV's IndexError: a damaged file grew a stream while it was read
            return

    def _decoded(self, packets: Iterable[Packet[VideoStream]]) -> Iterator[Timed]:
        """Decoded frames with their times; what is damaged is passed over.

        Containers that know decoding times only (AVI) let the guessed times of neighbours swap: a time never falls.
        """
        count, time = 0, 0.0
        for packet in chain(packets, [None]):
            for frame in self._decode(packet):
                time = count / self.rate if self._counted and self.rate else max(time, self._time(frame))
                yield time, frame
                count += 1

    def _alone(self, packet: Packet) -> bool:
        """Decode one key packet without feeding the decoder what follows, so that only a seek can come after it."""
        frames = [*self._decode(packet), *self._decode(None)]
        if frames:
            self._frames, self._shown, self._ahead = None, (self._time(frames[0]), frames[0]), None
        return bool(frames)

    def _decode(self, packet: Packet | None) -> list[VideoFrame]:
        try:
            return self.stream.decode(packet)
        except av.error.FFmpegError:
            return []

    def _seek(self, seconds: float) -> None:
        """Stand at the key frame at or before a time; a stream that cannot seek is opened again at its start."""
        try:
            self.container.seek(self._pts(max(0.0, seconds)), stream=self.stream, backward=True)
        except av.error.FFmpegError:
            skip = self.stream.codec_context.skip_frame
            self.close()
            self._open()
            self.stream.codec_context.skip_frame = skip

    def _time(self, item: VideoFrame | Packet) -> float:
        pts = item.pts if item.pts is not None else item.dts
        return 0.0 if pts is None else max(0.0, self._seconds(pts))

    def _pts(self, seconds: float) -> int:
        return self._origin + int(seconds / float(self._base) + 1e-3)  # a time made from a timestamp finds it again

    def _seconds(self, pts: int) -> float:
        return float((pts - self._origin) * self._base)
