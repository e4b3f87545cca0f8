"""Which format of pictures a file is of, by its first bytes."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from .names import RAW_SUFFIXES

RAW, HEIC, JPEG_XL = "RAW", "HEIC", "JPEG XL"  # formats that Pillow does not read by itself
_HEADER = 64  # bytes
_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"FUJIFILMCCD-RAW", RAW),
    (b"IIU\0", RAW),  # Panasonic
    (b"IIRO", RAW),  # Olympus
    (b"IIRS", RAW),
    (b"MMOR", RAW),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", JPEG_XL),
    (b"\xff\x0a", JPEG_XL),
    (b"qoif", "QOI"),
)
_HEIC_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
_AVIF_BRANDS = frozenset((b"avif", b"avis"))
_BITMAP_HEADERS = frozenset((12, 16, 40, 52, 56, 64, 108, 124))  # bytes that a BMP's second header may have
_SUBFILE_TYPE, _MAKE, _SUB_IMAGES, _DNG_VERSION = 254, 271, 330, 50706  # tags of TIFF
_MOST_TAGS = 512


def picture_format(path: Path) -> str | None:
    """Return the format of a picture file, as Pillow calls it where it reads it; None for what is no picture.

    RAW photos of most cameras are TIFF files whose first picture is a thumbnail: they are told by their tags, and by
    the file's suffix where it is one of such a camera. Raises OSError where the file cannot be read.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER)
        name = _by_header(header)
        if name == "TIFF" and (header[8:10] == b"CR" or path.suffix.lower() in RAW_SUFFIXES or _has_raw_tags(file)):
            return RAW
    return name


def is_picture(path: Path) -> bool:
    """Return whether a file is a picture by its bytes; one that cannot be read is none."""
    try:
        return picture_format(path) is not None
    except OSError:
        return False


def _by_header(header: bytes) -> str | None:
    for signature, name in _SIGNATURES:
        if header.startswith(signature):
            return name
    if header[4:8] == b"ftyp":
        return _by_brands(header)
    if header[:4] == b"RIFF" and header[8:12] == b"WEBP":
        return "WEBP"
    if header[:2] == b"BM" and int.from_bytes(header[14:18], "little") in _BITMAP_HEADERS:
        return "BMP"
    if header[:1] == b"P" and header[1:2] in (b"1", b"2", b"3", b"4", b"5", b"6") and header[2:3].isspace():
        return "PPM"
    return None


def _by_brands(header: bytes) -> str | None:
    """The format of a file of boxes, as MP4 is, by the brands that it names."""
    length = min(int.from_bytes(header[:4], "big"), len(header))
    major, others = header[8:12], {header[at : at + 4] for at in range(16, length, 4)}
    if major == b"crx ":
        return RAW
    if major in _AVIF_BRANDS or (major in _HEIC_BRANDS and others & _AVIF_BRANDS):
        return "AVIF"
    return HEIC if major in _HEIC_BRANDS else None


def _has_raw_tags(file: BinaryIO) -> bool:
    """Whether the first list of tags in a TIFF file is that of a camera's RAW photo."""
    tags: dict[int, int] = {}
    with suppress(struct.error, OSError, OverflowError):  # a damaged file: its reader will say so
        file.seek(0)
        order = "<" if file.read(2) == b"II" else ">"
        _, offset = struct.unpack(order + "HI", file.read(6))
        file.seek(offset)
        (count,) = struct.unpack(order + "H", file.read(2))
        for _ in range(min(count, _MOST_TAGS)):
            tag, value = struct.unpack(order + "H6xI", file.read(12))
            tags[tag] = value
    is_thumbnail = tags.get(_SUBFILE_TYPE) == 1
    return _DNG_VERSION in tags or (is_thumbnail and {_MAKE, _SUB_IMAGES} <= tags.keys())
