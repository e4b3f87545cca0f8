"""`Library`: the object that people hold. Opening one costs nothing; a model is loaded when it is needed."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar, overload

from ..config import Section, Settings
from ..protocols import Model
from ..search import SearchResult
from ..types import Query
from ..utils.names import SpelledPaths
from ..utils.progress import Progress
from . import forking
from .arguments import (
    Calibrate,
    ModelLike,
    Paths,
    checked_calibration,
    checked_model,
    checked_path,
    checked_paths,
    checked_progress,
    checked_queries,
    checked_seconds,
    checked_settings,
)
from .catalogue import Catalogue
from .catalogue_file import CATALOGUE
from .components import Components
from .describing import describe
from .duplicates import DuplicateReport
from .report import DescribeReport, FacetReport, IndexReport, Status
from .scan import real_path
from .search_options import SearchKeywords, search_options
from .searching import LibraryReader
from .turns import SharedModels
from .updating import forget_paths, update_library, update_options
from .write_access import write_access

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .tuning import RerankingTuned

Answer = TypeVar("Answer")
_QUERIES_TOGETHER = 256  # of a list; in between, other threads take their turn


class Library:
    """A searchable collection of videos in one directory.

    >>> Library("/none").search("a dog runs")
    Traceback (most recent call last):
    mmi_tvr.errors.LibraryMissing: /none: no library is here; make one: mmi-tvr index DIR --library /none

    One object serves any number of threads, which take turns; `asearch` is for event loops. Any number of objects and
    processes may search a library while one writes to it, be it a thread of the same object. After a fork, the object
    of the child opens everything anew.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        model: ModelLike = None,
        settings: Settings | None = None,
        relevance: Calibrate | None = None,
    ) -> None:
        """Refer to the library in a folder; nothing is opened yet.

        Args:
            path: the folder.
            model: a name (`models.section`), a settings section or a ready model; None: the library's own.
            settings: of these, what was set explicitly counts; all else is as the library was made. Options of `model`
                without a name change the model that this argument, or the library, says.
            relevance: makes the calibration of scores, which then decides what is found, in the place of a model's head
                for matching, too (None: the package's own).

        Raises:
            UsageError: an argument of a wrong type; settings that do not fit the model.
        """
        self.path = checked_path(path, "path")
        self._settings = checked_settings(settings)
        self._model = checked_model(model, self._settings.model)
        self._calibrate = checked_calibration(relevance)
        self._models = SharedModels()
        self._reader = self._new_reader()
        self._worker: ThreadPoolExecutor | None = None  # of `asearch`
        self._worker_lock = threading.Lock()
        forking.register(self)

    @property
    def exists(self) -> bool:
        """Whether there is a library in the folder."""
        return (self.path / CATALOGUE).is_file()

    def index(
        self,
        paths: Paths = (),
        *,
        model: ModelLike = None,
        exclude: Sequence[str] | None = None,
        retry: bool = False,
        rebuild: bool = False,
        translate: int | None = None,
        people: bool | None = None,
        channels: Sequence[str] | None = None,
        settle: float = 0.0,
        wait: float = 60.0,
        progress: Progress | None = None,
    ) -> IndexReport:
        """Bring the library up to date with folders and files.

        An interrupted or killed run is taken up by the next one.

        Args:
            paths: folders and files; none: all that the library knows.
            model: as for `Library`; None: the one of this object.
            exclude: replaces the glob patterns that are remembered for these folders; None keeps them.
            retry: try quarantined files again.
            rebuild: embed everything again, with the model and settings given now; until that is done, searches find
                what was there before.
            translate: with another `model`: embed so many videos with it, and translate the vectors of all others from
                those that are there. Later runs embed these, those first that searches showed most often; until none
                is left, a run with the former model goes back to what was there before.
            people: look for faces in all videos, from now on (True), or no more (False: what is known stays); None: as
                the library remembers, which is no.
            channels: names of the channels that read all files, from now on, besides what is seen ("heard", "read");
                none: no channel does (what is known stays); None: as the library remembers, which is none.
            settle: new and changed files are left to a later run until so many seconds passed since their last write.
            wait: seconds to wait while another process writes.
            progress: is told how far the work is.

        Raises:
            UsageError: no such path, nothing to index, or an argument of a wrong type.
            IndexMismatch: another model or other settings, without `rebuild` or `translate`; faces by another encoder.
            MissingExtra: packages that look for faces are not installed.
            TranslationRefused: translated vectors would not be good enough; nothing was changed.
            LibraryBusy: another process still writes.
            LibraryReadOnly: nothing can be written where the library lies.
            Exception: what the model raises.
        """
        options = update_options(
            paths,
            settings=self._settings,
            model=model,
            exclude=exclude,
            retry=retry,
            rebuild=rebuild,
            translate=translate,
            people=people,
            channels=channels,
            settle=settle,
            wait=wait,
        )
        progress = checked_progress(progress)
        return update_library(self.path, options, self._settings, self._components, progress)

    def remove(self, paths: Paths, *, wait: float = 60.0, progress: Progress | None = None) -> tuple[Path, ...]:
        """Forget these files, and all that is below these folders; return what was forgotten.

        The files themselves are left alone. UsageError where the library knows nothing of a path.
        """
        targets = [real_path(path) for path in map(SpelledPaths().find, checked_paths(paths))]
        wait, progress = checked_seconds(wait, "wait"), checked_progress(progress)
        return forget_paths(self.path, targets, self._components, wait, progress)

    def describe(self, *, wait: float = 60.0, progress: Progress | None = None) -> DescribeReport:
        """Ask every indexed video the chosen questions, so that no re-ranked search has to wait for it.

        What was answered before is not asked again. An interrupted or killed run is taken up by the next one. Raises
        UsageError where the library's model or settings cannot answer, and what the answerer raises.
        """
        wait, progress = checked_seconds(wait, "wait"), checked_progress(progress)
        with write_access(self.path, wait, progress) as catalogue:
            maker = self._models.maker_of(catalogue.meta("fingerprint"))
            return describe(catalogue, self._components(catalogue, maker), progress)

    def tune_reranking(
        self,
        captions: Mapping[Path, Sequence[str]],
        questions: Sequence[int] | None = None,
        progress: Progress | None = None,
    ) -> RerankingTuned:
        """Choose weight, depth and number of questions of re-ranking by cross-validation on captions of this library.

        Nothing is changed but the stored answers. Errors and arguments as `library.tuning.tune_reranking`; paths are
        those that the library knows.
        """
        from .tuning import tune_reranking

        with self._models.turn:
            return tune_reranking(self._reader, captions, questions, checked_progress(progress))

    @overload
    def search(  # type: ignore[overload-overlap]  # a str is a sequence of str, too: the first one holds
        self,
        query: str | Query,
        top: int = 5,
        min_relevance: float | None = None,
        rerank: bool | None = None,
        **more: Unpack[SearchKeywords],
    ) -> SearchResult: ...

    @overload
    def search(
        self,
        query: Sequence[str | Query],
        top: int = 5,
        min_relevance: float | None = None,
        rerank: bool | None = None,
        **more: Unpack[SearchKeywords],
    ) -> list[SearchResult]: ...

    def search(
        self,
        query: str | Query | Sequence[str | Query],
        top: int = 5,
        min_relevance: float | None = None,
        rerank: bool | None = None,
        **more: Unpack[SearchKeywords],
    ) -> SearchResult | list[SearchResult]:
        """Return the best moments of the best videos, best first.

        Args:
            query: what happens in the video that is looked for; or a list of such, which are embedded together. It may
                be "" where there is an example (`like`).
            top: the most hits, one a video.
            min_relevance: the least relevance of a hit, 0..1; None: the model's own (see `Searcher.search`).
            rerank: whether the best are put in the order of their joint scores, and explained; None: if the library's
                settings say how.
            **more: how the query is read and what counts (`SearchKeywords`).

        Returns:
            The result; for a list, the results in its order.

        Raises:
            UsageError: there is no library; an argument does not fit; `rerank` with a model or pools that cannot, or
                with an example.
            MediaError: an example cannot be read.
            LibraryBusy: other processes replaced what the search read, at every attempt.
        """
        options = search_options(top, min_relevance, rerank, **more)
        queries = checked_queries(query, options.like is not None)
        results = []
        for first in range(0, len(queries), _QUERIES_TOGETHER):
            with self._models.turn:
                results += self._reader.search(queries[first : first + _QUERIES_TOGETHER], options)
        return results[0] if isinstance(query, str | Query) else results

    @overload
    async def asearch(  # type: ignore[overload-overlap]  # as above
        self,
        query: str | Query,
        top: int = 5,
        min_relevance: float | None = None,
        rerank: bool | None = None,
        **more: Unpack[SearchKeywords],
    ) -> SearchResult: ...

    @overload
    async def asearch(
        self,
        query: Sequence[str | Query],
        top: int = 5,
        min_relevance: float | None = None,
        rerank: bool | None = None,
        **more: Unpack[SearchKeywords],
    ) -> list[SearchResult]: ...

    async def asearch(
        self,
        query: str | Query | Sequence[str | Query],
        top: int = 5,
        min_relevance: float | None = None,
        rerank: bool | None = None,
        **more: Unpack[SearchKeywords],
    ) -> SearchResult | list[SearchResult]:
        """Search as `search` does, in a thread of this object's own, so that the event loop goes on."""
        work = partial(self.search, query, top, min_relevance, rerank, **more)
        with self._worker_lock:
            if self._worker is None:
                self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="library")
            future = self._worker.submit(work)
        return await asyncio.wrap_future(future)

    def duplicates(self, progress: Progress | None = None) -> DuplicateReport:
        """Return all groups of near-duplicates, each of which a search shows as one hit; nothing is deleted.

        What no indexing run has compared (it was indexed before runs did so) is looked at first.

        Raises:
            LibraryMissing: there is no library.
            MmiTvrError: what is known of them cannot be read or written.
        """
        progress = checked_progress(progress)
        with self._models.turn:
            return self._reader.duplicates(progress)

    def facets(self) -> FacetReport:
        """Return what the videos show, as classes that `search(where=...)` takes.

        UsageError where there is no library, or its model reads nothing off videos.
        """
        with self._models.turn:
            return self._reader.facets()

    def status(self) -> Status:
        """Return what is in the library. Loads no model."""
        with self._models.turn:
            return self._reader.status()

    def load(self) -> None:
        """Load the model and open the index, so that the first search need not. Raises as a search does."""
        with self._models.turn:
            searcher = self._reader.searcher(self._reader.catalogue())
            if searcher is not None:
                searcher.model.embed_queries([Query("a dog runs")])  # some load their words at the first sentence

    def with_model(self, function: Callable[[Model], Answer]) -> Answer:
        """Return the result of a function of the library's model, in its turn. Raises as a search does."""
        with self._models.turn:
            return function(self._reader.components(self._reader.catalogue()).load().model)

    def remember_sentences(self, count: int) -> None:
        """Keep the vectors of the last sentences that were searched for, in memory; 0: none, which is the default."""
        with self._models.turn:
            self._reader.memory.resize(count)

    def remember_results(self, hits: int) -> None:
        """Keep the results of the last searches, in memory, until the library changes.

        Args:
            hits: at most so many in all results together, about 2 KB each; five moments, near-duplicates or copies of
                a hit count as one more. 0: none, which is the default.
        """
        with self._models.turn:
            self._reader.answers.resize(hits)

    def close(self) -> None:
        """Let go of files and of the model, once searches that go on are done. The object can be used again."""
        with self._worker_lock:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.shutdown()
        with self._models.turn:
            self._reader.close()
            self._models.clear()

    def __enter__(self) -> Library:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # Parts

    def _new_reader(self) -> LibraryReader:
        reader = LibraryReader(self.path, self._settings, self._model, self._models, self._calibrate)
        self._finalizer = weakref.finalize(self, reader.close)  # of an object that nobody closes
        return reader

    def _components(self, catalogue: Catalogue, model: Model | Section | None) -> Components:
        """Return the components of a catalogue, with the model of this object where none is given."""
        model = self._model if model is None else model
        return Components(self.path, catalogue, self._settings, model, self._models)

    # In a fork (`forking`)

    def hold(self) -> None:
        """Wait until no thread searches, and keep others from beginning to."""
        self._models.turn.__enter__()

    def release(self) -> None:
        """Let threads search again."""
        self._models.turn.__exit__(None, None, None)

    def renew_after_fork(self) -> None:
        """In a forked process: leave the parent what it has open, and the locks that its threads hold."""
        forking.leave_to_parent(self._reader)
        self._finalizer.detach()
        self._models.renew_locks()
        self._reader = self._new_reader()
        self._worker, self._worker_lock = None, threading.Lock()
