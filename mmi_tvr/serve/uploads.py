"""Pictures that clients send as examples: written to a file each, decoded in guarded processes, and forgotten."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import anyio

from ..media.guarded import DecoderPool, limits
from ..types import Pixels, Video
from .search_queue import Overloaded

_WAITING = 16  # pictures that may wait for the one that is decoded
_SIDE = 640  # pixels: the shorter side, more than any model looks at


class Uploads:
    """Decodes pictures of clients, one at a time."""

    def __init__(self) -> None:
        self._decoders = DecoderPool(limits(1))
        self._turn = asyncio.Semaphore(1)
        self._waiting = 0

    def close(self) -> None:
        """Stop decoding."""
        self._decoders.stop()

    async def decode(self, content: bytes) -> Pixels:
        """Return the picture of a file's bytes; of an animation, the one in its middle.

        Raises:
            MediaError: it is no picture, or cannot be decoded.
            Overloaded: too many wait.
        """
        if self._waiting >= _WAITING:
            raise Overloaded
        self._waiting += 1
        try:
            async with self._turn:
                return await anyio.to_thread.run_sync(self._decode, content)
        finally:
            self._waiting -= 1

    def _decode(self, content: bytes) -> Pixels:
        with tempfile.TemporaryDirectory(prefix="mmi-tvr-example-") as folder:
            path = Path(folder) / "picture"
            path.write_bytes(content)
            _, frames = self._decoders.sample(Video(path, picture=True), 1e-3, 1, _SIDE)
        picture: Pixels = frames.pixels[0]
        return picture
