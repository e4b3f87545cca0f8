"""All that can be said about a file, usable or not: what `mmi-tvr probe` shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..errors import MediaError
from ..types import Pixels
from .tracks import Track, read_tracks
from .video import MediaInfo, open_video

Picture = tuple[float, Pixels]  # seconds, and (H, W, 3)


@dataclass(frozen=True, slots=True)
class PictureOptions:
    """Which pictures of a file are wanted."""

    fps: float = 2.0  # pictures per second
    limit: int = 64  # at most so many
    size: int = 1080  # the shorter side in pixels; smaller ones stay as they are


@dataclass(frozen=True, slots=True)
class FileReport:
    """What a file holds, and why it cannot be used where it cannot."""

    path: Path
    info: MediaInfo | None = None  # None where it cannot be used
    container: str | None = None  # FFmpeg's name of the format; None where it is no media file
    tracks: tuple[Track, ...] = ()
    pictures: list[Picture] = field(default_factory=list)
    error: str | None = None  # the reason for which indexing sets the file aside


def report_on(path: Path, options: PictureOptions | None = None) -> FileReport:
    """Look at a file, and sample pictures of it where there are options; a file that cannot be used says why."""
    try:
        with open_video(path) as video:
            pictures = [] if options is None else video.pictures(options.fps, options.limit, options.size)
            info = video.info
        return FileReport(path, info, info.container, info.tracks, pictures)
    except MediaError as error:
        container, tracks = read_tracks(path)
        return FileReport(path, None, container, tracks, error=error.reason)
