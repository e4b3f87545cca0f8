"""What the interfaces on the bus have in common: searches, results, pictures and programs, off the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from ..errors import MmiTvrError
from ..library import Library
from ..media.guarded import DecoderPool, limits
from ..serve.search_queue import Overloaded, SearchQueue
from ..serve.shared import SharedLibrary
from ..utils.addresses import file_uri
from ..utils.sqlite import FileStamp
from .names import labels
from .page import page_url
from .players import default_command, launch, open_command
from .results import DesktopResult, DesktopResults, DesktopSearch, is_worth_searching
from .thumbnails import ThumbnailCache, pixels_of

_WAITING = 4096  # calls that may wait for the library
_MOST_METAS = 100  # results that are looked up at once
_PICTURE_SECONDS = 0.7  # that results wait for pictures that must be made; those that come later are there next time
CLIENT: ContextVar[str] = ContextVar("client", default="")  # who calls, and by which interface
Answer = TypeVar("Answer")


class TooManyCalls(MmiTvrError):
    """More calls wait than are worth waiting for."""

    def __init__(self) -> None:
        super().__init__("too many calls are waiting; try again in a moment")


class DesktopService:
    """A library as the session's desktop uses it. Its methods are for the event loop alone."""

    def __init__(self, library: Library) -> None:
        self.shared = SharedLibrary(library)
        self.labels = labels()
        self._search = DesktopSearch(self.shared)
        self._decoders = DecoderPool(limits(1))
        self._thumbnails = ThumbnailCache(self._decoders)
        self._queue = SearchQueue[str, DesktopResults](
            lambda queries, options: self._search.search(queries, options["limit"]), capacity=_WAITING
        )
        self._picture_thread = ThreadPoolExecutor(1, "desktop-pictures")
        self._others = ThreadPoolExecutor(2, "desktop")
        self._typed: dict[str, asyncio.Future[DesktopResults]] = {}  # what each client typed last
        self.in_flight = 0

    def close(self) -> None:
        """Let go of everything; what is under way in a thread ends with the process."""
        self._queue.close()
        for threads in (self._picture_thread, self._others):
            threads.shutdown(wait=False, cancel_futures=True)
        self._decoders.stop()

    def warm_up(self) -> None:
        """Load the model beforehand; what fails, a search says."""

        def load() -> None:
            with suppress(MmiTvrError):
                self.shared.load()

        threading.Thread(target=load, name="warm-up", daemon=True).start()

    async def search(self, query: str, limit: int) -> DesktopResults:
        """Return the results of a query; none, with the reason, for an empty one. Raises MmiTvrError."""
        search = self._submit(query, limit)
        self.in_flight += 1
        try:
            return await search
        finally:
            self.in_flight -= 1

    async def typed(self, text: str, limit: int) -> tuple[DesktopResult, ...]:
        """Return the believable results of what somebody has typed so far; none where the same client has typed on, and
        none where a search fails: a search box has no place for reasons (`Status` has one)."""
        client = CLIENT.get()
        overtaken = self._typed.pop(client, None)
        if overtaken is not None:
            overtaken.cancel()
        if not is_worth_searching(text):
            return ()
        try:
            search = self._typed[client] = self._submit(text, limit)
        except TooManyCalls:
            return ()
        self.in_flight += 1
        try:
            await asyncio.wait([search])
            return () if search.cancelled() else search.result().believable
        except MmiTvrError:
            return ()
        finally:
            self.in_flight -= 1
            search.cancel()
            if self._typed.get(client) is search:
                del self._typed[client]

    def _submit(self, query: str, limit: int) -> asyncio.Future[DesktopResults]:
        """Return what will hold the results of a query. Raises TooManyCalls."""
        try:
            return self._queue.submit(query, {"limit": limit})
        except Overloaded:
            raise TooManyCalls from None

    async def results(self, ids: Sequence[str]) -> list[DesktopResult]:
        """Return the results of ids; those of which there is nothing any more are left out."""

        def work() -> list[DesktopResult]:
            results = []
            for id in ids[:_MOST_METAS]:
                try:
                    results.append(self._search.result(id))
                except MmiTvrError:
                    continue
            return results

        return await self._in(self._others, work)

    async def thumbnails(self, results: Sequence[DesktopResult]) -> dict[str, Path]:
        """Return the pictures of results by id: those that are there, and those that can be made in a moment."""
        pictures = await self._in(self._others, lambda: {one.id: self._thumbnails.stored(one.path) for one in results})
        missing = [one for one in results if pictures[one.id] is None and one.kind != "audio"]
        work = [self._in(self._picture_thread, self._picture_of(one)) for one in missing]
        if work:
            tasks = [asyncio.ensure_future(one) for one in work]
            done, _ = await asyncio.wait(tasks, timeout=_PICTURE_SECONDS)
            for one, task in zip(missing, tasks, strict=True):
                if task in done:
                    pictures[one.id] = task.result()
        return {id: picture for id, picture in pictures.items() if picture is not None}

    def _picture_of(self, result: DesktopResult) -> Callable[[], Path | None]:
        middle = (result.second + max(result.second, result.end)) / 2
        is_picture = result.kind == "image"
        return lambda: self._thumbnails.stored(result.path) or self._thumbnails.make(result.path, middle, is_picture)

    async def pixels(self, thumbnail: Path) -> tuple[int, int, int, bool, int, int, bytes] | None:
        """Return the pixels of a thumbnail (`thumbnails.pixels_of`)."""
        return await self._in(self._others, lambda: pixels_of(thumbnail))

    async def open(self, id: str, folder: bool = False) -> None:
        """Open the file of a result at its second, or its folder. Raises MmiTvrError."""

        def work() -> None:
            result = self._search.result(id)
            second = 0.0 if result.kind == "image" else result.second
            launch(default_command(file_uri(result.path.parent)) if folder else open_command(result.path, second))

        await self._in(self._others, work)

    async def show_page(self, query: str) -> None:
        """Show the page of the library in a browser, with a search. Raises MmiTvrError."""

        def work() -> None:
            launch(default_command(f"{page_url(self.shared)}/?q={quote(query)}"))

        await self._in(self._others, work)

    def stamp(self) -> FileStamp:
        """Return what changes whenever the library does."""
        return self._search.stamp()

    async def run(self, function: Callable[[], Answer]) -> Answer:
        """Return the result of a function that may wait for files or for a service."""
        return await self._in(self._others, function)

    async def _in(self, threads: ThreadPoolExecutor, function: Callable[[], Answer]) -> Answer:
        self.in_flight += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, function)
        finally:
            self.in_flight -= 1
