"""Sound as data: one track of a recording as 16 kHz mono, piece by piece, on a player's clock.

Decisions: of several tracks that are decodable the one is taken that is no commentary and no description for the blind,
then the one that the container marks as its default, then the first. 0:00 is the start of the container, as for
pictures (`video`). Nothing is seeked: a piece in the middle is reached by reading over what lies before it, undecoded,
because seeking is inexact in many formats of sound. Where nothing was recorded (a gap of more than a second) a piece
ends, and the next one starts behind the gap; shorter gaps are silence. Damaged packets are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.format import Flags
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream
from numpy.typing import NDArray

from ..errors import MediaError
from ._container import open_recording
from ._encryption import ENCRYPTED, is_encrypted_packet
from ._timeline import Timeline

RATE = 16_000  # samples per second
SECONDS = 30  # of a piece, at most
_LONGEST = SECONDS * RATE  # samples

_SIDE_TRACKS = (
    Disposition.comment
    | Disposition.visual_impaired
    | Disposition.hearing_impaired
    | Disposition.karaoke
    | Disposition.clean_effects
)
_GAP = 1.0  # seconds without sound that end a piece
_SHORTEST = 0.02  # seconds of sound between two gaps, below which it is none: time stamps that are damaged
_FASTEST = 10_000_000  # samples a second; more is a damaged header, and would keep the resampler busy for minutes
_JITTER = 0.1  # seconds by which time stamps may be off before they count for more than the samples
_NOTHING = "none of its sound can be decoded (damaged or cut off)"
_RUN_UP = 1.0  # seconds that are decoded before the piece that is asked for: a codec needs what came before

Samples = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class SoundPiece:
    """A stretch of sound: `samples` (N,), 16 kHz mono, from the second `start` on."""

    start: float
    samples: Samples

    @property
    def end(self) -> float:
        """The second at which it ends."""
        return self.start + len(self.samples) / RATE


def read_sound(path: Path, start: float = 0.0) -> Iterator[SoundPiece]:
    """Yield the sound of a recording from a second on, in pieces of at most `SECONDS`, in order of time.

    A film without a sound track has no pieces. Raises MediaError where the file cannot be opened, or none of its sound
    can be decoded.
    """
    container = open_recording(path)
    try:
        if container.streams.audio:
            yield from _Pieces(start).of(_frames(path, container, _track(container), start), path)
    finally:
        container.close()


def require_sound(path: Path, container: InputContainer) -> None:
    """Decode one frame of an open recording. Raises MediaError where there is none."""
    if next(_frames(path, container, _track(container), 0.0), None) is None:
        raise MediaError(path, _NOTHING)


def _track(container: InputContainer) -> AudioStream:
    """Choose the track that is listened to."""
    tracks = [stream for stream in container.streams.audio if stream.codec_context]
    tracks = [track for track in tracks if not track.disposition & _SIDE_TRACKS] or tracks
    return next((track for track in tracks if track.disposition & Disposition.default), tracks[0])


def _frames(
    path: Path, container: InputContainer, track: AudioStream, start: float
) -> Iterator[tuple[float | None, AudioFrame]]:
    """Yield decoded frames of a track, and the second at which each begins; None where the file does not say."""
    may_jump = Flags.ts_discont in Flags(container.format.flags)
    timeline = Timeline(may_jump)
    base = track.time_base or Fraction(1, av.time_base)
    origin = container.start_time / av.time_base if container.start_time is not None else 0.0
    for packet in _packets(container, None if may_jump else track):
        timeline.correct(packet)
        if packet.stream_index != track.index:
            continue
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is not None and float(stamp * base) - origin < start - _RUN_UP:
            continue
        if is_encrypted_packet(cast("Packet[VideoStream]", packet)):
            raise MediaError(path, ENCRYPTED)
        try:
            frames = cast("list[AudioFrame]", packet.decode())
        except (av.error.FFmpegError, ValueError):  # a damaged packet
            continue
        for frame in frames:
            if frame.sample_rate > _FASTEST:
                continue
            yield (None if frame.pts is None else float(frame.pts * (frame.time_base or base)) - origin), frame


def _packets(container: InputContainer, track: AudioStream | None) -> Iterator[Packet[Stream]]:
    """The packets of a track (None: of all) and what ends decoding; a read error ends them as the end of the file."""
    try:
        yield from cast("Iterator[Packet[Stream]]", container.demux(track) if track else container.demux())
    except (av.error.FFmpegError, IndexError):
        return


class _Pieces:
    """Puts resampled sound on the clock, which counts samples, and cuts it into pieces."""

    def __init__(self, start: float) -> None:
        self._start = round(start * RATE)
        self._position: int | None = None  # of the next sample; None before the first
        self._shift = 0  # what time stamps are corrected by
        self._samples: list[Samples] = []  # of the piece that is being put together
        self._count = 0  # samples in it
        self._resampler = AudioResampler("s16", "mono", RATE)
        self._layout: tuple[str, str, int] | None = None  # of what the resampler takes
        self._mixes = True  # the channels of that layout, or has to be given their mean

    def of(self, frames: Iterator[tuple[float | None, AudioFrame]], path: Path) -> Iterator[SoundPiece]:
        """Yield the pieces. MediaError where there is not one frame."""
        for time, frame in frames:
            yield from self._placed(None if time is None else round(time * RATE), frame)
        if self._position is not None:
            yield from self._flushed()
            yield from self._closed()
        elif self._start == 0:
            raise MediaError(path, _NOTHING)

    def _placed(self, stamp: int | None, frame: AudioFrame) -> Iterator[SoundPiece]:
        """Resample a frame and put it where it belongs."""
        if self._position is None:
            self._position = stamp or 0
        layout = (frame.format.name, frame.layout.name, frame.sample_rate)
        if layout != self._layout:  # some recordings change it midway
            yield from self._flushed()
            self._layout, self._mixes = layout, _can_be_mixed(frame)
        if stamp is not None and abs(stamp + self._shift - self._position) > _JITTER * RATE:
            yield from self._flushed()
            yield from self._moved(stamp)
        frame = frame if self._mixes else _mean_of_channels(frame)
        frame.pts = None  # the clock is kept here; the resampler would fill gaps by its own
        yield from self._appended(self._resampled(frame))

    def _moved(self, stamp: int) -> Iterator[SoundPiece]:
        """Go on over a gap; where time goes back, the clock goes on from where it is."""
        assert self._position is not None
        gap = stamp + self._shift - self._position
        if gap < 0:
            self._shift -= gap
        elif gap > _GAP * RATE:
            if self._count >= _SHORTEST * RATE:
                yield from self._closed()
            self._samples, self._count = [], 0
            self._position += gap
        else:
            yield from self._appended(np.zeros(gap, np.int16))

    def _flushed(self) -> Iterator[SoundPiece]:
        """Take what the resampler still holds, and begin with a new one."""
        if self._layout is not None:
            yield from self._appended(self._resampled(None))
        self._resampler = AudioResampler("s16", "mono", RATE)

    def _resampled(self, frame: AudioFrame | None) -> Samples:
        parts = [part.to_ndarray().reshape(-1) for part in self._resampler.resample(frame)]
        return np.concatenate(parts) if parts else np.zeros(0, np.int16)

    def _appended(self, samples: Samples) -> Iterator[SoundPiece]:
        """Add samples behind the others, and yield the pieces that are full."""
        assert self._position is not None
        before = min(len(samples), max(0, self._start - self._position))  # what nobody asks for
        self._position += before
        samples = samples[before:]
        while len(samples):
            part = samples[: _LONGEST - self._count]
            self._samples.append(part)
            self._count += len(part)
            self._position += len(part)
            samples = samples[len(part) :]
            if self._count == _LONGEST:
                yield from self._closed()

    def _closed(self) -> Iterator[SoundPiece]:
        """Yield what was put together as a piece, and begin the next."""
        if self._count:
            assert self._position is not None
            yield SoundPiece((self._position - self._count) / RATE, np.concatenate(self._samples))
        self._samples, self._count = [], 0


def _can_be_mixed(frame: AudioFrame) -> bool:
    """Return whether FFmpeg knows what the channels of a frame are, so that it can make one of them."""
    silence = AudioFrame(format=frame.format.name, layout=frame.layout.name, samples=64)
    silence.sample_rate = frame.sample_rate
    try:
        AudioResampler("s16", "mono", RATE).resample(silence)
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _mean_of_channels(frame: AudioFrame) -> AudioFrame:
    """Return a frame with the mean of all channels."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    mean = samples.astype(np.float64).mean(axis=0, keepdims=True)
    if samples.dtype == np.uint8:
        mean -= 128
    if samples.dtype.kind != "f":
        mean /= 2.0 ** (8 * samples.itemsize - 1)
    mono = AudioFrame.from_ndarray(mean.astype(np.float32), format="flt", layout="mono")
    mono.sample_rate = frame.sample_rate
    return mono
