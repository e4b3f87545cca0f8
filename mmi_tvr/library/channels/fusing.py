"""One result of what is seen and of what text channels know: items in one order, each with how it was found."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...fulltext.query import parse
from ...queries import PreparedQuery
from ...scoring.decision import NOTHING_INDEXED, Decision, decide
from ...scoring.fusion import BELIEVED, contributions, fused_relevance
from ...search import SearchResult
from ...types import SEEN, Hit, HitMoment, Query, SimilarItem, VideoEntry
from ...utils.stage_clock import StageClock
from ..catalogue import Catalogue
from .searching import ChannelItem, LibraryChannels

_NO_QUOTED = re.compile(r'(?:\b(?:without|no|not|except|nor)\b|没有|没|不含|不包括|而不是)\s*["“「『]', re.IGNORECASE)
_QUOTED_REMARK = "what stands in quotation marks must be said or written, also behind a no; to exclude words: --not"
_NO_TEXT = Decision(False, "nothing that is said or written comes near it")
_MOMENTS = 3  # of one channel, at most, in a hit
_RESTRICTED = 50  # items, at least, of which it is looked up what is said where what is seen decides which they are


@dataclass(frozen=True, slots=True)
class FusedSearch:
    """How a result is put together: at most `top` hits, each of the relevance `least` (None: as the model and the
    channels say), among the items of these `numbers` (None: all); `model_least` is the relevance from which what is
    seen is to be believed, and `groups` has the group of each item that has near-duplicates, of which the best is the
    hit."""

    top: int
    least: float | None
    numbers: frozenset[int] | None
    model_title: str
    model_least: float = 0.0
    groups: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Item:
    """An item as each channel found it; `key` orders it."""

    number: int
    hit: Hit | None
    texts: Mapping[str, ChannelItem]
    key: float

    @property
    def relevances(self) -> dict[str, float]:
        """The relevance by each channel that found it, by name."""
        by_sight = {} if self.hit is None else {SEEN: self.hit.relevance}
        return by_sight | {name: item.relevance for name, item in self.texts.items()}


def needed_hits(queries: Iterable[Query], top: int) -> int:
    """Return how many hits of what is seen are needed for `top` hits of all channels."""
    return max(top, _RESTRICTED) if any(map(_is_restricted, queries)) else top


def _is_restricted(query: Query) -> bool:
    """Return whether what is seen decides among which items a query is searched: those with certain people or classes.

    Decision: what is said and written is then looked up of the best of them alone.
    """
    return bool(query.where or query.persons)


def with_texts(
    channels: LibraryChannels, catalogue: Catalogue, result: SearchResult, query: PreparedQuery, search: FusedSearch
) -> SearchResult:
    """Return the result of what is seen together with what text channels find of its query.

    Args:
        channels: of the library.
        catalogue: of the library.
        result: of what is seen, whatever the relevance.
        query: whose result it is.
        search: how they are put together.
    """
    clock, exact = StageClock(), parse(query.positive.spoken).exact
    with clock.stage("texts"):
        numbers = search.numbers
        if _is_restricted(result.query):
            numbers = frozenset(hit.id for hit in result if hit.id is not None)
        [channel_items] = channels.search([query], search.top, numbers)
        entries = catalogue.entries({item.number for items in channel_items.values() for item in items}, unseen=True)
        fused = fuse(result, exact, channel_items, entries, search)
    seconds = clock.share(1).seconds()
    if exact and _NO_QUOTED.search(query.positive.text):
        fused = replace(fused, remarks=(*fused.remarks, _QUOTED_REMARK))
    return replace(
        fused,
        seconds={**result.seconds, "texts": seconds["texts"], "total": result.seconds["total"] + seconds["total"]},
    )


def fuse(
    result: SearchResult,
    exact: Sequence[str],
    channel_items: Mapping[str, Sequence[ChannelItem]],
    entries: Mapping[int, VideoEntry],
    search: FusedSearch,
) -> SearchResult:
    """Return one result.

    Args:
        result: of what is seen, in its order, whatever the relevance.
        exact: words that texts must have as they are.
        channel_items: what each text channel finds, by its name.
        entries: of the items that these found; an item without one may not be shown.
        search: how.
    """
    items = _items(result.hits, channel_items, entries)
    if exact:
        items = [item for item in items if item.texts]
    decision = _decision(result, items, exact, search)
    hits = [_hit(item, entries, math.inf if exact else search.model_least) for item in items]
    if not decision.is_found and search.least != 0:
        return replace(result, hits=(), closest=next(iter(hits), None), decision=decision)
    shown = _folded([hit for hit in hits if hit.relevance >= (search.least or 0.0)], search.groups)
    return replace(result, hits=tuple(shown[: search.top]), closest=None, decision=decision)


def _folded(hits: Sequence[Hit], groups: Mapping[int, int]) -> list[Hit]:
    """Return the hits with the first one alone of each group, which knows the others."""
    shown: list[Hit] = []
    places: dict[int, int] = {}  # group -> where its first one stands
    for hit in hits:
        group = None if hit.id is None else groups.get(hit.id)
        if group is None or group not in places:
            if group is not None:
                places[group] = len(shown)
            shown.append(hit)
            continue
        assert hit.id is not None
        leader = shown[places[group]]
        similar = {one.id: one for one in (*leader.similar, SimilarItem(hit.id, hit.path), *hit.similar)}
        others = tuple(one for number, one in similar.items() if number != leader.id)
        shown[places[group]] = replace(leader, similar=others)
    return shown


def _items(
    hits: Sequence[Hit], channel_items: Mapping[str, Sequence[ChannelItem]], entries: Mapping[int, VideoEntry]
) -> list[_Item]:
    """Return all items, the best first.

    Hits may be in another order than that of their relevance, after a re-ranking say: it is kept, and the others are
    put where the relevances of this search say.
    """
    texts: dict[int, dict[str, ChannelItem]] = {}
    for name, of_channel in channel_items.items():
        for item in of_channel:
            if item.number in entries:
                texts.setdefault(item.number, {})[name] = item
    descending = sorted((hit.relevance for hit in hits), reverse=True)
    items = []
    for relevance, hit in zip(descending, hits, strict=True):
        of_hit = texts.pop(hit.id, {}) if hit.id is not None else {}
        items.append(_item(hit.id or 0, hit, of_hit, {SEEN: relevance}))
    items += [_item(number, None, of_number, {}) for number, of_number in texts.items()]
    return sorted(items, key=lambda item: -item.key)


def _item(number: int, hit: Hit | None, texts: Mapping[str, ChannelItem], places: Mapping[str, float]) -> _Item:
    relevances = {**places, **{name: item.relevance for name, item in texts.items()}}
    return _Item(number, hit, texts, fused_relevance(relevances))


def _decision(result: SearchResult, items: Sequence[_Item], exact: Sequence[str], search: FusedSearch) -> Decision:
    """Return whether something was found: by what is seen, as the model says, or by a text channel."""
    words = ", ".join(f'"{one}"' for one in exact)
    if words:
        less = " without what is excluded" if result.without else ""
        return Decision(bool(items), f"{'texts have' if items else 'no text has'} the words {words}{less}")
    if search.least:
        best = max((fused_relevance(item.relevances) for item in items), default=None)
        return decide(best, search.least, search.model_title, search.model_least, None)
    if result.decision.is_found:
        return result.decision
    if result.decision == NOTHING_INDEXED:  # of what can be seen; texts are there
        result = replace(result, decision=_NO_TEXT)
    if not items:
        return result.decision
    named = {name: max(item.relevances.get(name, 0.0) for item in items) for item in items for name in item.texts}
    worth = contributions(named)
    best_channel = max(worth, key=lambda name: worth[name], default=None)
    if best_channel is None or worth[best_channel] < BELIEVED:
        return result.decision
    return Decision(True, f"it was found by {best_channel}, whose best hit counts {worth[best_channel]:.2f} of 1")


def _hit(item: _Item, entries: Mapping[int, VideoEntry], model_least: float) -> Hit:
    """Return the hit of an item: what is seen of it, with what the text channels add.

    model_least: relevance from which what is seen has found it, too; infinite where texts alone can, which have the
    words in quotation marks: then it is found for certain, and the relevances say in which order.
    """
    hit = item.hit or _text_hit(item, entries[item.number])
    if not item.texts:
        return hit
    worth = contributions(item.relevances)
    by_words = math.isinf(model_least)
    named = item.texts if by_words else worth
    names = sorted(named, key=lambda name: -worth[name])
    least = {name: model_least if name == SEEN else BELIEVED for name in names}
    found_by = tuple(name for name in names if name == names[0] or worth[name] >= least[name])
    moments: list[HitMoment] = []
    for name in found_by:
        if name == SEEN:
            moments += hit.moments or (HitMoment(hit.start, hit.end),)
        else:
            moments += _moments(name, item.texts[name], hit.facts.is_still)
    scores = {**hit.scores, **{name: one.score for name, one in item.texts.items()}}
    relevance = 1.0 if by_words else max(worth.values())
    hit = replace(hit, relevance=relevance, scores=scores, found_by=found_by, moments=tuple(moments))
    if found_by[0] == SEEN or hit.facts.is_still:
        return hit
    span = item.texts[found_by[0]].moments[0][0].span
    return replace(hit, start=span.start, end=span.end, time=span.time)


def _text_hit(item: _Item, entry: VideoEntry) -> Hit:
    """Return the hit of an item of which nothing is seen that fits."""
    path, *copies = entry.paths
    best = max(item.texts.values(), key=lambda one: one.relevance)
    return Hit(
        path=path,
        start=0.0,
        end=0.0,
        time=0.0,
        score=best.score,
        relevance=best.relevance,
        copies=tuple(copies),
        id=item.number,
        facts=entry.facts,
        companions=entry.companions,
    )


def _moments(name: str, item: ChannelItem, is_still: bool) -> list[HitMoment]:
    """Return the best moments of an item by a text channel: the best one, and others that are to be believed."""
    moments: list[HitMoment] = []
    for moment, relevance in item.moments[:_MOMENTS]:
        if moments and contributions({name: relevance})[name] < BELIEVED:
            break
        start, end = (0.0, 0.0) if is_still else (moment.span.start, moment.span.end)
        moments.append(HitMoment(start, end, name, moment.text))
    return moments
