"""A library as a LlamaIndex retriever (llama-index-core, extra `llamaindex`).

    from mmi_tvr.integrations.llamaindex import VideoRetriever

    retriever = VideoRetriever("my-library", top=3)
    for node in retriever.retrieve("a man talking in a car"):
        print(node.score, node.metadata["path"], node.metadata["start"])

The class is made when it is asked for, so that the package needs LlamaIndex nowhere else.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from functools import cache
from typing import Any

from .. import plugins
from ..types import Hit
from ._documents import Shelf, content, identity, metadata

_NAME = "VideoRetriever"
_LONG = ["explanation", "also"]  # for programs: a language model reads the answers in the text


def __getattr__(name: str) -> Any:
    if name != _NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _made()


@cache
def _made() -> type[Any]:
    base = plugins.require("llama_index.core.retrievers", "llamaindex").BaseRetriever
    schema = plugins.require("llama_index.core.schema", "llamaindex")

    class VideoRetriever(base):  # type: ignore[misc, valid-type]
        """Nodes of the best moments: path, start, end, score, relevance and explanation in their metadata.

        A node's own score is the relevance, which can be compared across queries. library: its folder. model: None
        takes the library's own. top, min_relevance, rerank: as `Library.search`; `more` goes to BaseRetriever. An empty
        list says that nothing was found. Safe to use from several threads, which wait for each other.
        """

        def __init__(
            self,
            library: str | os.PathLike[str],
            *,
            model: Any = None,
            top: int = 5,
            min_relevance: float | None = None,
            rerank: bool | None = None,
            **more: Any,
        ) -> None:
            super().__init__(**more)
            self._shelf = Shelf(library, model, {"top": top, "min_relevance": min_relevance, "rerank": rerank})

        def _retrieve(self, query_bundle: Any) -> list[Any]:
            return self._nodes(self._shelf.submit(query_bundle.query_str).result())

        async def _aretrieve(self, query_bundle: Any) -> list[Any]:
            return self._nodes(await asyncio.wrap_future(self._shelf.submit(query_bundle.query_str)))

        def _nodes(self, hits: Sequence[Hit]) -> list[Any]:
            nodes = []
            for hit in hits:
                node = schema.TextNode(
                    id_=identity(hit),
                    text=content(hit),
                    metadata=metadata(hit),
                    excluded_llm_metadata_keys=_LONG,
                    excluded_embed_metadata_keys=_LONG,
                )
                nodes.append(schema.NodeWithScore(node=node, score=hit.relevance))
            return nodes

        def close(self) -> None:
            """Let go of the library."""
            self._shelf.close()

    VideoRetriever.__module__, VideoRetriever.__qualname__ = __name__, _NAME
    return VideoRetriever
