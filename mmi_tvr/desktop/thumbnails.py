"""Pictures of files in the cache that desktops share (freedesktop's thumbnail specification).

Those that file managers made are used. Where a file has none, one is made of the moment that was found: the
specification asks for a picture of the file, and says of no frame that it must be the one.
"""

from __future__ import annotations

import hashlib
import io
import os
from contextlib import suppress
from pathlib import Path

from PIL import Image, PngImagePlugin

from ..errors import MediaError
from ..media.guarded import DecoderPool
from ..types import Video
from ..utils.addresses import file_uri
from ..utils.desktop_files import xdg_folder
from ..utils.files import SOFTWARE, draft_of

_SIZES = {"large": 256, "x-large": 512, "xx-large": 1024, "normal": 128}  # folders, in the order of our liking
_NEW = "large"
_SPAN = 0.2  # seconds around a moment, of which one frame is decoded
_MAX_PNG = 16 << 20  # bytes


class ThumbnailCache:
    """The thumbnails of a user. For any number of threads."""

    def __init__(self, decoders: DecoderPool) -> None:
        """decoders: what decodes where a thumbnail is missing."""
        self._decoders = decoders

    @property
    def folder(self) -> Path:
        """Where the cache lies ($XDG_CACHE_HOME/thumbnails)."""
        return xdg_folder("XDG_CACHE_HOME", ".cache") / "thumbnails"

    def stored(self, path: Path) -> Path | None:
        """Return the thumbnail of a file as it is now; None where there is none."""
        try:
            mtime = str(int(path.stat().st_mtime))
        except OSError:
            return None
        uri = file_uri(path)
        for size in _SIZES:
            thumbnail = self.folder / size / _name(uri)
            with suppress(OSError, ValueError, SyntaxError):  # Pillow says SyntaxError of a broken PNG
                if thumbnail.stat().st_size > _MAX_PNG:
                    continue
                with Image.open(thumbnail, formats=["PNG"]) as picture:
                    notes = picture.text if isinstance(picture, PngImagePlugin.PngImageFile) else {}
                    if notes.get("Thumb::MTime") == mtime:
                        return thumbnail
        return None

    def make(self, path: Path, second: float, is_picture: bool = False) -> Path | None:
        """Make the thumbnail of a file, a film at a second or a picture; None where that is not possible.

        What lies in the cache itself gets none, as the specification says.
        """
        if Path(os.path.abspath(path)).is_relative_to(self.folder):
            return None
        try:
            status = path.stat()
            video = Video(path, max(0.0, second - _SPAN / 2), second + _SPAN / 2, is_picture)
            _, frames = self._decoders.sample(video, 1 / _SPAN, 1, _SIZES[_NEW])
        except (OSError, MediaError):
            return None
        picture = Image.fromarray(frames.pixels[0])
        picture.thumbnail((_SIZES[_NEW], _SIZES[_NEW]))
        uri = file_uri(path)
        notes = PngImagePlugin.PngInfo()
        for key, value in {
            "Thumb::URI": uri,
            "Thumb::MTime": str(int(status.st_mtime)),
            "Thumb::Size": str(status.st_size),
            **SOFTWARE,
        }.items():
            notes.add_text(key, value)
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", pnginfo=notes)
        target = self.folder / _NEW / _name(uri)
        try:
            for folder in (self.folder.parent, self.folder, target.parent):
                folder.mkdir(mode=0o700, exist_ok=True)
            with (
                draft_of(target) as draft,
                open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
            ):
                file.write(buffer.getvalue())
        except OSError:
            return None
        return target


def pixels_of(thumbnail: Path, size: int = 128) -> tuple[int, int, int, bool, int, int, bytes] | None:
    """Return a thumbnail as desktops take pixels on the bus: width, height, bytes a row, whether it has alpha, bits a
    channel, channels, bytes. None where it cannot be read."""
    try:
        with Image.open(thumbnail, formats=["PNG"]) as picture:
            small = picture.convert("RGBA")
            small.thumbnail((size, size))
    except (OSError, ValueError, SyntaxError):
        return None
    return small.width, small.height, 4 * small.width, True, 8, 4, small.tobytes()


def _name(uri: str) -> str:
    return hashlib.md5(uri.encode("ascii"), usedforsecurity=False).hexdigest() + ".png"
