"""Searches as desktops want them: few results with a name, a line, a picture, and an id that is good at any time."""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import shorten
from typing import Any

from ..errors import UsageError
from ..library.catalogue_file import CATALOGUE
from ..report import clock_range
from ..serve.shared import SharedLibrary
from ..utils.printable import printable
from ..utils.sqlite import FileStamp, file_stamp

MOST_RESULTS = 100
_REMEMBERED = 64  # searches: a person types back and forth
_ID = re.compile(r"([0-9]{1,15})@([0-9]{1,9}\.[0-9]{2})")
_SHOWN_TEXT = 60  # characters of what is said
_SHORTEST = 2  # characters of a query of Latin letters


@dataclass(frozen=True, slots=True)
class DesktopResult:
    """A moment of a file. `id` names it for good; `second` is where it begins, 0 in a still. `text` is what is said or
    written there, where that is how it was found."""

    id: str
    path: Path
    second: float
    end: float = 0.0
    relevance: float = 0.0
    kind: str = "video"
    text: str = ""

    @property
    def name(self) -> str:
        return printable(self.path.name)

    def description(self, picture: str) -> str:
        """Return the line below the name: when it is in the file, and in which folder. picture: the word for one."""
        span = picture if self.kind == "image" else clock_range(self.second, max(self.second, self.end))
        parts = [span, printable(self.path.parent)]
        if self.text:
            parts.insert(1, f"“{shorten(printable(self.text), _SHOWN_TEXT, placeholder=' …')}”")
        return " · ".join(parts)


@dataclass(frozen=True, slots=True)
class DesktopResults:
    """The results of a search, best first; `reason` says why there are none, or whether the best is any good."""

    results: tuple[DesktopResult, ...]
    reason: str
    is_found: bool

    @property
    def believable(self) -> tuple[DesktopResult, ...]:
        """The results, where the best is any good."""
        return self.results if self.is_found else ()


_NOTHING_LOOKED_FOR = DesktopResults((), "nothing is looked for", False)


def is_worth_searching(text: str) -> bool:
    """Return whether what somebody has typed so far says anything.

    >>> is_worth_searching("re"), is_worth_searching("狗"), is_worth_searching("r "), is_worth_searching("")
    (True, True, False, False)
    """
    return len(text.strip()) >= (_SHORTEST if text.isascii() else 1)


class DesktopSearch:
    """Searches a library for desktops. For any number of threads."""

    def __init__(self, library: SharedLibrary) -> None:
        self.library = library
        self._lock = threading.Lock()
        self._remembered: OrderedDict[tuple[str, int], DesktopResults] = OrderedDict()
        self._stamp: FileStamp = ()

    def search(self, queries: Sequence[str], limit: int) -> list[DesktopResults]:
        """Return the results of each query; those that were not searched a moment ago are searched together.

        limit: at most so many, and at most MOST_RESULTS.

        Raises what `SharedLibrary.search_together` raises.
        """
        limit = max(1, min(limit, MOST_RESULTS))
        sentences = [" ".join(query.split()) for query in queries]
        results, stamp = {"": _NOTHING_LOOKED_FOR}, self.stamp()
        with self._lock:
            if stamp != self._stamp:
                self._remembered.clear()
                self._stamp = stamp
            for sentence in sentences:
                if (sentence, limit) in self._remembered:
                    self._remembered.move_to_end((sentence, limit))
                    results[sentence] = self._remembered[sentence, limit]
        new = [sentence for sentence in dict.fromkeys(sentences) if sentence not in results]
        if new:
            documents = self.library.search_together(new, top=limit)
            searched = {sentence: _results_of(one) for sentence, one in zip(new, documents, strict=True)}
            self._remember(searched, limit, stamp)
            results |= searched
        return [results[sentence] for sentence in sentences]

    def _remember(self, searched: Mapping[str, DesktopResults], limit: int, stamp: FileStamp) -> None:
        """Remember results by their sentences, unless the library has changed since."""
        with self._lock:
            if stamp == self._stamp:
                self._remembered |= {(sentence, limit): results for sentence, results in searched.items()}
                while len(self._remembered) > _REMEMBERED:
                    self._remembered.popitem(last=False)

    def result(self, id: str) -> DesktopResult:
        """Return the result of an id, of a file that is there. Raises UsageError where there is none."""
        parts = _ID.fullmatch(id)
        if parts is None:
            raise UsageError("no result has this id")
        item = self.library.items.item(int(parts[1]))
        paths = [file.path for file in item.files]
        path = next((path for path in paths if os.path.exists(path)), None)
        if path is None:
            raise UsageError(f"{printable(paths[0])}: this file is away")
        second = float(parts[2])
        with self._lock:
            searched = (one for results in self._remembered.values() for one in results.results)
            remembered = next((one for one in searched if one.id == id), None)
        if remembered is not None:  # a search says where its moment ends
            return replace(remembered, path=path)
        end = next((end for start, end, _ in item.moments if abs(start - second) < 0.01), 0.0)
        return DesktopResult(id, path, second, end, kind=item.facts.kind)

    def stamp(self) -> FileStamp:
        """Return what changes whenever the library does. An empty log says nothing: whoever reads makes one."""
        return tuple(one for one in file_stamp(self.library.path / CATALOGUE) if one is not None and one[-1] > 0)


def _results_of(document: Mapping[str, Any]) -> DesktopResults:
    """Return the results of a search's document."""
    hits = tuple(result_of(hit) for hit in document["hits"] if not hit["missing"])
    return DesktopResults(hits, document["found_reason"], document["found"])


def result_of(hit: Mapping[str, Any]) -> DesktopResult:
    """Return the result of a hit's document."""
    start, end = float(hit["start"]), float(hit["end"])
    text = hit["moments"][0]["text"] or ""
    return DesktopResult(f"{hit['id']}@{start:.2f}", Path(hit["path"]), start, end, hit["relevance"], hit["kind"], text)
