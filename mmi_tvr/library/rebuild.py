"""A rebuild: a new version of a library that is built beside the present one, which answers until the new is whole.

The new version begins as a copy of the catalogue. The rebuild binds it to other settings and to other vectors, and
embeds everything again. At the end it becomes the catalogue in one transaction, so that a reader sees the old state or
the new one. While a copy is there, every run of `index` goes on with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from .. import index
from .catalogue import Catalogue
from .former import discard_where_complete, keep_former, open_former

REBUILD_FILE = "rebuild.sqlite"


def open_unfinished(folder: Path) -> Catalogue | None:
    """Return the catalogue of a rebuild that was interrupted, open; None if there is none."""
    path = folder / REBUILD_FILE
    return Catalogue(path) if path.is_file() else None


class Unfinished(NamedTuple):
    """How far an unfinished rebuild is: `pending` videos are to be embedded, or, where it translates, `translate` ones
    in all before the vectors of the others are translated."""

    pending: int
    translate: int | None


def unfinished(folder: Path) -> Unfinished | None:
    """Return how far an unfinished rebuild is; None if there is none."""
    path = folder / REBUILD_FILE
    if not path.is_file():
        return None
    with closing(Catalogue.open_to_read(path)) as rebuilt:
        if rebuilt.meta("rebuilding") is None:  # killed before it began: the next run takes it away
            return None
        return Unfinished(rebuilt.counts().pending_contents, rebuilt.meta("translate"))


@contextmanager
def catalogue_to_write(folder: Path, catalogue: Catalogue, rebuild: bool) -> Iterator[Catalogue]:
    """Yield the catalogue that an indexing run works on: the present one, or that of a rebuild, which replaces it then.

    A library in which nothing can be searched yet is rebuilt in place.
    """
    if rebuild and not (folder / REBUILD_FILE).is_file() and catalogue.counts().indexed_contents:
        catalogue.copy_to(folder / REBUILD_FILE)
    rebuilt = open_unfinished(folder)
    try:
        yield catalogue if rebuilt is None else rebuilt
        if rebuilt is not None:
            keep_former(folder, catalogue, rebuilt)
            catalogue.replace_with(rebuilt)
        if catalogue.meta("rebuilding") is not None:
            with catalogue.transaction():
                catalogue.set_meta(rebuilding=None)
    except BaseException:
        if rebuilt is not None and rebuilt.meta("rebuilding") is not None:  # begun: the next run goes on with it
            rebuilt.close()
            rebuilt = None
        raise
    finally:
        if rebuilt is not None:
            rebuilt.close()  # which also folds its log into it
            (folder / REBUILD_FILE).unlink()
            discard_unused_vectors(folder, catalogue)


def discard_unused_vectors(folder: Path, catalogue: Catalogue) -> None:
    """Remove vectors to which no catalogue leads: the present one, that of an unfinished rebuild, the former one.

    The former one goes first, where it is not needed any more.
    """
    discard_where_complete(folder, catalogue)
    used = {catalogue.meta("vectors")}
    for other in (open_unfinished(folder), open_former(folder)):
        if other is not None:
            with closing(other):
                used.add(other.meta("vectors"))
    for vectors in (folder / "vectors").glob("*"):
        if vectors.is_dir() and vectors.name not in used:
            index.discard(vectors)
