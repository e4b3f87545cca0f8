"""A rebuild: a new version of a library that is built beside the present one, which answers until the new is whole.

The new version begins as a copy of the catalogue. The rebuild binds it to other settings and to other vectors, and
embeds everything again. At the end it becomes the catalogue in one transaction, so that a reader sees the old state or
the new one. While a copy is there, every run of `index` goes on with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from .. import index
from .catalogue import Catalogue

REBUILD_FILE = "rebuild.sqlite"


def open_unfinished(folder: Path) -> Catalogue | None:
    """Return the catalogue of a rebuild that was interrupted, open; None if there is none."""
    path = folder / REBUILD_FILE
    return Catalogue(path) if path.is_file() else None


def count_pending(folder: Path) -> int | None:
    """Count the videos that an unfinished rebuild has yet to embed; None if there is none."""
    path = folder / REBUILD_FILE
    if not path.is_file():
        return None
    with closing(Catalogue.open_to_read(path)) as rebuilt:
        return rebuilt.counts().pending_contents


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


def discard_unused_vectors(folder: Path, catalogue: Catalogue) -> None:
    """Remove vectors to which neither the catalogue nor an unfinished rebuild leads."""
    used = {catalogue.meta("vectors")}
    rebuilt = open_unfinished(folder)
    if rebuilt is not None:
        with closing(rebuilt):
            used.add(rebuilt.meta("vectors"))
    for vectors in (folder / "vectors").glob("*"):
        if vectors.is_dir() and vectors.name not in used:
            index.discard(vectors)
