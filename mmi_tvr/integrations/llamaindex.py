"""A library as a LlamaIndex retriever (llama-index-core, extra `llamaindex`).

    from mmi_tvr.integrations.llamaindex import LlamaIndexVideoRetriever

    retriever = LlamaIndexVideoRetriever("my-library", top=3)
    for node in retriever.retrieve("a man talking in a car"):
        print(node.score, node.metadata["path"], node.metadata["start"])

The class is built at its first import, so that the package needs LlamaIndex nowhere else.
"""

from __future__ import annotations

import os
from typing import Any

from ..search import SearchResult
from ..utils.installation import require
from ..utils.loading import loaded_once
from ._documents import SearchedLibrary, metadata, moment_id, page_text

_NAME = "LlamaIndexVideoRetriever"
_PROGRAM_KEYS = ["explanation", "also"]  # for programs: a language model reads the answers in the text


def __getattr__(name: str) -> Any:
    if name != _NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _retriever_class()


@loaded_once
def _retriever_class() -> type[Any]:
    base_class = require("llama_index.core.retrievers", "llamaindex").BaseRetriever
    schema = require("llama_index.core.schema", "llamaindex")

    class LlamaIndexVideoRetriever(base_class):  # type: ignore[misc, valid-type]
        """Nodes of the best moments; metadata: path, start, end, score, relevance, found, reason, explanation.

        A node's own score is the relevance, which can be compared across queries. library: its folder. model: None
        takes the library's own. top, min_relevance, rerank: as `Library.search`; `base` goes to BaseRetriever. An empty
        list says that nothing matches. Safe to use from several threads, which wait for each other.
        """

        def __init__(
            self,
            library: str | os.PathLike[str],
            *,
            model: Any = None,
            top: int = 5,
            min_relevance: float | None = None,
            rerank: bool | None = None,
            **base: Any,
        ) -> None:
            super().__init__(**base)
            self._library = SearchedLibrary(
                library, model, {"top": top, "min_relevance": min_relevance, "rerank": rerank}
            )

        def _retrieve(self, query_bundle: Any) -> list[Any]:
            return _nodes(schema, self._library.search(query_bundle.query_str))

        async def _aretrieve(self, query_bundle: Any) -> list[Any]:
            return _nodes(schema, await self._library.asearch(query_bundle.query_str))

        def close(self) -> None:
            """Close the library."""
            self._library.close()

    LlamaIndexVideoRetriever.__module__, LlamaIndexVideoRetriever.__qualname__ = __name__, _NAME
    return LlamaIndexVideoRetriever


def _nodes(schema: Any, result: SearchResult) -> list[Any]:
    """Return the hits of a result as nodes. schema: LlamaIndex's module of that name."""
    nodes = []
    for hit in result:
        node = schema.TextNode(
            id_=moment_id(hit),
            text=page_text(hit),
            metadata=metadata(result, hit),
            excluded_llm_metadata_keys=_PROGRAM_KEYS,
            excluded_embed_metadata_keys=_PROGRAM_KEYS,
        )
        nodes.append(schema.NodeWithScore(node=node, score=hit.relevance))
    return nodes
