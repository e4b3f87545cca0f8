"""The files of items, whole or a range of bytes.

What is sent is the file that was indexed, or nothing: it is opened first, and the open file must have the size and the
time of change that the catalogue knows. A file that was replaced meanwhile, by another one or by a link to anywhere, is
refused, and so is whatever is no regular file.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import anyio
from fastapi import HTTPException
from fastapi.responses import Response, StreamingResponse

from ..library.items import LibraryItem
from ..media.signatures import picture_format
from ..types import MediaKind

_BLOCK = 256 << 10  # bytes that are read at once
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_TYPES = {
    ".3gp": "video/3gpp", ".aac": "audio/aac", ".aif": "audio/aiff", ".aiff": "audio/aiff", ".amr": "audio/amr",
    ".avi": "video/x-msvideo", ".avif": "image/avif", ".bmp": "image/bmp", ".flac": "audio/flac", ".gif": "image/gif",
    ".heic": "image/heic", ".heif": "image/heif", ".jp2": "image/jp2", ".jpeg": "image/jpeg", ".jpg": "image/jpeg",
    ".m4a": "audio/mp4", ".m4b": "audio/mp4", ".m4v": "video/mp4", ".mka": "audio/x-matroska",
    ".mkv": "video/x-matroska", ".mov": "video/quicktime", ".mp3": "audio/mpeg", ".mp4": "video/mp4",
    ".mpg": "video/mpeg", ".oga": "audio/ogg", ".ogg": "audio/ogg", ".ogv": "video/ogg", ".opus": "audio/ogg",
    ".png": "image/png", ".tif": "image/tiff", ".tiff": "image/tiff", ".ts": "video/mp2t", ".wav": "audio/wav",
    ".webm": "video/webm", ".webp": "image/webp", ".wma": "audio/x-ms-wma", ".wmv": "video/x-ms-wmv",
}  # fmt: skip
# What containers of films are called where they hold sound alone.
_SOUND_OF = {"video/mp4": "audio/mp4", "video/webm": "audio/webm", "video/x-matroska": "audio/x-matroska"}


@dataclass(frozen=True, slots=True)
class OpenFile:
    """An open file of an item: `handle` is the system's, `size` in bytes."""

    path: Path
    handle: int
    size: int


def open_file(item: LibraryItem) -> OpenFile:
    """Open the first file of an item that is still as it was indexed.

    Raises HTTPException: 404 where all are gone, 409 where what is there is another file.
    """
    changed = False
    for file in item.files:
        try:
            handle = os.open(file.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue
        status = os.fstat(handle)
        if stat.S_ISREG(status.st_mode) and file.is_unchanged(status):
            return OpenFile(file.path, handle, status.st_size)
        os.close(handle)
        changed = True
    if changed:
        raise HTTPException(
            409, "the file has changed since it was indexed; mmi-tvr index brings the library up to date"
        )
    raise HTTPException(404, "the file is not there any more, or its disk is away")


def unchanged_file(item: LibraryItem) -> Path:
    """Return the path of the first file of an item that is still as it was indexed. Raises as `open_file`."""
    opened = open_file(item)
    os.close(opened.handle)
    return opened.path


def media_response(item: LibraryItem, method: str, range_header: str | None, if_range: str | None = None) -> Response:
    """Return a file of an item, or the range of bytes that a client wants of it; the file, where the client has the
    beginning of another one (`if_range`, the entity tag of what it has).

    Several ranges at once are one whole file (RFC 9110 allows it): nobody plays a film by them, and a thousand that
    overlap would be a thousand copies.
    """
    opened = open_file(item)
    tag = f'"{item.sha256}"'
    try:
        first, last = _span(range_header if if_range in (None, tag) else None, opened.size)
    except BaseException:
        os.close(opened.handle)
        raise
    partial = first is not None
    start, end = (first or 0), (opened.size - 1 if last is None else last)
    headers = {
        "accept-ranges": "bytes",
        "cache-control": "private, no-cache",
        "content-disposition": f"inline; filename*=UTF-8''{quote(os.fsencode(opened.path.name), safe='')}",
        "content-length": str(max(0, end - start + 1)),
        "etag": tag,
    }
    if partial:
        headers["content-range"] = f"bytes {start}-{end}/{opened.size}"
    media_type = _media_type(opened.path, item.facts.kind)
    status = 206 if partial else 200
    if method == "HEAD":
        os.close(opened.handle)
        return Response(status_code=status, headers=headers, media_type=media_type)
    return _FileResponse(opened, start, end, status_code=status, headers=headers, media_type=media_type)


def _media_type(path: Path, kind: MediaKind) -> str:
    """Return the type of a file that is of a kind by its bytes: by its name, where that does not say another kind; else
    a picture's by its bytes.

    >>> _media_type(Path("a.JPG"), "image"), _media_type(Path("a.mp4"), "audio"), _media_type(Path("a.jpg"), "video")
    ('image/jpeg', 'audio/mp4', 'application/octet-stream')
    """
    by_name = _TYPES.get(path.suffix.lower(), "")
    if kind == "audio":
        by_name = _SOUND_OF.get(by_name, by_name)
    if by_name.startswith(f"{kind}/"):
        return by_name
    return f"image/{(picture_format(path) or 'x').lower()}" if kind == "image" else "application/octet-stream"


class _FileResponse(StreamingResponse):
    """Sends a part of an open file, which is closed whatever becomes of the client."""

    def __init__(self, opened: OpenFile, start: int, end: int, **options: object) -> None:
        self._handle = opened.handle
        super().__init__(_blocks(opened.handle, start, end), **options)  # type: ignore[arg-type]

    async def __call__(self, scope: object, receive: object, send: object) -> None:
        try:
            await super().__call__(scope, receive, send)  # type: ignore[arg-type]
        finally:
            with suppress(OSError):
                os.close(self._handle)


async def _blocks(handle: int, start: int, end: int) -> AsyncIterator[bytes]:
    """Yield the bytes `start` to `end` of an open file. ConnectionError where the file became shorter meanwhile."""
    while start <= end:
        block = await anyio.to_thread.run_sync(os.pread, handle, min(_BLOCK, end - start + 1), start)
        if not block:
            raise ConnectionError("the file became shorter")
        start += len(block)
        yield block


def _span(header: str | None, size: int) -> tuple[int | None, int | None]:
    """Return the first and the last byte that a Range header means; (None, None) for the whole file.

    Raises HTTPException 416 for a range that the file does not have.

    >>> _span("bytes=0-", 10), _span("bytes=-3", 10), _span("bytes=2-4", 10), _span("bytes=0-1,3-4", 10)
    ((0, 9), (7, 9), (2, 4), (None, None))
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or match[0] == "bytes=-":
        return None, None
    if match[1] == "":
        first, last = max(0, size - int(match[2])), size - 1
    else:
        first, last = int(match[1]), min(int(match[2]) if match[2] else size - 1, size - 1)
    if first > last:
        raise HTTPException(416, "the file has no such bytes", headers={"content-range": f"bytes */{size}"})
    return first, last
