"""A library as a LangChain retriever (langchain-core, extra `langchain`).

    from mmi_tvr.integrations.langchain import LangChainVideoRetriever

    retriever = LangChainVideoRetriever(library="my-library", top=3)
    for document in retriever.invoke("a man talking in a car"):
        print(document.metadata["path"], document.metadata["start"])

The class is built at its first import, so that the package needs LangChain nowhere else.
"""

from __future__ import annotations

from typing import Any

from ..utils.installation import require
from ..utils.loading import loaded_once
from ._documents import SearchedLibrary, metadata, moment_id, page_text

_NAME = "LangChainVideoRetriever"


def __getattr__(name: str) -> Any:
    if name != _NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _retriever_class()


@loaded_once
def _retriever_class() -> type[Any]:
    retrievers = require("langchain_core.retrievers", "langchain")
    documents = require("langchain_core.documents", "langchain")

    class LangChainVideoRetriever(retrievers.BaseRetriever):  # type: ignore[misc, name-defined]
        """Documents of the best moments; metadata: path, start, end, score, relevance, found, reason, explanation.

        library: its folder. model: None takes the library's own. top, min_relevance, rerank: as `Library.search`. An
        empty list says that nothing matches. Safe to use from several threads, which wait for each other.
        """

        library: str
        model: Any = None
        top: int = 5
        min_relevance: float | None = None
        rerank: bool | None = None
        _library: Any = None

        def model_post_init(self, context: Any, /) -> None:
            options = {"top": self.top, "min_relevance": self.min_relevance, "rerank": self.rerank}
            self._library = SearchedLibrary(self.library, self.model, options)

        def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Any]:
            result = self._library.search(query)
            return [
                documents.Document(id=moment_id(hit), page_content=page_text(hit), metadata=metadata(result, hit))
                for hit in result
            ]

        def close(self) -> None:
            """Close the library."""
            self._library.close()

    LangChainVideoRetriever.__module__, LangChainVideoRetriever.__qualname__ = __name__, _NAME
    return LangChainVideoRetriever
