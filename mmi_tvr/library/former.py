"""What a library was before its vectors were translated for another model: kept until none of those is left.

Until then the library can go back: `index` with the former model takes the old catalogue, whose vectors are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ..config import Section
from ..errors import MmiTvrError
from .catalogue import Catalogue
from .translated import ShownLog, count_translated

FORMER_FILE = "former.sqlite"


def open_former(folder: Path) -> Catalogue | None:
    """Return the catalogue of the former model, open; None if there is none.

    Raises MmiTvrError where it cannot be read.
    """
    path = folder / FORMER_FILE
    with _naming_the_way_out(path):
        return Catalogue(path) if path.is_file() else None


@contextmanager
def _naming_the_way_out(path: Path) -> Iterator[None]:
    try:
        yield
    except MmiTvrError as error:
        raise MmiTvrError(
            f"{error}; it is needed only to go back to the former model: delete it, and all else goes on"
        ) from error


def keep_former(folder: Path, catalogue: Catalogue, new: Catalogue) -> None:
    """Before `new` takes the place of a catalogue: keep that, where some vectors of the new one are translated ones."""
    if count_translated(new) and catalogue.meta("fingerprint") != new.meta("fingerprint"):
        catalogue.copy_to(folder / FORMER_FILE)


def former_model(folder: Path) -> str | None:
    """Return the model to which a library can go back, as `--model` names it; None where there is no such."""
    from .. import models

    path = folder / FORMER_FILE
    if not path.is_file():
        return None
    with _naming_the_way_out(path), closing(Catalogue.open_to_read(path)) as former:
        return models.spelled(Section(**former.meta("settings")["model"]))


def go_back(folder: Path, catalogue: Catalogue) -> None:
    """Make the former catalogue the present one; what has been indexed since is for the next run.

    The folders of the present one go with it. A kill leaves one or the other.
    """
    former = open_former(folder)
    assert former is not None
    with closing(former):
        with former.transaction():
            for root in former.roots():
                former.drop_root(root.path)
            for root in catalogue.roots():
                former.add_root(root)
        catalogue.replace_with(former)


def discard_where_complete(folder: Path, catalogue: Catalogue) -> None:
    """Forget the former catalogue, and what searches showed, once no translated vector is left."""
    if not count_translated(catalogue):
        (folder / FORMER_FILE).unlink(missing_ok=True)
        ShownLog(folder).discard()
