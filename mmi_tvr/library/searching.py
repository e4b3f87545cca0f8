"""The side of a library that reads: the open catalogue, the searcher of its present state, the re-ranker.

It works wherever a library can be read, and writes nothing where it cannot write. Whoever uses it holds the lock of the
library: it is for one thread at a time.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from .. import plugins
from ..config import RERANK, SearchSection, Section, Settings
from ..errors import LibraryBusy, MmiTvrError, UsageError
from ..features.cache import FeatureCache
from ..protocols import Model, Reranker
from ..queries import PreparedQuery, QueryMemory
from ..rerank import with_pools
from ..rerank.skeleton import SkeletonReranker
from ..scoring.blocks import reweighted
from ..scoring.descriptions import MIN_DESCRIBED
from ..scoring.examples import require_pictures_read
from ..search import ResultOptions, Searcher, SearchResult, calibration_of
from ..skeletons.store import SKELETONS_FILE, SkeletonStore
from ..types import Query, QueryExample
from ..utils.progress import Progress
from ..utils.wording import library_option, model_title
from .answer_memory import AnsweringState, AnswerMemory
from .appearances import LibraryPeople
from .arguments import Calibrate
from .catalogue import Catalogue
from .catalogue_file import CATALOGUE
from .channels import ChannelsReader, FusedSearch, needed_hits, with_texts
from .components import Components
from .descriptions import Descriptions
from .duplicates import DuplicateReport, KnownDuplicates, look_for_duplicates
from .entry_memory import EntryMemory
from .examples import ExampleReader, ExampleSource
from .expanding import LibraryExpander
from .facets import library_facets
from .indexing import FEATURES
from .own_pools import pools_state
from .query_reading import read_queries
from .reader_state import BuiltReranker, LibraryState, PresentSearch, ReweightedSearcher
from .reading import StateChanged, open_to_read
from .report import FacetReport, Status
from .results import by_texts_alone, coverage_of, existing_first, refused
from .search_options import SearchOptions
from .status import library_status
from .translated import ShownLog
from .turns import SharedModels
from .video_lookup import VideoLookup

_SEARCH_ATTEMPTS = 3  # while a writer replaces what a search reads


class LibraryReader:
    """Searches a library and says what is in it. Everything is opened when it is first needed."""

    def __init__(
        self,
        path: Path,
        settings: Settings,
        model: Model | Section | None,
        models: SharedModels,
        calibrate: Calibrate | None,
    ) -> None:
        """Refer to the library in a folder; nothing is opened yet.

        Args:
            path: the folder.
            settings: of these, what was set explicitly counts.
            model: a settings section or a ready model; None: the library's own.
            models: of the library, which loads them.
            calibrate: makes the calibration of scores, which then decides what is found; None: the package's own does,
                or where the model has a head for matching, that.
        """
        self.path = path
        self.settings = settings
        self.model = model
        self.models = models
        self._calibrate = calibration_of if calibrate is None else calibrate
        self._decides_by_match = calibrate is None
        self._catalogue: Catalogue | None = None
        self._store: SkeletonStore | None = None
        self._state: LibraryState | None = None
        self._reranker: BuiltReranker | None = None
        self._reweighted: ReweightedSearcher | None = None
        self._expander = LibraryExpander()
        self._channels = ChannelsReader(path)
        self.memory = QueryMemory(0)
        self.answers = AnswerMemory(0)
        self._duplicates = KnownDuplicates(path)

    def close(self) -> None:
        """Let go of files and of the model."""
        self._drop_state()
        self._reranker = None
        self._expander.close()
        self._channels.close()
        self._duplicates.close()
        if self._store is not None:
            self._store.close()
            self._store = None
        if self._catalogue is not None:
            self._catalogue.close()
            self._catalogue = None

    def search(self, queries: Sequence[Query], options: SearchOptions) -> list[SearchResult]:
        """Return the result of each query. Errors as `Library.search`."""
        cause: BaseException | None = None
        for _ in range(_SEARCH_ATTEMPTS):
            try:
                return self.search_once(queries, options)
            except StateChanged as change:
                self._drop_state()
                cause = change.__cause__
        if isinstance(cause, MmiTvrError):  # it says what is missing, and what to do
            raise cause
        raise LibraryBusy(
            f"{self.path}: its index and its catalogue disagree, {_SEARCH_ATTEMPTS} times in a row; another process is "
            f"writing to it: search again, or put it right: mmi-tvr index {library_option(self.path)}"
        ) from cause

    def search_once(self, queries: Sequence[Query], options: SearchOptions) -> list[SearchResult]:
        """Search once. Raises StateChanged where a writer replaced what was being read."""
        catalogue = self.catalogue()
        state = self._present_state(catalogue)
        searcher, coverage = state.searcher, state.coverage
        channels = self._channels.present(catalogue, state.catalogue_version)
        if channels is not None and not coverage.searched:  # nothing can be seen
            coverage = replace(coverage, searched=channels.count_items())
        if searcher is None:
            prepared = read_queries(queries, options, state.people, self._section(options).literal)
            return by_texts_alone(prepared, options, catalogue, channels, coverage)
        numbers = options.items.numbers(catalogue)
        if numbers is not None and not numbers:
            return [refused(query, searcher.model.name, options.items, catalogue, coverage) for query in queries]
        groups = self._duplicates.groups(catalogue, state.revision)
        people = state.people.version()
        self.answers.settle(AnsweringState(searcher, state.revision, channels, self._channels.problem, people, groups))
        started = time.perf_counter()
        results = [self.answers.get(query, options) for query in queries]
        seconds = {"total": (time.perf_counter() - started) / len(queries)}
        new = [query for query, result in zip(queries, results, strict=True) if result is None]
        present = PresentSearch(catalogue, coverage, searcher, state.people, channels, groups, numbers)
        fresh = iter(self._search_anew(new, options, present) if new else ())
        complete = [next(fresh) if result is None else replace(result, seconds=seconds) for result in results]
        return [existing_first(replace(result, coverage=coverage)) for result in complete]

    def _search_anew(
        self, queries: Sequence[Query], options: SearchOptions, search: PresentSearch
    ) -> list[SearchResult]:
        """Return the result of each query, without its coverage; those that may be given out again are kept."""
        catalogue, searcher, channels, people = search.catalogue, search.searcher, search.channels, search.people
        reranker = self.reranker(catalogue, searcher.model, options.rerank)
        if options.pools is not None:
            reranker = _with_pools_of(reranker, with_pools(RERANK, options.pools), searcher.model)
        prepared = self._prepared(queries, options, catalogue, searcher, people)
        searcher = self._with_levels(searcher, options.levels)
        model = searcher.model
        least = model.scoring.min_relevance
        groups = search.groups if options.fold else {}
        fusion = FusedSearch(options.top, options.min_relevance, search.numbers, model_title(model), least, groups)
        as_read = {id(one.query): one for one in prepared}  # of the query of a result

        def finish(result: SearchResult) -> SearchResult:
            if channels is not None:
                result = with_texts(channels, catalogue, result, as_read[id(result.query)], fusion)
            remarks = (*result.remarks, *people.remarks(result), *self._channels.remarks())
            among = None if search.numbers is None else len(search.numbers)
            return replace(result, remarks=remarks, filters=options.items.texts, among=among)

        preview = options.preview
        result_options = ResultOptions(
            options.top if channels is None else needed_hits([one.query for one in prepared], options.top),
            options.min_relevance if channels is None else 0.0,
            reranker=reranker,
            exact=options.exact,
            only=options.only,
            more=options.more,
            groups=groups,
            preview=None
            if preview is None
            else lambda result: preview(existing_first(replace(finish(result), coverage=search.coverage))),
        )
        results = searcher.search_all(prepared, result_options, search.numbers)
        if catalogue.is_outdated():
            raise StateChanged(f"{catalogue.path} was replaced during the search")
        if search.coverage.translated:
            self._note_shown(catalogue, results)
        results = [finish(result) for result in results]
        if reranker is None and not search.coverage.translated:
            for query, result in zip(queries, results, strict=True):
                self.answers.put(query, options, result)
        return results

    def _example(self, source: ExampleSource, catalogue: Catalogue, searcher: Searcher) -> QueryExample:
        """Return what hits are to be like."""
        method, model = self.components(catalogue).load().key_image_method, searcher.model
        require_pictures_read(model)
        return ExampleReader(catalogue, searcher.index, method, model.image_size).read(source)

    def _note_shown(self, catalogue: Catalogue, results: Sequence[SearchResult]) -> None:
        """Note what was shown, so that it is embedded first. A library that cannot be written goes without."""
        shown = [hit.path for result in results for hit in result]
        with suppress(OSError):
            ShownLog(self.path).add(catalogue, shown)

    def _prepared(
        self,
        queries: Sequence[Query],
        options: SearchOptions,
        catalogue: Catalogue,
        searcher: Searcher,
        people: LibraryPeople,
    ) -> list[PreparedQuery]:
        """Return the queries with all that the options add to them, or else the settings."""
        if options.like is not None:
            example = self._example(options.like, catalogue, searcher)
            queries = [replace(query, example=example) for query in queries]
        section = self._section(options)
        prepared = read_queries(queries, options, people, section.literal)
        if not section.expand:
            return prepared
        with_text = [query for query in prepared if query.positive.text]
        if options.expand and not with_text:
            raise UsageError("expand writes other wordings of a sentence, and there is none: leave it out")
        expanded = iter(self._expander.expand(with_text, section, self.components(catalogue), searcher.model))
        return [next(expanded) if query.positive.text else query for query in prepared]

    def _section(self, options: SearchOptions) -> SearchSection:
        """Return how the settings search, with what the options say otherwise."""
        explicit = {"literal": options.literal, "expand": options.expand}
        changes = {name: value for name, value in explicit.items() if value is not None}
        return self.settings.search.model_copy(update=changes)

    def duplicates(self, progress: Progress) -> DuplicateReport:
        """Look for near-duplicates. Errors as `Library.duplicates`."""
        catalogue = self.catalogue()
        searcher = self.searcher(catalogue)
        if searcher is None:
            return DuplicateReport((), 0, 0)
        cache = FeatureCache(self.path / FEATURES, tidy=False)
        return look_for_duplicates(self.path, catalogue, searcher.index, cache, progress)

    def facets(self) -> FacetReport:
        """Return what the videos show. Errors as `Library.facets`."""
        catalogue = self.catalogue()
        model = self.components(catalogue).load().model
        facets = library_facets(catalogue, model)
        if facets is None:
            raise UsageError(
                f"{model_title(model)} offers no facets: it reads no classes off videos; mcsan does "
                f"(mmi-tvr index {library_option(self.path)} --model FOLDER --rebuild)"
            )
        return facets.report()

    def status(self) -> Status:
        """Return what is in the library. Loads no model."""
        catalogue = self.catalogue()
        return library_status(self.path, catalogue, self.components(catalogue))

    def catalogue(self) -> Catalogue:
        """Return the open catalogue, opened anew where its file was replaced."""
        if self._catalogue is not None and self._catalogue.is_outdated():
            self.close()
        if self._catalogue is None:
            self._catalogue = Catalogue.open_to_read(self.path / CATALOGUE)
        return self._catalogue

    def components(self, catalogue: Catalogue) -> Components:
        model = self.models.maker_of(catalogue.meta("fingerprint")) or self.model
        return Components(self.path, catalogue, self.settings, model, self.models)

    def searcher(self, catalogue: Catalogue) -> Searcher | None:
        """Return a searcher for the library's present state; None while nothing is indexed."""
        return self._present_state(catalogue).searcher

    def _present_state(self, catalogue: Catalogue) -> LibraryState:
        """Return what is open, opened anew where somebody has written since what a search reads."""
        version = catalogue.data_version()
        state = self._state
        if state is not None and state.catalogue_version == version:
            return state
        revision = catalogue.revision()  # before all that it stands for
        present = None if state is None else state.at_version(version, revision, catalogue)
        if present is None:
            self._drop_state()
            people = LibraryPeople(catalogue)
            coverage = coverage_of(catalogue)
            searcher = self._make_searcher(catalogue, people, coverage.searched)
            present = LibraryState(version, revision, coverage, searcher, people)
        self._state = present
        return present

    def _descriptions(self, catalogue: Catalogue, model: Model, fingerprint: str, videos: int) -> Descriptions | None:
        """Return what videos were described as; None where too few of all were, or where that is not to count.

        Decision: not of models whose vectors have blocks, whose queries have no cosine with each other.
        """
        if not self.settings.search.descriptions or model.scoring.blocks:
            return None
        descriptions = Descriptions(catalogue, fingerprint)
        enough = descriptions.count() >= MIN_DESCRIBED * videos
        return descriptions if enough else None

    def _make_searcher(self, catalogue: Catalogue, people: LibraryPeople, videos: int) -> Searcher | None:
        components = self.components(catalogue)
        index = open_to_read(components) if videos else None
        if index is None:
            return None
        try:
            model = components.load().model
            descriptions = self._descriptions(catalogue, model, components.load().fingerprint, videos)
            weight = self.settings.search.descriptions
            calibration = self._calibrate(model, index)
            facets = library_facets(catalogue, model)
            return Searcher(
                model,
                index,
                EntryMemory(catalogue.entries),
                calibration,
                descriptions=descriptions,
                description_weight=weight,
                attributes=facets,
                decides_by_match=self._decides_by_match,
                appearances=people,
                memory=self.memory,
            )
        except BaseException:
            index.close()
            raise

    def _with_levels(self, base: Searcher, levels: Mapping[str, float]) -> Searcher:
        """Return a searcher whose levels count otherwise. Its relevance is calibrated with the scores that it gives."""
        if not levels:
            return base
        last = self._reweighted
        if last is not None and last.base is base and last.levels == levels:
            return last.searcher
        model = reweighted(base.model, levels)
        calibration = self._calibrate(model, base.index)
        searcher = Searcher(
            model, base.index, base.lookup, calibration, attributes=base.attributes, appearances=base.appearances
        )
        self._reweighted = ReweightedSearcher(searcher, base, levels)
        return searcher

    def reranker(self, catalogue: Catalogue, model: Model, rerank: bool | None) -> Reranker | None:
        """Return what this library re-ranks with, or None where `rerank` or the settings say not to."""
        if rerank is False:
            return None
        components = self.components(catalogue)
        configured = components.rerank_section()
        if configured is None and not rerank:
            return None
        section = components.reranking(model)
        pools, built = pools_state(section), self._reranker
        if built is not None and built.section == section and built.model is model:
            if built.pools != pools:
                built = replace(built, reranker=_with_pools_of(built.reranker, section, model), pools=pools)
                self._reranker = built
            return built.reranker
        reranker: Reranker = plugins.build(
            "rerank",
            section.name,
            section.options,
            model=model,
            views=VideoLookup(self.path / FEATURES, self.catalogue, model, components.load().key_image_method),
            store=self._open_store(),
            device=components.device,
        )
        self._reranker = BuiltReranker(reranker, section, model, pools)
        return reranker

    def _open_store(self) -> SkeletonStore:
        if self._store is None:
            self._store = SkeletonStore(self.path / SKELETONS_FILE)
        return self._store

    def _drop_state(self) -> None:
        self.answers.clear()
        if self._state is not None:
            self._state.close()
            self._state = self._reweighted = None


def _with_pools_of(reranker: Reranker | None, section: Section, model: Model) -> Reranker:
    """Return a re-ranker that asks the questions of a section's pools. UsageError where it asks none at all."""
    if not isinstance(reranker, SkeletonReranker):
        raise UsageError("the settings re-rank by another method, which asks no questions")
    return reranker.with_pools_of(section, model)
