"""The first files of a large run, embedded before the others are looked at, so that a search finds something soon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .probing import unknown_contents

if TYPE_CHECKING:
    from .indexing import Indexing

_FIRST = 64  # contents
_MANY = 512  # new contents, from which looking at all of them takes seconds


def embed_first(indexing: Indexing) -> int:
    """Look at a few new contents and embed them; return how many were embedded, 0 where there are not many new ones.

    Which files are one item is decided of what is known so far. Where that changes as the others are looked at, a
    companion loses its vectors then, as one does that is put beside an indexed file.
    """
    catalogue = indexing.catalogue
    if catalogue.meta("rebuilding") is not None or catalogue.meta("translate") is not None:
        return 0  # searches find what was there before until all is embedded
    contents = unknown_contents(catalogue)
    if len(contents) < _MANY:
        return 0
    indexing.probe(contents[:_FIRST])
    first = {content.number for content in contents[:_FIRST]}
    return indexing.embed([content for content in catalogue.pending_contents() if content.number in first])
