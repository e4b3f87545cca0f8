"""A library behind a thread of its own, and its hits as the plain values that documents of other frameworks carry."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..library import Library
from ..library.core import ModelLike
from ..report.explanation import answer_text
from ..types import Hit


class ThreadBoundLibrary:
    """A library that can be searched from any thread, or event loop.

    A Library belongs to one thread, and these frameworks search from whichever they like: one worker thread opens it,
    searches, and closes it.
    """

    def __init__(self, library: str | os.PathLike[str], model: ModelLike, options: Mapping[str, Any]) -> None:
        """Check that a library is there. model: as for a Library; options: of `Library.search`, besides the query."""
        path = Path(os.path.expanduser(library))
        if not Library(path).exists:
            raise UsageError(f"{path}: no library is here; make one: mmi-tvr index DIR --library {path}")
        self._options = dict(options)
        self._library = Library(path, model=model)
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="library")

    def submit(self, query: str) -> Future[Sequence[Hit]]:
        """Start a search; the future holds its hits."""
        return self._worker.submit(lambda: self._library.search(query, **self._options).hits)

    def close(self) -> None:
        """Close the library. Nothing can be searched afterwards."""
        self._worker.submit(self._library.close)
        self._worker.shutdown()


def page_text(hit: Hit) -> str:
    """Return what a language model is to read of a hit: which seconds of which video, and the answers of re-ranking."""
    lines = [f"{hit.path.name}, {hit.start:.1f} s to {hit.end:.1f} s"]
    if hit.explanation is not None:
        answers = [answer for answer in hit.explanation.video_skeleton if answer.error is None]
        lines += [f"{answer.question} {answer_text(answer)}" for answer in answers]
    return "\n".join(lines)


def metadata(hit: Hit) -> dict[str, Any]:
    """Return all fields of a hit as values that JSON can carry; `explanation` is None without re-ranking."""
    return {
        "path": str(hit.path),
        "start": hit.start,
        "end": hit.end,
        "time": hit.time,
        "score": hit.score,
        "relevance": hit.relevance,
        "also": [str(path) for path in hit.copies],
        "explanation": hit.explanation.as_dict() if hit.explanation else None,
    }


def moment_id(hit: Hit) -> str:
    """Return an id that is the same for the same moment of the same file."""
    return f"{hit.path.absolute().as_uri()}#t={hit.start:.3f},{hit.end:.3f}"
