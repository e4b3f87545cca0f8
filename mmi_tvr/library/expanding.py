"""Who writes other wordings of the queries of a library, and where they are kept: in the user's cache.

Decision: not in the library, which a search may not be able to write, and in which a query has no place. The cache
knows a query by a hash of its words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .. import plugins, prompt_templates
from ..config import SearchSection, Section
from ..errors import MODEL_FAILURES, one_line
from ..protocols import Model
from ..queries import Expansion, PreparedQuery
from ..rerank import DEFAULT_ANSWERER
from ..skeletons.expansion import EXPANSIONS_FILE, QueryExpander
from ..skeletons.store import SkeletonStore
from ..utils import array_cache
from .components import Components


class LibraryExpander:
    """Expands the queries of one library. The answerer is made at the first one, and again for another model."""

    def __init__(self) -> None:
        self._expander: QueryExpander | None = None
        self._section: Section | None = None
        self._model: Model | None = None

    def expand(
        self, queries: Sequence[PreparedQuery], options: SearchSection, components: Components, model: Model
    ) -> list[PreparedQuery]:
        """Return the queries with other wordings; where nobody can write any, with the reason."""
        try:
            expander = self._ready(options.answerer or _answerer_of(components, model), components, model)
        except MODEL_FAILURES as error:
            return [replace(query, expansion=Expansion(problem=one_line(error))) for query in queries]
        return expander.expand(queries, options.expand, options.seconds)

    def close(self) -> None:
        """Let go of the store and of the answerer."""
        if self._expander is not None and self._expander.store is not None:
            self._expander.store.close()
        self._expander, self._section, self._model = None, None, None

    def _ready(self, section: Section, components: Components, model: Model) -> QueryExpander:
        if self._expander is None or self._section != section or self._model is not model:
            self.close()
            answerer = plugins.build("answerers", section.name, section.options, device=components.device, model=model)
            store = SkeletonStore(array_cache.folder() / EXPANSIONS_FILE)
            self._expander = QueryExpander(answerer, prompt_templates.expand(), store)
            self._section, self._model = section, model
        return self._expander


def _answerer_of(components: Components, model: Model) -> Section:
    """Return who answers in a re-ranking of the library."""
    return Section(**{"name": DEFAULT_ANSWERER, **components.reranking(model).options.get("answerer", {})})
