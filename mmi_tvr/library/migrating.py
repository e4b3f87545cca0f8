"""What an indexing run with another model means for a library: a translation, the way back from one, or neither."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from .catalogue import Catalogue
from .components import Components
from .former import go_back, open_former
from .rebuild import REBUILD_FILE
from .translating import StoredVectors


def settle(
    folder: Path, catalogue: Catalogue, components_of: Callable[[Catalogue], Components], translate: int | None
) -> int | None:
    """Return how many videos are to be embedded before a translation; None where there is to be none.

    A library whose vectors are of that model already, because an earlier run translated, is only to be brought up to
    date. Where the former model is asked for while some of its vectors still stand for translated ones, the library
    goes back to it.

    Args:
        folder: of the library.
        catalogue: what searches read; the caller holds the writer's lock.
        components_of: makes the components of a catalogue, with the model that the run names.
        translate: how many videos the run wants embedded.

    Raises:
        UsageError: there are no vectors that could be translated.
    """
    if (folder / REBUILD_FILE).is_file():  # begun: it goes on
        return translate
    if translate is not None:
        if catalogue.counts().indexed_contents and components_of(catalogue).makes_present_vectors():
            return None
        StoredVectors.of_library(folder, catalogue).index.close()  # before anything is begun
        return translate
    former = open_former(folder)
    if former is not None:
        with closing(former):
            goes_back = (
                not components_of(catalogue).makes_present_vectors() and components_of(former).makes_present_vectors()
            )
        if goes_back:
            go_back(folder, catalogue)
    return None
