"""The options of a search of a library, as callers pass them and as they are checked."""

from __future__ import annotations

import os
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..queries import checked_exclusions, checked_relevance, checked_top
from ..search import Preview
from ..skeletons.expansion import MAX_WORDINGS
from ..types import ItemMoment, Query, Where, as_where
from .arguments import checked_count, checked_flag, checked_levels, checked_names, checked_path, checked_preview
from .examples import ExampleSource, checked_like
from .filters import FilterKeywords, MediaFilter, checked_filter

MAX_MORE = 50  # moments of a hit

if TYPE_CHECKING:
    from typing_extensions import Unpack


class SearchKeywords(FilterKeywords, total=False):
    """What `Library.search` takes by name alone, besides what restricts a search to some items (`FilterKeywords`).

    - `literal`: whether a sentence is read as it stands, so that what it excludes ("a beach without people") is looked
      for, too; None: as the settings say, which is no.
    - `expand`: how many paraphrases a language model writes, 0 to 8, besides a translation. What is missing of them
      costs no hit, and the result's `expansion` says why. None: as the settings say, which is none.
    - `exact`: certify that no other video of the library scores as high (see `Searcher.search`).
    - `levels`: what the weights of the model's blocks are multiplied by, by their names ({"relation": 2}); only of
      models whose vectors have blocks. Relevance is calibrated anew.
    - `where`: only videos that show all of these classes, by level ({"action": ["spins"]}), besides those of a `Query`;
      only of models that read classes off videos (`Library.facets` lists them).
    - `persons`: names of people of the library, all of whom are to be in the video, besides those whom the query names.
    - `me`: the name of who asks, for "me" in a query; None: whoever is called so.
    - `only`: only videos in which the people were recognised, also with a model that reads faces itself.
    - `like`: what hits are to be like, besides what the query says, which may be "": a picture, a video, the moment of
      one ("FILE@SECONDS"), whether it is in the library or not; or a `types.ItemMoment` of the library. Such a search
      is not re-ranked.
    - `without`: what is not to be there, besides what the query excludes itself; one sentence or several.
    - `fold`: whether near-duplicates (`Library.duplicates`) are one hit, the best of them, with the others in
      `Hit.similar`.
    - `more`: at most so many moments of each hit (`Hit.moments`), 1 to 50, the best first.
    - `pools`: a folder with question pools (text.yaml, video.yaml) that a re-ranking asks instead of the library's.
    - `preview`: called with the result as it is without re-ranking, before that begins; once more where another process
      replaces what a search reads. Of `asearch`, in its thread.
    """

    literal: bool | None
    expand: int | None
    exact: bool
    levels: Mapping[str, float] | None
    where: Mapping[str, str | Collection[str]] | None
    persons: Sequence[str]
    me: str | None
    only: bool
    like: str | os.PathLike[str] | ItemMoment | None
    without: str | Sequence[str]
    fold: bool
    more: int
    pools: Path | None
    preview: Preview | None


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """The checked options of `Library.search`."""

    top: int
    min_relevance: float | None
    rerank: bool | None
    literal: bool | None
    expand: int | None
    exact: bool
    levels: Mapping[str, float]
    where: Where
    persons: tuple[str, ...] = ()
    me: str | None = None
    only: bool = False
    like: ExampleSource | None = None
    items: MediaFilter = field(default_factory=MediaFilter)
    without: tuple[str, ...] = ()
    fold: bool = True
    more: int = 1
    pools: Path | None = None
    preview: Preview | None = None

    @property
    def key(self) -> Hashable | None:
        """What tells these options from others; None where a result depends on more than query, library and settings,
        or is restricted."""
        reads_more = self.like is not None or self.pools is not None or self.preview is not None
        if reads_more or self.rerank or self.expand or self.levels or self.where or self.persons or self.items.texts:
            return None
        return (
            self.top, self.min_relevance, self.rerank, self.literal, self.expand, self.exact, self.me, self.only,
            self.without, self.fold, self.more,
        )  # fmt: skip


def restricted(query: Query, where: Where) -> Query:
    """Return a query that asks for these classes besides those that it asks for."""
    if not where:
        return query
    levels = [*query.where, *where]
    return replace(
        query, where={level: query.where.get(level, frozenset()) | where.get(level, frozenset()) for level in levels}
    )


def search_options(
    top: int,
    min_relevance: float | None,
    rerank: bool | None,
    *,
    literal: bool | None = None,
    expand: int | None = None,
    exact: bool = False,
    levels: Mapping[str, float] | None = None,
    where: Mapping[str, str | Collection[str]] | None = None,
    persons: Sequence[str] = (),
    me: str | None = None,
    only: bool = False,
    like: str | os.PathLike[str] | ItemMoment | None = None,
    without: str | Sequence[str] = (),
    fold: bool = True,
    more: int = 1,
    pools: Path | None = None,
    preview: Preview | None = None,
    **filters: Unpack[FilterKeywords],
) -> SearchOptions:
    """Return the options of a search, checked; the arguments are those of `Library.search`. Raises UsageError."""
    if like is not None and rerank:
        raise UsageError("re-ranking asks what a sentence says, and an example says nothing: leave out one of both")
    return SearchOptions(
        checked_top(top),
        checked_relevance(min_relevance),
        rerank=None if rerank is None else checked_flag(rerank, "rerank"),
        literal=None if literal is None else checked_flag(literal, "literal"),
        expand=None if expand is None else checked_count(expand, "expand", MAX_WORDINGS),
        exact=checked_flag(exact, "exact"),
        levels=checked_levels(levels),
        where=as_where({} if where is None else where),
        persons=checked_names(persons),
        me=None if me is None else checked_names(me)[0],
        only=checked_flag(only, "only"),
        like=None if like is None else checked_like(like),
        items=checked_filter(filters),
        fold=checked_flag(fold, "fold"),
        without=checked_exclusions(without),
        more=checked_count(more, "more", MAX_MORE, least=1),
        pools=None if pools is None else checked_path(pools, "pools"),
        preview=checked_preview(preview),
    )
