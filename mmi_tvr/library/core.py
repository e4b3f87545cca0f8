"""`Library`: the object that people hold. Opening one costs nothing; a model is loaded when it is needed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from .. import plugins
from ..config import Section, Settings
from ..errors import LibraryBusy, MmiTvrError, UsageError
from ..protocols import Index, Model, RelevanceCalibration, Reranker
from ..rerank import rerank_section
from ..search import Coverage, Searcher, SearchResult, calibration_of, checked_query
from ..skeletons.store import SKELETONS_FILE, SkeletonStore
from ..types import Query
from ..utils.progress import Progress, Silent
from . import rebuild as rebuilding
from .catalogue import Catalogue
from .components import Components, LoadedModel
from .describing import describe
from .indexing import FEATURES, Indexing
from .lock import HOLDER, LOCK, writer, writing
from .reading import StateChanged, open_to_read
from .report import DescribeReport, IndexReport, Status
from .scan import real_path
from .video_lookup import VideoLookup

CATALOGUE = "catalogue.sqlite"
_LIBRARY_FILES = (CATALOGUE, LOCK, HOLDER, SKELETONS_FILE, FEATURES, rebuilding.REBUILD_FILE, "vectors")
_SEARCH_ATTEMPTS = 3  # while a writer replaces what a search reads

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
ModelLike = Model | Section | str | None
Calibrate = Callable[[Model, Index], RelevanceCalibration]


@dataclass(frozen=True, slots=True)
class _OpenSearcher:
    """A searcher, and the version of the catalogue that it was made for."""

    searcher: Searcher
    catalogue_version: int

    @property
    def index(self) -> Index:
        return self.searcher.index


@dataclass(frozen=True, slots=True)
class _BuiltReranker:
    """A re-ranker, and what it was built from."""

    reranker: Reranker
    section: Section
    model: Model


class Library:
    """A searchable collection of videos in one directory.

    >>> Library("/none").search("a dog runs")
    Traceback (most recent call last):
    mmi_tvr.errors.UsageError: /none: no library is here; make one: mmi-tvr index DIR --library /none

    One object is for one thread. Any number of processes may search a library while one writes to it.
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
            settings: of these, what was set explicitly counts; all else is as the library was made.
            relevance: makes the calibration of scores (None: the package's own).
        """
        self.path = Path(os.path.expanduser(path))
        self._settings = settings or Settings()
        self._model = model
        self._calibrate = relevance or calibration_of
        self._catalogue: Catalogue | None = None
        self._store: SkeletonStore | None = None
        self._loaded: LoadedModel | None = None  # the model that was loaded last
        self._searcher: _OpenSearcher | None = None
        self._reranker: _BuiltReranker | None = None

    @property
    def exists(self) -> bool:
        return (self.path / CATALOGUE).is_file()

    def index(
        self,
        paths: Paths = (),
        *,
        model: ModelLike = None,
        exclude: Sequence[str] | None = None,
        retry: bool = False,
        rebuild: bool = False,
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
            wait: seconds to wait while another process writes.
            progress: hears how far the work is.

        Raises:
            UsageError: no such path, or there is nothing to index.
            IndexMismatch: another model or other settings, without `rebuild`.
            LibraryBusy: another process still writes.
            Exception: what the model raises.
        """
        progress = progress or Silent()
        targets = _as_paths(paths)
        missing = [path for path in targets if not os.path.lexists(path)]
        if missing and not self.exists:
            raise UsageError(f"{missing[0]}: no such file or folder")
        with (
            self._writing(wait, progress, create=True) as catalogue,
            rebuilding.catalogue_to_write(self.path, catalogue, rebuild) as target,
            self._indexing(target, model, progress) as indexing,
        ):
            indexing.components.settle(rebuild)
            return indexing.run(targets, exclude, retry)

    def remove(self, paths: Paths, *, wait: float = 60.0, progress: Progress | None = None) -> tuple[Path, ...]:
        """Forget these files, and all that is below these folders; return what was forgotten.

        The files themselves are left alone. UsageError where the library knows nothing of a path.
        """
        progress = progress or Silent()
        targets = [real_path(path) for path in _as_paths(paths)]
        with self._writing(wait, progress) as catalogue:
            removed = self._remove(catalogue, targets, progress)
            rebuilt = rebuilding.open_unfinished(self.path)
            if rebuilt is not None:
                with closing(rebuilt), suppress(UsageError):  # it may know nothing of them any more
                    self._remove(rebuilt, targets, progress)
        return removed

    def describe(self, *, wait: float = 60.0, progress: Progress | None = None) -> DescribeReport:
        """Ask every indexed video the chosen questions, so that no re-ranked search has to wait for it.

        What was answered before is not asked again. An interrupted or killed run is taken up by the next one. Raises
        UsageError where the library's model or settings cannot answer, and what the answerer raises.
        """
        progress = progress or Silent()
        with (
            self._writing(wait, progress) as catalogue,
            self._indexing(catalogue, self._loaded_model(catalogue), progress) as indexing,
        ):
            return describe(catalogue, indexing.components, self._open_store, progress)

    def search(
        self, query: str | Query, top: int = 5, min_relevance: float | None = None, rerank: bool | None = None
    ) -> SearchResult:
        """Return the best moments of the best videos, best first.

        Args:
            query: what happens in the video that is looked for.
            top: the most hits, one a video.
            min_relevance: the least relevance of a hit, 0..1; None: the model's own (see `Searcher.search`).
            rerank: whether the best are put in the order of their joint scores, and explained; None: if the library's
                settings say how.

        Raises:
            UsageError: there is no library; an argument does not fit; `rerank` with a model or pools that cannot.
            LibraryBusy: other processes replaced what the search read, at every attempt.
        """
        query = checked_query(query)
        cause: BaseException | None = None
        for _ in range(_SEARCH_ATTEMPTS):
            try:
                return self._search(query, top, min_relevance, rerank)
            except StateChanged as change:
                self._drop_searcher()
                cause = change.__cause__
        if isinstance(cause, MmiTvrError):  # it says what is missing, and what to do
            raise cause
        raise LibraryBusy(
            f"{self.path}: its index and its catalogue disagree, {_SEARCH_ATTEMPTS} times in a row; another process is "
            f"writing to it: search again, or put it right: mmi-tvr index --library {self.path}"
        ) from cause

    def status(self) -> Status:
        """Return what is in the library. Loads no model."""
        catalogue = self._open()
        counts = catalogue.counts()
        return Status(
            path=self.path,
            model=catalogue.meta("model"),
            fingerprint=catalogue.meta("fingerprint"),
            index=self._components(catalogue, None).section("index").name,
            videos=counts.indexed_contents,
            moments=counts.moments,
            pending=counts.pending_contents,
            files=counts.files,
            duration=catalogue.duration(),
            size=_size(self.path),
            roots=tuple(catalogue.roots()),
            quarantined=tuple(catalogue.quarantined_files()),
            writer=writer(self.path),
            rebuilding=rebuilding.count_pending(self.path),
        )

    def close(self) -> None:
        """Let go of files and of the model. The object can be used again."""
        self._drop_searcher()
        self._loaded = None
        self._reranker = None
        if self._store is not None:
            self._store.close()
            self._store = None
        if self._catalogue is not None:
            self._catalogue.close()
            self._catalogue = None

    def __enter__(self) -> Library:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # Reading

    def _search(self, query: Query, top: int, min_relevance: float | None, rerank: bool | None) -> SearchResult:
        """Search once. Raises StateChanged where a writer replaced what was being read."""
        catalogue = self._open()
        searcher = self._current_searcher(catalogue)
        counts = catalogue.counts()
        coverage = Coverage(
            searched=counts.indexed_contents,
            pending=counts.pending_contents,
            quarantined=counts.quarantined_contents + counts.unreadable_files,
        )
        if searcher is None:
            return SearchResult((), query, catalogue.meta("model") or "", {"total": 0.0}, coverage)
        reranker = self._current_reranker(catalogue, searcher.model, rerank)
        return replace(searcher.search(query, top, min_relevance, reranker=reranker), coverage=coverage)

    def _current_searcher(self, catalogue: Catalogue) -> Searcher | None:
        """Return a searcher for the library's present state; None while nothing is indexed."""
        version = catalogue.data_version()
        if self._searcher is not None and self._searcher.catalogue_version == version:
            return self._searcher.searcher
        self._drop_searcher()
        components = self._components(catalogue, self._loaded_model(catalogue))
        index = open_to_read(components) if catalogue.counts().indexed_contents else None
        if index is None:
            return None
        try:
            self._loaded = components.load()
            model = self._loaded.model
            searcher = Searcher(model, index, catalogue.entries, self._calibrate(model, index))
        except BaseException:
            index.close()
            raise
        self._searcher = _OpenSearcher(searcher, version)
        return searcher

    def _current_reranker(self, catalogue: Catalogue, model: Model, rerank: bool | None) -> Reranker | None:
        """Return what this library re-ranks with, or None where `rerank` or the settings say not to."""
        if rerank is False:
            return None
        components = self._components(catalogue, model)
        configured = components.rerank_section()
        if configured is None and not rerank:
            return None
        section = rerank_section(configured, model)
        built = self._reranker
        if built is not None and built.section == section and built.model is model:
            return built.reranker
        reranker: Reranker = plugins.build(
            "rerank",
            section.name,
            section.options,
            model=model,
            views=VideoLookup(self.path / FEATURES, self._open, model, components.load().key_image_method),
            store=self._open_store(),
            device=components.device,
        )
        self._reranker = _BuiltReranker(reranker, section, model)
        return reranker

    def _drop_searcher(self) -> None:
        if self._searcher is not None:
            self._searcher.index.close()
            self._searcher = None

    # Parts

    def _open(self, create: bool = False) -> Catalogue:
        if self._catalogue is None:
            self._catalogue = Catalogue(self.path / CATALOGUE, create)
        return self._catalogue

    def _open_store(self) -> SkeletonStore:
        if self._store is None:
            self._store = SkeletonStore(self.path / SKELETONS_FILE)
        return self._store

    def _components(self, catalogue: Catalogue, model: ModelLike) -> Components:
        chosen = self._model if model is None else model
        if isinstance(chosen, str):
            from .. import models

            chosen = models.section(chosen)
        return Components(self.path, catalogue, self._settings, chosen)

    def _loaded_model(self, catalogue: Catalogue) -> Model | None:
        """Return the model that was loaded last, if it is still the library's."""
        if self._loaded is None or self._loaded.fingerprint != catalogue.meta("fingerprint"):
            return None
        return self._loaded.model

    # Writing

    @contextmanager
    def _writing(self, wait: float, progress: Progress, create: bool = False) -> Iterator[Catalogue]:
        """Yield the catalogue while nobody else writes."""
        if create:
            self._make_folder()
        elif not self.exists:
            self._open()  # says that there is no library
        self._drop_searcher()
        with writing(self.path, wait, progress.say):
            catalogue = self._open(create)
            yield catalogue
            rebuilding.discard_unused_vectors(self.path, catalogue)

    @contextmanager
    def _indexing(self, catalogue: Catalogue, model: ModelLike, progress: Progress) -> Iterator[Indexing]:
        """Yield the writer's side, and keep the model that it loads."""
        components = self._components(catalogue, model)
        indexing = Indexing(self.path, catalogue, components, progress)
        try:
            yield indexing
        finally:
            indexing.close()
            if components.loaded is not None:
                self._loaded = components.loaded

    def _remove(self, catalogue: Catalogue, paths: Sequence[Path], progress: Progress) -> tuple[Path, ...]:
        with self._indexing(catalogue, None, progress) as indexing:
            indexing.reconcile()
            return indexing.remove(paths)

    def _make_folder(self) -> None:
        """Make the library's folder. UsageError where something else is in it."""
        if not self.exists and self.path.is_dir():
            foreign = [name for name in sorted(os.listdir(self.path)) if not name.startswith(_LIBRARY_FILES)]
            if foreign:
                raise UsageError(
                    f"{self.path}: not a library, and not empty ({foreign[0]}); name a new or empty folder"
                )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be made into a library ({error.strerror})") from error


def _as_paths(paths: Paths) -> list[Path]:
    several = [paths] if isinstance(paths, str | os.PathLike) else paths
    return [Path(os.path.expanduser(path)) for path in several]


def _size(folder: Path) -> int:
    """Return the bytes of all files below a folder in which another process may be at work."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.stat(os.path.join(parent, name)).st_size
    return total
