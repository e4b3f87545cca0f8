"""`Library`: the object that people hold. Opening one costs nothing; a model is loaded when it is needed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from .. import plugins
from ..config import Section, Settings
from ..errors import UsageError
from ..protocols import Index, KeyImageMethod, Model, Reranker
from ..rerank import rerank_section, skeleton_options
from ..search import Coverage, Relevance, Searcher, SearchResult, calibrated, checked_query
from ..skeletons.store import SKELETONS_FILE, SkeletonStore
from ..types import Query
from ..utils.progress import Progress, Silent
from . import draft
from .binding import Binding
from .catalogue import Catalogue
from .indexing import FEATURES, Indexing
from .lock import HOLDER, LOCK, writer, writing
from .report import DescribeReport, IndexReport, Status
from .scan import real_path
from .views import Views

CATALOGUE = "catalogue.sqlite"
_OWN = (CATALOGUE, LOCK, HOLDER, SKELETONS_FILE, FEATURES, draft.DRAFT, "vectors")
_DESCRIBED = 64  # videos that are looked up together

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
ModelLike = Model | Section | str | None
Calibrate = Callable[[Model, Index], Relevance]


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
        """`model` is a name (`models.section`), a settings section or a ready model; None: the library's own.

        Of `settings`, what was set explicitly counts; all else is as the library was made. `relevance` makes the
        calibration of scores (None: the package's own).
        """
        self.path = Path(os.path.expanduser(path))
        self._settings = settings or Settings()
        self._model = model
        self._calibrate = relevance or calibrated
        self._catalogue: Catalogue | None = None
        self._searcher: Searcher | None = None
        self._kept: tuple[Model, str] | None = None  # the model that was loaded last, and the fingerprint it goes with
        self._reranker: tuple[Section, Model, Reranker] | None = None  # the last one, and what it was made from
        self._store: SkeletonStore | None = None
        self._seen = -1  # the catalogue's version that the searcher was made for

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
        """Bring the library up to date with these folders and files; without any, with all that it knows.

        `exclude` replaces the glob patterns that are remembered for these folders; None keeps them. `retry` tries
        quarantined files again. `rebuild` embeds everything again, with the model and settings given now; until that
        is done, searches find what was there before. While another process writes, wait up to `wait` seconds.

        Raises UsageError (no such path), IndexMismatch (another model, without `rebuild`), LibraryBusy, and what the
        model raises. An interrupted or killed run is taken up by the next one.
        """
        progress = progress or Silent()
        given = _listed(paths)
        if not self.exists and (missing := [path for path in given if not os.path.lexists(path)]):
            raise UsageError(f"{missing[0]}: no such file or folder")
        with (
            self._writing(wait, progress, create=True) as catalogue,
            draft.target(self.path, catalogue, rebuild) as target,
            self._indexing(target, model, progress) as (indexing, binding),
        ):
            binding.settle(rebuild)
            return indexing.run(given, exclude, retry)

    def remove(self, paths: Paths, *, wait: float = 60.0, progress: Progress | None = None) -> tuple[Path, ...]:
        """Forget these files, and all that is below these folders; returns what was forgotten.

        The files themselves are left alone. UsageError where the library knows nothing of a path.
        """
        progress = progress or Silent()
        given = [real_path(path) for path in _listed(paths)]
        with self._writing(wait, progress) as catalogue:
            gone = self._remove(catalogue, given, progress)
            if (rebuilt := draft.unfinished(self.path)) is not None:
                with closing(rebuilt), suppress(UsageError):  # it may know nothing of them any more
                    self._remove(rebuilt, given, progress)
        return gone

    def describe(self, *, wait: float = 60.0, progress: Progress | None = None) -> DescribeReport:
        """Ask every indexed video the chosen questions, so that no re-ranked search has to wait for it.

        What was answered before is not asked again. An interrupted or killed run is taken up by the next one. Raises
        UsageError where the library's model or settings cannot answer, and what the answerer raises.
        """
        from ..rerank import skeleton

        started, progress = time.monotonic(), progress or Silent()
        with (
            self._writing(wait, progress) as catalogue,
            self._indexing(catalogue, self._kept_model(catalogue), progress) as (_, binding),
        ):
            model, method, _ = binding.load()
            options = skeleton_options(binding.rerank(), model)
            store = self._open_store()
            describer = skeleton.describer(options, model=model, store=store, device=binding.device)
            views, before = self._views(model, method), store.count()
            numbers = self._open().indexed()
            progress.begin("describing", len(numbers))
            incomplete = []
            for first in range(0, len(numbers), _DESCRIBED):
                found = views(numbers[first : first + _DESCRIBED])
                for number, lines in zip(
                    found, describer.video_skeletons([*found.values()], progress.advance), strict=True
                ):
                    if reason := next((line.error for line in lines if line.error), None):
                        incomplete.append((self._open().entries([number])[number][0][0], reason))
            return DescribeReport(
                videos=len(numbers) - len(incomplete),
                answers=store.count() - before,
                incomplete=tuple(sorted(incomplete)),
                seconds=time.monotonic() - started,
            )

    def search(
        self, query: str | Query, top: int = 5, min_relevance: float | None = None, rerank: bool | None = None
    ) -> SearchResult:
        """The best moments of the `top` best videos, best first; `min_relevance` is a relevance (0..1, see `Searcher`).

        With `rerank` the best are put in the order of their joint scores, and explained; None: if the library's
        settings say how. UsageError where its model or pools do not allow it.
        """
        query = checked_query(query)
        attempts = 3
        while True:
            attempts -= 1
            try:
                return self._search(query, top, min_relevance, rerank)
            except (KeyError, FileNotFoundError, UsageError):
                # A writer may have replaced rows or files between our looks at the catalogue and at the index.
                self._drop_searcher()
                if not attempts:
                    raise

    def status(self) -> Status:
        """What is in the library. Loads no model."""
        catalogue = self._open()
        counts = catalogue.counts()
        binding = self._bind(catalogue, None)
        return Status(
            path=self.path,
            model=catalogue.meta("model"),
            fingerprint=catalogue.meta("fingerprint"),
            index=binding.section("index").name,
            videos=counts["indexed"],
            moments=counts["moments"],
            pending=counts["pending"],
            files=counts["files"],
            duration=catalogue.duration(),
            size=_size(self.path),
            roots=tuple(catalogue.roots()),
            quarantined=tuple(catalogue.quarantined()),
            writer=writer(self.path),
            rebuilding=draft.pending(self.path),
        )

    def close(self) -> None:
        """Let go of files and of the model. The object can be used again."""
        self._drop_searcher()
        self._kept = self._reranker = None
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

    # Parts

    def _search(self, query: Query, top: int, min_relevance: float | None, rerank: bool | None) -> SearchResult:
        catalogue = self._open()
        searcher = self._current_searcher(catalogue)
        counts = catalogue.counts()
        coverage = Coverage(counts["indexed"], counts["pending"], counts["quarantined"] + counts["unread"])
        if searcher is None:
            return SearchResult((), query, catalogue.meta("model") or "", {"total": 0.0}, coverage)
        reranker = self._current_reranker(catalogue, searcher.model, rerank)
        return replace(searcher.search(query, top, min_relevance, reranker=reranker), coverage=coverage)

    def _current_reranker(self, catalogue: Catalogue, model: Model, wanted: bool | None) -> Reranker | None:
        """What this library re-ranks with; None where that is not wanted."""
        if wanted is False:
            return None
        binding = self._bind(catalogue, model)
        given = binding.rerank()
        if given is None and not wanted:
            return None
        section = rerank_section(given, model)
        if self._reranker is None or self._reranker[:2] != (section, model):
            _, method, _ = binding.load()
            views, store = self._views(model, method), self._open_store()
            made = plugins.build(
                "rerank", section.name, section.options, model=model, views=views, store=store, device=binding.device
            )
            self._reranker = section, model, made
        return self._reranker[2]

    def _views(self, model: Model, method: KeyImageMethod) -> Views:
        return Views(self.path / FEATURES, self._open, model, method)

    def _open_store(self) -> SkeletonStore:
        if self._store is None:
            self._store = SkeletonStore(self.path / SKELETONS_FILE)
        return self._store

    def _open(self, create: bool = False) -> Catalogue:
        if self._catalogue is None:
            self._catalogue = Catalogue(self.path / CATALOGUE, create)
        return self._catalogue

    def _bind(self, catalogue: Catalogue, model: ModelLike) -> Binding:
        wanted = self._model if model is None else model
        if isinstance(wanted, str):
            from .. import models

            wanted = models.section(wanted)
        return Binding(self.path, catalogue, self._settings, wanted)

    @contextmanager
    def _writing(self, wait: float, progress: Progress, create: bool = False) -> Iterator[Catalogue]:
        """The catalogue, while nobody else writes."""
        if create:
            self._make_folder()
        elif not self.exists:
            self._open()  # says that there is no library
        self._drop_searcher()
        with writing(self.path, wait, progress.say):
            catalogue = self._open(create)
            yield catalogue
            draft.sweep(self.path, catalogue)

    @contextmanager
    def _indexing(
        self, catalogue: Catalogue, model: ModelLike, progress: Progress
    ) -> Iterator[tuple[Indexing, Binding]]:
        binding = self._bind(catalogue, model)
        indexing = Indexing(self.path, catalogue, binding, progress)
        try:
            yield indexing, binding
        finally:
            indexing.close()
            if binding.loaded is not None:
                self._kept = binding.loaded[0], binding.loaded[2]

    def _remove(self, catalogue: Catalogue, paths: Sequence[Path], progress: Progress) -> tuple[Path, ...]:
        with self._indexing(catalogue, None, progress) as (indexing, _):
            indexing.reconcile()
            return indexing.remove(paths)

    def _make_folder(self) -> None:
        if not self.exists and self.path.is_dir():
            foreign = [name for name in sorted(os.listdir(self.path)) if not name.startswith(_OWN)]
            if foreign:
                raise UsageError(
                    f"{self.path}: not a library, and not empty ({foreign[0]}); name a new or empty folder"
                )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be made into a library ({error.strerror})") from error

    def _current_searcher(self, catalogue: Catalogue) -> Searcher | None:
        """A searcher for the library's present state; None while nothing is indexed."""
        version = catalogue.version()
        if self._searcher is None or self._seen != version:
            self._drop_searcher()
            self._seen = version
            binding = self._bind(catalogue, self._kept_model(catalogue))
            index = binding.open_index(create=False) if catalogue.counts()["indexed"] else None
            if index is not None:
                model, _, fingerprint = binding.load()
                self._kept = model, fingerprint
                self._searcher = Searcher(model, index, catalogue.entries, self._calibrate(model, index))
        return self._searcher

    def _kept_model(self, catalogue: Catalogue) -> Model | None:
        """The model that was loaded last, if it is still the library's."""
        return self._kept[0] if self._kept and self._kept[1] == catalogue.meta("fingerprint") else None

    def _drop_searcher(self) -> None:
        if self._searcher is not None:
            self._searcher.index.close()
            self._searcher = None


def _listed(paths: Paths) -> list[Path]:
    several = [paths] if isinstance(paths, str | os.PathLike) else paths
    return [Path(os.path.expanduser(path)) for path in several]


def _size(folder: Path) -> int:
    """Bytes of all files below a folder in which another process may be at work."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.stat(os.path.join(parent, name)).st_size
    return total
