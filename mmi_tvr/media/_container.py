"""Opening media files, and refusing what is no video."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from ..errors import MediaError, UnreadableFile
from ..utils.files import is_file_system_error
from ._encryption import ENCRYPTED, is_protected_entry, is_scrambled_broadcast, is_scrambled_disc
from .names import AUDIO_SUFFIXES

OPTIONS = {
    "protocol_whitelist": "file",  # a playlist must not make us fetch what it names
    "scan_all_pmts": "1",  # MPEG-TS: the tracks of later programs, too, as in FFmpeg's players
}
_STILL_FORMATS = {"image2", "image2pipe", "ico", "apng_pipe"}  # and every "<format>_pipe"
_PLAYLIST_FORMATS = {"hls", "dash", "concat", "concatf", "imf", "sdp"}  # they name other files: never followed
_TEXT_ART_FORMATS = {"tty", "bin", "xbin", "adf", "idf"}  # FFmpeg draws plain text as pictures
_HEADER = 1 << 20  # bytes at the start of a file in which FFmpeg finds its header
_COVER = Disposition.attached_pic | Disposition.timed_thumbnails


def open_container(path: Path) -> InputContainer:
    """Open a video file, or raise MediaError with the reason why it is none."""
    return _opened(path, "a video", _check_film)


def open_recording(path: Path) -> InputContainer:
    """Open a file that may have sound, with or without pictures, or raise MediaError with the reason why not."""
    return _opened(path, "a recording", _check_sound)


def open_medium(path: Path, what: str) -> InputContainer:
    """Open a film or a recording, or raise MediaError with the reason why it is neither; `what` it is meant to be."""
    return _opened(path, what, _check_medium)


def check_file(path: Path, what: str) -> None:
    """Raise MediaError where a path that is to be `what` ("a video") is no file with bytes in it."""
    if path.is_dir():
        raise MediaError(path, f"is a folder, not {what} file")
    if not path.exists():
        raise UnreadableFile(path, "a link that points to nothing" if path.is_symlink() else "no such file")
    if not path.is_file():  # opening a pipe would wait for a writer
        raise MediaError(path, "is not a regular file")
    if path.stat().st_size == 0:
        raise MediaError(path, "is empty (0 bytes)")


def _opened(path: Path, what: str, check: Callable[[Path, InputContainer], None]) -> InputContainer:
    """Open a media file that is to be `what`, as `check` finds."""
    try:
        check_file(path, what)
        container = av.open(str(path.absolute()), mode="r", metadata_errors="ignore", options=OPTIONS)
    except PermissionError as error:
        raise UnreadableFile(path, "may not be read (permission denied)") from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, av.error.InvalidDataError) and is_scrambled_broadcast(path):
            raise MediaError(path, ENCRYPTED) from error
        if isinstance(error, OSError) and is_file_system_error(error) and not _is_about_bytes(error, path):
            raise UnreadableFile(path, f"cannot be read ({error.strerror})") from error
        raise MediaError(path, "is not a media file, or its header is damaged or cut off") from error
    try:
        _check_format(path, container, what)
        check(path, container)
    except MediaError:
        container.close()
        raise
    return container


def _is_about_bytes(error: OSError, path: Path) -> bool:
    """Whether an input/output error is FFmpeg's word for a header that is cut off: the file itself can be read."""
    if error.errno != errno.EIO or not isinstance(error, av.error.FFmpegError):
        return False
    try:
        with path.open("rb") as file:
            return bool(file.read(_HEADER))
    except OSError:
        return False


def is_still(format_name: str) -> bool:
    """Return whether FFmpeg's name of a format is one of still pictures."""
    formats = set(format_name.split(","))
    return bool(formats & _STILL_FORMATS) or all(name.endswith("_pipe") for name in formats)


def is_film(stream: Stream) -> bool:
    """Return whether a stream is a video, not the cover picture of a song or a row of previews."""
    return isinstance(stream, VideoStream) and not stream.disposition & _COVER


def _check_format(path: Path, container: InputContainer, what: str) -> None:
    """Raise MediaError where the format is neither one of films nor one of sound."""
    formats = set(container.format.name.split(","))
    if is_still(container.format.name):
        raise MediaError(path, f"is a still image, not {what}")
    if formats & _PLAYLIST_FORMATS:
        raise MediaError(path, f"is a playlist, not {what} file")
    if formats & _TEXT_ART_FORMATS:
        raise MediaError(path, f"is a text file, not {what}")


def _check_medium(path: Path, container: InputContainer) -> None:
    """Raise MediaError where the container opens and is neither a film nor a recording."""
    if path.suffix.lower() in AUDIO_SUFFIXES and not (container.streams.audio or container.streams.video):
        raise MediaError(path, "has no sound")
    if container.streams.audio and not any(is_film(stream) for stream in container.streams.video):
        _check_sound(path, container)
    else:
        _check_film(path, container)


def _check_sound(path: Path, container: InputContainer) -> None:
    """Raise MediaError where there is sound that nothing here decodes."""
    if container.streams.audio and not any(stream.codec_context for stream in container.streams.audio):
        raise MediaError(path, ENCRYPTED if is_protected_entry(path) else "its audio codec is unknown here")


def _check_film(path: Path, container: InputContainer) -> None:
    """Raise MediaError where the container opens and is still no video."""
    films = [stream for stream in container.streams.video if is_film(stream)]
    if not films:
        raise MediaError(path, "has sound but no video stream" if container.streams.audio else "has no video stream")
    if not any(stream.codec_context for stream in films):
        raise MediaError(path, ENCRYPTED if is_protected_entry(path) else "its video codec is unknown here")
    if is_scrambled_disc(path, container):
        raise MediaError(path, ENCRYPTED)
