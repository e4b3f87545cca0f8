"""A library with the options of its searches, and its hits as the plain values that documents elsewhere carry."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from ..errors import LibraryMissing
from ..library import Library
from ..library.arguments import ModelLike
from ..report.explanation import answer_text
from ..search import SearchResult
from ..types import Hit
from ..utils.addresses import file_uri
from ..utils.wording import library_option

_log = logging.getLogger("mmi_tvr.integrations")


class SearchedLibrary:
    """A library that frameworks search from whichever thread or event loop they like, always with the same options."""

    def __init__(self, library: str | os.PathLike[str], model: ModelLike, options: Mapping[str, Any]) -> None:
        """Check that a library is there. model: as for a Library; options: of `Library.search`, besides the query."""
        self._library = Library(library, model=model)
        if not self._library.exists:
            path = self._library.path
            raise LibraryMissing(f"{path}: no library is here; make one: mmi-tvr index DIR {library_option(path)}")
        self._options = dict(options)

    def search(self, query: str) -> SearchResult:
        """Return the result of a query."""
        result: SearchResult = self._library.search(query, **self._options)
        return _logged(result)

    async def asearch(self, query: str) -> SearchResult:
        """Return the result of a query, while the event loop goes on."""
        result: SearchResult = await self._library.asearch(query, **self._options)
        return _logged(result)

    def close(self) -> None:
        """Close the library."""
        self._library.close()


def _logged(result: SearchResult) -> SearchResult:
    """Say in the log why a result is empty, which a list of documents cannot, without the names of people."""
    if not result:
        _log.info("nothing matches: %s", result.decision.public_reason)
    return result


def page_text(hit: Hit) -> str:
    """Return what a language model is to read of a hit: which seconds of which video, and the answers of re-ranking."""
    lines = [f"{hit.path.name}, {hit.start:.1f} s to {hit.end:.1f} s"]
    if hit.explanation is not None:
        answers = [answer for answer in hit.explanation.video_skeleton if answer.error is None]
        lines += [f"{answer.question} {answer_text(answer)}" for answer in answers]
    return "\n".join(lines)


def metadata(result: SearchResult, hit: Hit) -> dict[str, Any]:
    """Return the fields of one of a result's hits as values that JSON can carry, and whether something was found, and
    why; `explanation` is None without re-ranking.

    Decision: without `people`, because documents go on to servers, and names do not leave the machine.
    """
    return {
        "path": str(hit.path),
        "start": hit.start,
        "end": hit.end,
        "time": hit.time,
        "score": hit.score,
        "relevance": hit.relevance,
        "found": result.is_found,
        "reason": result.decision.public_reason,
        "also": [str(path) for path in hit.copies],
        "explanation": hit.explanation.as_dict() if hit.explanation else None,
    }


def moment_id(hit: Hit) -> str:
    """Return an id that is the same for the same moment of the same file."""
    fragment = "" if hit.facts.is_still else f"#t={hit.start:.3f},{hit.end:.3f}"
    return file_uri(hit.path) + fragment
