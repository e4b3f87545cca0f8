"""The tracks of a media file, as its header describes them; nothing is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from ._choice import Choice
from ._container import OPTIONS


@dataclass(frozen=True, slots=True)
class Track:
    """One track of a media file. `str` of it is a phrase, such as "video h264 1280x720"."""

    index: int
    kind: str  # video, audio, subtitle, data or attachment
    codec: str | None  # None: unknown here
    chosen: bool  # its pictures are the ones that are looked at
    reason: str  # why a video track was chosen, or not; "" for other tracks
    flags: tuple[str, ...]  # what the container marks it as: default, attached_pic ...
    language: str | None
    duration: float | None  # seconds, None where the header does not say
    frames: int | None  # None where the header does not say
    width: int | None = None  # of the stored pictures, in pixels
    height: int | None = None
    fps: float | None = None  # the average rate
    sample_rate: int | None = None  # of sound, in Hz
    channels: int | None = None

    def __str__(self) -> str:
        words = [self.kind, self.codec or "of unknown codec"]
        if self.width and self.height:
            words.append(f"{self.width}x{self.height}")
        if self.sample_rate:
            words.append(f"{self.sample_rate} Hz")
        return " ".join(words)


def tracks_of(container: InputContainer, choice: Choice | None = None) -> tuple[Track, ...]:
    """Describe the tracks of an open file; `choice` names those whose pictures are looked at."""
    return tuple(_track(stream, choice) for stream in container.streams)


def read_tracks(path: Path) -> tuple[str | None, tuple[Track, ...]]:
    """Return the format and the tracks of a file that cannot be used as a video; nothing where it is no media file."""
    if not path.is_file():  # opening a pipe would wait for a writer
        return None, ()
    try:
        with av.open(str(path.absolute()), metadata_errors="ignore", options=OPTIONS) as file:
            return file.format.name, tracks_of(file)
    except (av.error.FFmpegError, OSError, ValueError):
        return None, ()


def _track(stream: Stream, choice: Choice | None) -> Track:
    codec = stream.codec_context
    video = stream if isinstance(stream, VideoStream) and codec else None
    audio = stream if isinstance(stream, AudioStream) and codec else None
    base = stream.time_base
    return Track(
        index=stream.index,
        kind=stream.type,
        codec=codec.name if codec else None,
        chosen=choice is not None and stream.index in choice.tracks,
        reason=_reason(stream, choice) if stream.type == "video" else "",
        flags=tuple(flag.name for flag in Disposition if flag & stream.disposition and flag.name),
        language=stream.metadata.get("language"),
        duration=float(stream.duration * base) if stream.duration and base else None,
        frames=stream.frames or None,
        width=(video.codec_context.width or None) if video else None,
        height=(video.codec_context.height or None) if video else None,
        fps=float(video.average_rate) if video and video.average_rate else None,
        sample_rate=(audio.codec_context.sample_rate or None) if audio else None,
        channels=(audio.codec_context.channels or None) if audio else None,
    )


def _reason(stream: Stream, choice: Choice | None) -> str:
    if stream.disposition & Disposition.attached_pic:
        return "a cover picture"
    if stream.disposition & Disposition.timed_thumbnails:
        return "previews"
    if not stream.codec_context:
        return "its codec is unknown here"
    if choice is None:
        return ""
    return choice.reason if stream.index in choice.tracks else "another one was chosen"
