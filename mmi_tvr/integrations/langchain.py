"""A library as a LangChain retriever (langchain-core, extra `langchain`).

    from mmi_tvr.integrations.langchain import VideoRetriever

    retriever = VideoRetriever(library="my-library", top=3)
    for document in retriever.invoke("a man talking in a car"):
        print(document.metadata["path"], document.metadata["start"])

The class is made when it is asked for, so that the package needs LangChain nowhere else.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from .. import plugins
from ._documents import Shelf, content, identity, metadata

_NAME = "VideoRetriever"


def __getattr__(name: str) -> Any:
    if name != _NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _made()


@cache
def _made() -> type[Any]:
    retrievers = plugins.require("langchain_core.retrievers", "langchain")
    documents = plugins.require("langchain_core.documents", "langchain")

    class VideoRetriever(retrievers.BaseRetriever):  # type: ignore[misc, name-defined]
        """Documents of the best moments: path, start, end, score, relevance and explanation in their metadata.

        library: its folder. model: None takes the library's own. top, min_relevance, rerank: as `Library.search`. An
        empty list says that nothing was found. Safe to use from several threads, which wait for each other.
        """

        library: str
        model: Any = None
        top: int = 5
        min_relevance: float | None = None
        rerank: bool | None = None
        _shelf: Any = None

        def model_post_init(self, context: Any, /) -> None:
            options = {"top": self.top, "min_relevance": self.min_relevance, "rerank": self.rerank}
            self._shelf = Shelf(self.library, self.model, options)

        def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Any]:
            hits = self._shelf.submit(query).result()
            return [
                documents.Document(id=identity(hit), page_content=content(hit), metadata=metadata(hit)) for hit in hits
            ]

        def close(self) -> None:
            """Let go of the library."""
            self._shelf.close()

    VideoRetriever.__module__, VideoRetriever.__qualname__ = __name__, _NAME
    return VideoRetriever
