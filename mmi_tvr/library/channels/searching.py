"""The text channels of a library as a search asks them: everything that they know of a query, with its relevance."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ... import plugins
from ...errors import MissingExtra, MmiTvrError, ModelNotFound, UsageError
from ...fulltext.index import TextMoment
from ...fulltext.shares import WordShares
from ...protocols import Channel, Index, QueryEmbeddingModule
from ...queries import PreparedQuery
from ...scoring.relevance import GumbelLaw, background_texts
from ...search.text_queries import RelevantItem, TextChannel, TextQuery, Vectors
from ...search.texts import WORDS, TextSearcher, calibrate
from ...types import FloatArray, Query
from ...utils import array_cache
from ...utils.sqlite import FileStamp
from ..catalogue import Catalogue
from ..reading import state_changed_where_files_vanish
from .store import ChannelStore, RememberedChannel, has_channels, texts_stamp, what_to_do

_BACKGROUND = 4  # every fourth background sentence: 32 of each language
_LAWS = "laws"  # setting of the file: name -> [WORDS, moments, mu, beta]
_GROWN = 1.1  # times as many moments as when the law was fitted are worth another fit

EmbedQueries = Callable[[Sequence[Query]], FloatArray]


@dataclass(frozen=True, slots=True)
class ChannelItem:
    """An item that a channel found: its number in the catalogue, how relevant it is by that channel alone, its score
    there, and its moments, the best first, with their relevance."""

    number: int
    relevance: float
    score: float
    moments: tuple[tuple[TextMoment, float], ...]


class LibraryChannels:
    """The text channels of a library, open to be searched, as they were at one moment."""

    def __init__(self, store: ChannelStore, numbers: Mapping[str, int]) -> None:
        """Open the vectors of all channels of a store, which `close` closes, too.

        numbers: of the items that may be found in the catalogue, by their contents.
        """
        self._store = store
        self._numbers = numbers
        self._version = store.texts.version()
        self._vectors: list[Index] = []
        self._channels: dict[str, TextChannel] = {}
        self._embedders: dict[str, EmbedQueries | None] = {}
        shares = WordShares(store.texts)
        for name, remembered in store.remembered().items():
            vectors = store.open_vectors(name, remembered, create=False)
            if vectors is not None:
                self._vectors.append(vectors)
            searcher = TextSearcher(name, store.texts, vectors, shares)
            embed = self._embedders[name] = query_embedder(name, remembered)
            self._channels[name] = TextChannel(name, searcher, law_of(store, name, searcher, embed, remembered))

    def close(self) -> None:
        for vectors in self._vectors:
            vectors.close()
        self._store.close()

    def is_outdated(self) -> bool:
        """Return whether somebody has written since this was opened, or has replaced or removed what is open."""
        return self._store.texts.is_replaced() or self._store.texts.version() != self._version

    def count_items(self) -> int:
        """Return how many items have moments that can be searched."""
        return len({content for channel in self._channels.values() for content in channel.searcher.contents()})

    def search(
        self, queries: Sequence[PreparedQuery], items: int, numbers: Collection[int] | None = None
    ) -> list[dict[str, list[ChannelItem]]]:
        """Return for each query what each channel found, the best first, by its name.

        Args:
            queries: one without a text, or by an example, finds nothing.
            items: so many at least are looked for in each channel.
            numbers: of the items to search among; None: all.
        """
        contents = None
        if numbers is not None:
            contents = {content for content, number in self._numbers.items() if number in numbers}
        read = [TextQuery.of(query) for query in queries]
        sentences = tuple(dict.fromkeys(text for query in read for text in query.sentences))
        vectors: dict[EmbedQueries | None, Vectors] = {None: dict.fromkeys(sentences)}
        results: list[dict[str, list[ChannelItem]]] = [{} for _ in queries]
        for name, channel in self._channels.items() if sentences else ():
            embed = self._embedders[name]
            if embed is not None and embed not in vectors:
                vectors[embed] = dict(zip(sentences, embed([Query(text) for text in sentences]), strict=True))
            for row, query in enumerate(read):
                if query.target:
                    with state_changed_where_files_vanish():
                        items_of_query = channel.search(query, vectors[embed], items, contents)
                    results[row][name] = self._numbered(items_of_query)
        return results

    def _numbered(self, items: Sequence[RelevantItem]) -> list[ChannelItem]:
        """Return items with their numbers, without those that the catalogue has forgotten and a channel not yet."""
        return [
            ChannelItem(self._numbers[item.content], item.relevance, item.score, item.moments)
            for item in items
            if item.content in self._numbers
        ]


class ChannelsReader:
    """Opens the text channels of a library when a search needs them, anew where somebody has written since."""

    def __init__(self, library: Path) -> None:
        self._library = library
        self._channels: LibraryChannels | None = None
        self._catalogue_version: int | None = None
        self._numbers: dict[str, int] = {}
        self.problem: str | None = None  # why they cannot be searched
        self._problem_stamp: FileStamp = ()  # of the file of texts that it was said of

    def close(self) -> None:
        if self._channels is not None:
            self._channels.close()
        self._channels = self._catalogue_version = self.problem = None

    def remarks(self) -> tuple[str, ...]:
        """Return what is to be said of the channels with every result."""
        return () if self.problem is None else (self.problem,)

    def present(self, catalogue: Catalogue, version: int) -> LibraryChannels | None:
        """Return the channels as they are now; None where there are none, or where `problem` says why not.

        version: of the catalogue.
        """
        if self._catalogue_version != version:
            self.close()
        if self._channels is not None and not self._channels.is_outdated():
            return self._channels
        if not has_channels(self._library):
            self.close()
            return None
        stamp = texts_stamp(self._library)
        if self.problem is not None and stamp == self._problem_stamp:
            return None
        self.problem = None
        if self._catalogue_version != version:
            contents = catalogue.contents_with("state = 'indexed'")
            self._numbers = {content.sha256: content.number for content in contents}
            self._catalogue_version = version
        if self._channels is not None:
            self._channels.close()
            self._channels = None
        try:
            store = ChannelStore.open_to_read(self._library)
        except MmiTvrError as error:
            self.problem = f"what is said and written is not searched: {what_to_do(error, self._library)}"
            self._problem_stamp = stamp
            return None
        assert store is not None
        try:
            self._channels = LibraryChannels(store, self._numbers)
        except BaseException:
            store.close()
            raise
        return self._channels


def query_embedder(name: str, remembered: RememberedChannel) -> EmbedQueries | None:
    """Return what embeds the queries of a channel; None where that cannot be had here, and words alone are searched."""
    try:
        module: object = plugins.load("channels", name)
        if isinstance(module, QueryEmbeddingModule):
            return module.embed_queries
        channel: Channel = plugins.build("channels", name, remembered.options)
    except (MissingExtra, ModelNotFound, UsageError):
        return None
    return channel.embed_queries


def law_of(
    store: ChannelStore, name: str, searcher: TextSearcher, embed: EmbedQueries | None, remembered: RememberedChannel
) -> GumbelLaw:
    """Return what scores of a channel are worth: as the last run of `index` has fitted it, else fitted now."""
    stored = store.texts.setting(_LAWS, {}).get(name)
    moments = store.texts.count(name)
    if stored is not None and stored[0] == WORDS and stored[1] / _GROWN <= moments <= stored[1] * _GROWN:
        return GumbelLaw(*stored[2:])
    return _fitted(searcher, embed, remembered)


def fit_laws(store: ChannelStore) -> None:
    """Fit what scores of each channel are worth, and store it, so that no search has to."""
    laws = {}
    for name, remembered in store.remembered().items():
        vectors = store.open_vectors(name, remembered, create=False)
        searcher = TextSearcher(name, store.texts, vectors, WordShares(store.texts))
        law = law_of(store, name, searcher, query_embedder(name, remembered), remembered)
        laws[name] = [WORDS, store.texts.count(name), law.mu, law.beta]
        if vectors is not None:
            vectors.close()
    if laws != store.texts.setting(_LAWS, {}):
        store.texts.set_setting(_LAWS, laws)


def _fitted(searcher: TextSearcher, embed: EmbedQueries | None, remembered: RememberedChannel) -> GumbelLaw:
    texts = background_texts()[::_BACKGROUND]
    if embed is None:
        return calibrate(searcher, dict.fromkeys(texts))
    vectors = array_cache.load_or_compute(
        f"background-{searcher.channel}",
        remembered.fingerprint or "",
        lambda: {"vectors": embed([Query(text) for text in texts])},
    )["vectors"]
    return calibrate(searcher, dict(zip(texts, vectors, strict=True)))
