"""A library for doors that speak no HTTP: a running service is asked through its socket, else this process holds it.

So one process holds the model, whichever doors are open. What needs no model (what is in the library) is read here
always.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import LibraryBusy, MmiTvrError, UnreadableQuery, UsageError
from ..library import Library, Status
from ..library.items import LibraryItems
from ..library.pausing import current_pause, pause, resume
from ..search import SearchResult
from ..utils import strict_json
from .address import identity
from .client import ServiceReply, request
from .indexing_job import IndexingJob

_SEARCH_SECONDS = 120.0  # until a service has loaded its model and answered
_REMEMBERED_SENTENCES = 1_000
_REQUESTS = 16  # to a service at the same time, which has other clients, too
_NOT_NOW = 409  # nothing is to be paused, or a run is under way


class SharedLibrary:
    """Searches the library in a folder, from any thread; the values are those of `as_dict` at every door.

    `library` is the one that this process holds; its model is loaded at the first search that no service answers, and
    given up again where one does.
    """

    def __init__(self, library: Library) -> None:
        self.library = library
        self.items = LibraryItems(library.path)
        self._job = IndexingJob(library)
        self._holds_model = False
        self._lock = threading.Lock()
        library.remember_sentences(_REMEMBERED_SENTENCES)

    @property
    def path(self) -> Path:
        """The folder of the library."""
        return self.library.path

    def service(self) -> Mapping[str, Any] | None:
        """Return what the running service of this library and of this version says of itself; None: there is none."""
        reply = request(self.path, "GET", "/healthz")
        if reply is None or reply.status != 200:
            return None
        document = _document(reply)
        try:
            is_ours = document.get("version") == __version__ and document.get("library") == identity(self.path)
        except OSError:
            return None
        return document if is_ours else None

    def search(self, query: str, **options: Any) -> dict[str, Any]:
        """Return the document of a search (`search_together`)."""
        return self.search_together([query], **options)[0]

    def search_together(self, queries: Sequence[str], **options: Any) -> list[dict[str, Any]]:
        """Return the document of each of several searches (`SearchResult.as_dict`); what is new is embedded together.

        Args:
            queries: what to look for.
            **options: those of `Library.search` that JSON can carry.

        Raises:
            MmiTvrError: as `Library.search`, for any of them.
        """
        if self.service() is not None:
            with ThreadPoolExecutor(min(len(queries), _REQUESTS)) as threads:  # which the service embeds together
                replies = [*threads.map(lambda query: self._request_search({"query": query, **options}), queries)]
            answered = [reply for reply in replies if reply is not None]
            if len(answered) == len(queries):
                self._let_go()
                return [_answer(reply) for reply in answered]
        with self._lock:
            self._holds_model = True
        results: list[SearchResult] = self.library.search(queries, **options)
        return [result.as_dict() for result in results]

    def _request_search(self, document: Mapping[str, Any]) -> ServiceReply | None:
        return request(self.path, "POST", "/api/search", document, timeout=_SEARCH_SECONDS)

    def status(self) -> Status:
        """Return what is in the library, without waiting for searches or for the model. Raises LibraryMissing."""
        with Library(self.path) as reader:
            return reader.status()

    def load(self) -> None:
        """Load the model, unless a service holds it. Raises as a search does."""
        if self.library.exists and self.service() is None:
            with self._lock:
                self._holds_model = True
            self.library.load()

    @property
    def is_indexing(self) -> bool:
        """Whether this process indexes the library."""
        return self._job.is_running

    def indexing(self) -> dict[str, Any]:
        """Return how far the indexing run of the service, or of this process, is (`IndexingJob.as_dict`)."""
        reply = request(self.path, "GET", "/api/index") if self.service() is not None else None
        return self._job.as_dict() if reply is None else _answer(reply)

    def pause(self) -> bool:
        """Pause the library (`library.pausing`), and have its indexing run end at its next step; return whether that
        changed something.

        Raises MmiTvrError.
        """
        self._check_library()
        was_paused = current_pause(self.path) is not None
        pause(self.path)
        return self._order("pause", self._job.pause) or not was_paused

    def resume(self) -> bool:
        """Lift the pause, and bring the library up to date; return whether that changed something.

        Raises MmiTvrError.
        """
        self._check_library()
        was_paused = resume(self.path)
        return self._order("resume", self._job.start) or was_paused

    def _check_library(self) -> None:
        if not self.library.exists:
            self.status()  # raises LibraryMissing

    def _order(self, order: str, here: Callable[[], bool]) -> bool:
        reply = request(self.path, "POST", f"/api/index/{order}", {}) if self.service() is not None else None
        if reply is None:
            return here()
        if reply.status == _NOT_NOW:
            return False
        _answer(reply)
        return True

    def close(self) -> None:
        """Let go of the model and of files."""
        self._let_go()
        self.items.close()
        self.library.close()

    def _let_go(self) -> None:
        """Give up the model of this process, because a service has it."""
        with self._lock:
            held, self._holds_model = self._holds_model, False
        if held:
            self.library.close()


def _answer(reply: ServiceReply) -> dict[str, Any]:
    """Return the document of a reply; raise what went wrong."""
    document = _document(reply)
    if reply.status < 300:
        return document
    message = str(document.get("error") or f"the service of this library answered with status {reply.status}")
    if "reason" in document:
        raise UnreadableQuery(message, str(document["reason"]))
    if reply.status == 503:
        raise LibraryBusy(message)
    raise UsageError(message) if 400 <= reply.status < 500 else MmiTvrError(message)


def _document(reply: ServiceReply) -> dict[str, Any]:
    """Return the JSON of a reply; an empty one where it is none."""
    try:
        document = strict_json.loads(reply.body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
