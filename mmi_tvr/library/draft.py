"""A rebuild goes on in a draft of the catalogue, and what is there answers until the new is whole.

The draft is a copy of the catalogue beside it. The rebuild binds it to other settings and to other vectors, and embeds
everything again. At the end it becomes the catalogue in one transaction, so that a reader sees the old state or the new
one. While a draft is there, every run of `index` goes on with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from .. import index
from .catalogue import Catalogue

DRAFT = "rebuild.sqlite"


def unfinished(folder: Path) -> Catalogue | None:
    """The draft of a rebuild that was interrupted."""
    path = folder / DRAFT
    return Catalogue(path) if path.is_file() else None


def pending(folder: Path) -> int | None:
    """Videos that an unfinished rebuild has yet to embed; None if there is none."""
    draft = unfinished(folder)
    if draft is None:
        return None
    with closing(draft):
        return draft.counts()["pending"]


@contextmanager
def target(folder: Path, catalogue: Catalogue, rebuild: bool) -> Iterator[Catalogue]:
    """The catalogue that an indexing run works on: itself, or the draft of a rebuild, which replaces it in the end.

    A library in which nothing can be found yet needs no draft.
    """
    if rebuild and not (folder / DRAFT).is_file() and catalogue.counts()["indexed"]:
        catalogue.copy(folder / DRAFT)
    draft = unfinished(folder)
    try:
        yield catalogue if draft is None else draft
        if draft is not None:
            catalogue.take_over(draft)
        if catalogue.meta("rebuilding") is not None:
            with catalogue.change():
                catalogue.set_meta(rebuilding=None)
    except BaseException:
        if draft is not None and draft.meta("rebuilding") is not None:  # begun, and to be gone on with
            draft.close()
            draft = None
        raise
    finally:
        if draft is not None:
            draft.close()  # which also folds its log into it
            (folder / DRAFT).unlink()


def sweep(folder: Path, catalogue: Catalogue) -> None:
    """Remove vectors to which neither the catalogue nor a draft leads."""
    draft = unfinished(folder)
    kept = {each.meta("vectors") for each in (catalogue, draft) if each is not None}
    if draft is not None:
        draft.close()
    for old in (folder / "vectors").glob("*"):
        if old.is_dir() and old.name not in kept:
            index.discard(old)
