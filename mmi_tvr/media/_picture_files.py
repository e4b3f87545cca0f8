"""Opening picture files: each format by its reader, and what is damaged as far as it can be decoded."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

from PIL import Image

from ..errors import MediaError, MissingExtra, UnreadableFile
from ..utils.files import is_file_system_error
from ..utils.installation import require
from ._container import check_file
from ._picture_exif import EXIF_TAGS, GPS_TAGS, ORIENTATION
from .signatures import HEIC, JPEG_XL, RAW, picture_format

EXTRA = "photos"
_FLIPS = {3: Image.Transpose.ROTATE_180, 5: Image.Transpose.ROTATE_90, 6: Image.Transpose.ROTATE_270}  # LibRaw's
# Decision: pictures of more are set aside unread (a bomb, or a map); Pillow refuses larger ones, too. Of a JPEG those
# count that are decoded: at an eighth of its sides where no more is needed, unless it must be in memory whole
# (progressive).
MOST_PIXELS = 178_000_000
_DAMAGED = "none of it can be decoded (damaged or cut off)"
CUT_OFF = "it is damaged or cut off: shown as far as it can be decoded"
_SHRINKING = ("JPEG", "MPO")  # formats that can be decoded at a share of their size
_JPEG_END = b"\xff\xd9"


def format_of(path: Path) -> str | None:
    """Return the format of a picture file; None for what is no picture. MediaError for what cannot be opened."""
    try:
        check_file(path, "a picture")
        return picture_format(path)
    except OSError as error:
        raise UnreadableFile(path, f"cannot be read ({error.strerror or error})") from error


def open_picture(path: Path, format_name: str) -> Image.Image:
    """Open a picture, undecoded where its format allows that.

    Args:
        path: of the file.
        format_name: its format, as `format_of` says.

    Raises:
        MediaError: its header is damaged, or nothing here reads the format.
        UnreadableFile: it cannot be read now, be it for want of a package.
    """
    if format_name == JPEG_XL:
        raise MediaError(path, "is a JPEG XL picture, which is not read here")
    try:
        image = _open(path, format_name)
        try:
            _check_size(image, path)
        except MediaError:
            image.close()
            raise
        return image
    except MissingExtra as error:
        raise UnreadableFile(path, f"is a {format_name} photo: {error}") from error
    except (MediaError, MemoryError):
        raise
    except OSError as error:
        raise _of_system(path, error, "is no picture, or its header is damaged or cut off") from error
    except Exception as error:  # whatever a damaged file makes of a format's reader: SyntaxError, RuntimeError, ...
        raise MediaError(path, "is no picture, or its header is damaged or cut off") from error


def _open(path: Path, format_name: str) -> Image.Image:
    if format_name == RAW:
        return _open_raw(path)
    if format_name == HEIC:
        require("pi_heif", EXTRA).register_heif_opener(thumbnails=False)
        format_name = "HEIF"
    return _open_as(format_name, path, str(path))


def _open_as(format_name: str, path: Path, source: str | io.BytesIO) -> Image.Image:
    """Open by the reader of a format; `Image.open` would refuse large pictures before it is known what they take."""
    Image.init()
    if format_name not in Image.OPEN:
        raise MediaError(path, f"is a {format_name} picture, which this Pillow does not read")
    return Image.OPEN[format_name][0](source, path.name)  # type: ignore[arg-type]


def _open_raw(path: Path) -> Image.Image:
    """The preview that the camera put into a RAW photo, or, where it is small or missing, the photo developed.

    Decision: the preview, because it looks as the camera showed it, and costs a tenth. What LibRaw refuses may still be
    a plain TIFF.
    """
    rawpy = require("rawpy", EXTRA)
    try:
        with rawpy.imread(str(path)) as raw:
            with suppress(rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError, OSError, SyntaxError):
                preview = raw.extract_thumb()
                if preview.format == rawpy.ThumbFormat.JPEG:
                    image = _open_as("JPEG", path, io.BytesIO(preview.data))
                    if 2 * max(image.size) >= max(raw.sizes.width, raw.sizes.height):
                        return _turned(image, raw.sizes.flip)
            # Turned upright by LibRaw, which is why it has no EXIF data here.
            return Image.fromarray(raw.postprocess(use_camera_wb=True, half_size=True))
    except rawpy.LibRawError as error:
        with suppress(Exception):
            return _open_as("TIFF", path, str(path))
        raise MediaError(path, "is a RAW photo that cannot be decoded (damaged, or of an unknown camera)") from error


def _turned(preview: Image.Image, flip: int) -> Image.Image:
    """A preview as it stands, where it says how it is turned; else turned as LibRaw says of the photo."""
    if flip not in _FLIPS or ORIENTATION in preview.getexif():
        return preview
    return preview.transpose(_FLIPS[flip])


def raw_tags(path: Path) -> Image.Exif:
    """Return the tags of a RAW photo, without its orientation; none where it is no TIFF file, as most are."""
    tags = Image.Exif()
    try:
        with path.open("rb") as photo:
            tags.load_from_fp(photo)
            tags.get_ifd(EXIF_TAGS)  # while the file is open
            tags.get_ifd(GPS_TAGS)
    except SyntaxError:
        return Image.Exif()
    tags.pop(ORIENTATION, None)
    return tags


def load(image: Image.Image, path: Path, shorter: int) -> tuple[Image.Image, bool]:
    """Decode a picture and return it, and whether all of it could be decoded.

    Args:
        image: that was opened, at the frame that is meant.
        path: of its file.
        shorter: pixels that its shorter side has at least; a JPEG is decoded at a half, a quarter or an eighth of its
            size where that has as many.

    Raises:
        MediaError: it is too large, or nothing of it can be decoded.
        UnreadableFile: the file cannot be read now.
    """
    _reduce(image, shorter)
    _check_size(image, path, reduced=True)
    try:
        image.load()
        return image, True
    except MemoryError:  # which the worker answers
        raise
    except OSError as error:
        if is_file_system_error(error):
            raise _of_system(path, error, _DAMAGED) from error
        return _partly(image, path, shorter), False
    except Exception:  # whatever a damaged file makes of a format's reader
        return _partly(image, path, shorter), False


def _check_size(image: Image.Image, path: Path, reduced: bool = False) -> None:
    """Raise MediaError where decoding a picture would take too much memory; of a JPEG that is known once it is
    `reduced`."""
    width, height = image.size
    may_shrink = image.format in _SHRINKING and not reduced and not image.info.get("progressive")
    if width * height > MOST_PIXELS and not may_shrink:
        raise MediaError(
            path, f"is of {width:,} x {height:,} pixels, more than the {MOST_PIXELS // 1_000_000} million read here"
        )


def _reduce(image: Image.Image, shorter: int) -> None:
    """Let a JPEG be decoded at a share of its size."""
    if image.format in _SHRINKING and shorter < min(image.size):
        scale = shorter / min(image.size)
        image.draft(image.mode, (round(image.width * scale), round(image.height * scale)))


def _partly(image: Image.Image, path: Path, shorter: int) -> Image.Image:
    """What can be decoded of a picture whose reader stopped in the middle."""
    try:
        if image.format in _SHRINKING and path.stat().st_size <= MOST_PIXELS:
            image = _open_as("JPEG", path, io.BytesIO(path.read_bytes() + _JPEG_END))
            _reduce(image, shorter)
            image.load()
        else:
            image.tile = []  # type: ignore[attr-defined]  # nothing more is to be decoded
            image.load()
        lows_and_highs = image.getextrema()
    except MemoryError:
        raise
    except Exception as error:
        raise MediaError(path, _DAMAGED) from error
    if all(low == high for low, high in _pairs(lows_and_highs)):
        raise MediaError(path, _DAMAGED)
    return image


def _pairs(extrema: tuple[float, float] | tuple[tuple[int, int], ...]) -> list[tuple[float, float]]:
    """The least and the largest value of each channel: Pillow says them flat where there is one."""
    return [pair if isinstance(pair, tuple) else extrema for pair in extrema]  # type: ignore[misc]


def _of_system(path: Path, error: OSError, reason: str) -> MediaError:
    """The error for what the system, or a format's reader, says."""
    if is_file_system_error(error):
        return UnreadableFile(path, f"cannot be read ({error.strerror or error})")
    return MediaError(path, reason)
