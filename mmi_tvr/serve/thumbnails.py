"""What an item shows at a second, as JPEG: decoded in guarded processes, the last ones remembered."""

from __future__ import annotations

import asyncio
import io
import threading
from collections import OrderedDict
from pathlib import Path

import anyio
from fastapi import HTTPException
from PIL import Image

from ..errors import MediaError
from ..library.items import LibraryItem
from ..media.guarded import DecoderPool, limits
from ..types import Pixels, Video
from .media import unchanged_file
from .search_queue import Overloaded

_CAPACITY = 64 << 20  # bytes of pictures
_WORKERS = 2  # that decode at the same time
_WAITING = 128  # pictures that may wait for one of them
_QUALITY = 82
_SPAN = 0.2  # seconds around a time, of which one frame is decoded


class Thumbnails:
    """Pictures of items. One that several want at once is decoded once."""

    def __init__(self, capacity: int = _CAPACITY) -> None:
        """capacity: bytes of pictures that are remembered."""
        self._capacity = capacity
        self._pictures: OrderedDict[tuple[str, float, int], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._under_way: dict[tuple[str, float, int], asyncio.Task[bytes]] = {}
        self._turns = asyncio.Semaphore(_WORKERS)
        self._decoders = DecoderPool(limits(_WORKERS))

    def __len__(self) -> int:
        return self._bytes

    def close(self) -> None:
        """Stop decoding."""
        self._decoders.stop()

    async def get(self, item: LibraryItem, second: float, size: int) -> bytes:
        """Return a picture as JPEG.

        Args:
            item: of the library.
            second: on the player's clock; beyond the end, the last picture.
            size: the shorter side in pixels, at most.

        Raises:
            HTTPException: it is a recording, its file is away or was replaced, or cannot be decoded any more.
            Overloaded: too many wait for a picture.
        """
        if item.facts.kind == "audio":
            raise HTTPException(422, "a recording: there is nothing to see in it")
        second = round(min(max(0.0, second), max(0.0, item.facts.seconds - 0.05)), 2)
        key = item.sha256, second, size
        with self._lock:
            if key in self._pictures:
                self._pictures.move_to_end(key)
                return self._pictures[key]
        task = self._under_way.get(key)
        if task is None:
            if len(self._under_way) >= _WAITING:
                raise Overloaded
            task = asyncio.create_task(self._make(item, second, size))
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._under_way.pop(key, None))
        return await asyncio.shield(task)  # others may wait for it, too

    async def _make(self, item: LibraryItem, second: float, size: int) -> bytes:
        async with self._turns:
            picture = await anyio.to_thread.run_sync(self._decode, item, second, size)
        with self._lock:
            self._pictures[item.sha256, second, size] = picture
            self._bytes += len(picture)
            while self._bytes > self._capacity:
                self._bytes -= len(self._pictures.popitem(last=False)[1])
        return picture

    def _decode(self, item: LibraryItem, second: float, size: int) -> bytes:
        path = unchanged_file(item)
        try:
            pixels = self._frame(path, item.facts.kind == "image", second, size)
        except MediaError as error:
            raise HTTPException(422, error.reason) from error
        unchanged_file(item)  # it might have been replaced while it was decoded
        return encoded(pixels)

    def _frame(self, path: Path, is_picture: bool, second: float, size: int) -> Pixels:
        video = Video(path, max(0.0, second - _SPAN / 2), second + _SPAN / 2, is_picture)
        _, frames = self._decoders.sample(video, 1 / _SPAN, 1, size)
        picture: Pixels = frames.pixels[0]
        return picture


def encoded(pixels: Pixels) -> bytes:
    """Return pixels (H, W, 3) as a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
