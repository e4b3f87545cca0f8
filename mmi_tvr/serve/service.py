"""What a running service holds: its library, the queue before it, pictures, the indexing run, and who may ask."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import anyio
from starlette.requests import Request

from ..errors import MmiTvrError
from ..library import Library
from ..library.items import LibraryItems
from ..search import SearchResult
from ..types import Query
from .address import identity
from .commands import CommandRunner, SocketCommands
from .indexing_job import IndexingJob
from .metrics import ServiceMetrics
from .search_queue import SearchQueue
from .security import Access
from .thumbnails import Thumbnails
from .uploads import Uploads

REMEMBERED_SENTENCES, REMEMBERED_HITS = 10_000, 20_000
_LIBRARY_THREADS = 4  # threads that wait for the library at the same time, besides that of searches
Answer = TypeVar("Answer")


class Service:
    """The parts of a service, made once.

    `in_flight` counts requests that are being answered; `last_request` is when the last answer ended
    (`time.monotonic`); `url` is the address of the page, once there is one.
    """

    def __init__(self, library: Library, access: Access, run_command: CommandRunner | None = None) -> None:
        """Hold a library.

        Args:
            library: searched, and indexed where somebody wants that.
            access: who may ask.
            run_command: runs commands of clients of the socket; None: there is no socket.
        """
        self.library = library
        self.access = access
        self.metrics = ServiceMetrics()
        self.queue = SearchQueue[Query, SearchResult](
            lambda queries, options: library.search(queries, **options), observe=self.metrics.count_searches
        )
        self.items = LibraryItems(library.path)
        self.overview = Library(library.path)  # for what needs no model, and must not wait until one is loaded
        self.thumbnails = Thumbnails()
        self.uploads = Uploads()
        self.indexing = IndexingJob(library)
        self.commands = SocketCommands(library.path, run_command) if run_command is not None else None
        self._turns = anyio.CapacityLimiter(_LIBRARY_THREADS)
        self.in_flight = 0
        self.last_request = time.monotonic()
        self.url: str | None = None
        library.remember_sentences(REMEMBERED_SENTENCES)
        library.remember_results(REMEMBERED_HITS)

    def warm_up(self) -> None:
        """Load the model in a thread, so that nobody's first search has to wait for it. What fails, a search says."""

        def load() -> None:
            with suppress(MmiTvrError):
                if self.library.exists:
                    self.library.load()

        threading.Thread(target=load, name="warm-up", daemon=True).start()

    def close(self, wait: float) -> bool:
        """Let go of everything; return whether all work ended within `wait` seconds."""
        self.queue.close()
        ended = self.indexing.close(wait)
        self.thumbnails.close()
        self.uploads.close()
        self.items.close()
        self.overview.close()
        return ended

    def identity(self) -> list[int]:
        """Return what tells the folder of the library from another of its name (`address.identity`); nothing where it
        is gone."""
        try:
            return identity(self.library.path)
        except OSError:
            return []

    async def in_turn(self, function: Callable[[], Answer]) -> Answer:
        """Return the result of a function that waits for its turn in the library; few at a time, so that pictures and
        films need not wait with them."""
        return await anyio.to_thread.run_sync(function, limiter=self._turns)

    async def search(self, request: Request, query: Query, options: Mapping[str, Any]) -> SearchResult:
        """Return the result of a search; it is cancelled where its client goes away before its turn.

        Raises Overloaded, and what `Library.search` raises.
        """
        result = self.queue.submit(query, options)
        gone = asyncio.create_task(_disconnected(request))
        try:
            either: set[asyncio.Future[Any]] = {result, gone}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not result.done():
                raise ClientGone
            return result.result()
        finally:
            gone.cancel()
            result.cancel()  # which does nothing to one that is done


class ClientGone(Exception):
    """The client of a request went away; nobody reads an answer."""


async def _disconnected(request: Request) -> None:
    """Return once the client of a request is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
