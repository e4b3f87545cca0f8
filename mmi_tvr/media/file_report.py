"""All that can be said about a file, usable or not: what `mmi-tvr probe` shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import MediaError
from ..types import MediaKind, Pixels
from ._container import check_file, is_still
from .names import PICTURE_SUFFIXES
from .picture_facts import PictureFacts
from .signatures import picture_format
from .tracks import Track, read_tracks
from .video import MediaInfo, open_video, picture_info

_GLANCE = 64  # pixels: the shorter side at which it is tried whether a picture can be decoded
_NO_FILM = frozenset(("attached_pic", "timed_thumbnails"))  # flags of tracks with covers and previews
Picture = tuple[float, Pixels]  # seconds, and (H, W, 3)


@dataclass(frozen=True, slots=True)
class PictureOptions:
    """Which pictures of a file are wanted."""

    fps: float = 2.0  # pictures per second
    limit: int = 64  # at most so many
    size: int = 1080  # the shorter side in pixels; smaller ones stay as they are


@dataclass(frozen=True, slots=True)
class FileReport:
    """What a file holds, and why it cannot be used where it cannot.

    `kind` goes by the bytes of the file, whatever its name is; None for what is no medium at all.
    """

    path: Path
    kind: MediaKind | None = None
    info: MediaInfo | None = None  # None where it cannot be used
    container: str | None = None  # FFmpeg's name of the format; None where it is no media file
    tracks: tuple[Track, ...] = ()
    pictures: list[Picture] = field(default_factory=list)
    facts: PictureFacts | None = None  # of a picture
    error: str | None = None  # the reason for which it cannot be used


def report_on(path: Path, options: PictureOptions | None = None) -> FileReport:
    """Look at a file, and sample pictures of it where there are options; a file that cannot be used says why."""
    is_picture = _is_picture(path)
    if is_picture:
        return _picture_report(path, options)
    try:
        with open_video(path) as video:
            pictures = [] if options is None else video.pictures(options.fps, options.limit, options.size)
            info = video.info
        return FileReport(path, "video", info, info.container, info.tracks, pictures)
    except MediaError as error:
        container, tracks = read_tracks(path)
        reason = error.reason
        if is_picture is False and _is_nothing(container) and path.suffix.lower() in PICTURE_SUFFIXES:
            reason = "is no picture"
        return FileReport(path, _kind(container, tracks), None, container, tracks, error=reason)


def _is_nothing(container: str | None) -> bool:
    """Whether FFmpeg, too, knows a file by its name at most."""
    return container is None or is_still(container)


def _kind(container: str | None, tracks: Sequence[Track]) -> MediaKind | None:
    """What a file would be that cannot be used as a film."""
    if _is_nothing(container):
        return None
    if any(track.kind == "video" and not _NO_FILM & set(track.flags) for track in tracks):
        return "video"
    return "audio" if any(track.kind == "audio" for track in tracks) else None


def _is_picture(path: Path) -> bool | None:
    """Whether a file is a picture by its bytes; None where it cannot be opened, which opening it as a film says."""
    try:
        check_file(path, "a media")
        return picture_format(path) is not None
    except (MediaError, OSError):
        return None


def _picture_report(path: Path, options: PictureOptions | None) -> FileReport:
    """Look at a picture, which is decoded small where no options are given."""
    from .pictures import open_still  # here: most workers never see a picture

    chosen = options or PictureOptions(limit=1, size=_GLANCE)
    try:
        with open_still(path) as picture:
            frames = picture.sample(chosen.fps, chosen.limit, chosen.size)
            facts = picture.facts()
            info = picture_info(path, facts, picture.orientation)
        pictures = list(zip(frames.times.tolist(), frames.pixels, strict=True)) if options else []
        return FileReport(path, "image", info, facts.format, (), pictures, facts)
    except MediaError as error:
        return FileReport(path, "image", error=error.reason)
