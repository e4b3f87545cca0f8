"""Opening a library to write to it: its folder, the writer's lock, its catalogue, and what is tidied behind a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path

from ..errors import LibraryReadOnly
from ..people import KEYS_FILE, PEOPLE_FILE
from ..questions import pool
from ..skeletons.store import SKELETONS_FILE
from ..utils.progress import Progress
from ..utils.sqlite import is_writable
from .catalogue import Catalogue
from .catalogue_file import CATALOGUE
from .channels import CHANNELS
from .first_run import library_folder, undone_where_it_fails
from .former import FORMER_FILE
from .indexing import FEATURES
from .lock import HOLDER, LOCK, writing
from .rebuild import REBUILD_FILE, discard_unused_vectors
from .translated import SHOWN_FILE

_LIBRARY_FILES = (
    CATALOGUE, LOCK, HOLDER, SKELETONS_FILE, FEATURES, REBUILD_FILE, FORMER_FILE, SHOWN_FILE, "vectors",
    pool.FOLDER, PEOPLE_FILE, KEYS_FILE, CHANNELS,
    "service.", "watch.",  # how the files of a service (`serve.address`) and of a watcher (`watch.status`) begin
)  # fmt: skip


def library_place(folder: Path) -> AbstractContextManager[None]:
    """Make the folder of a library where there is none; it goes again where nothing stays in it. Raises UsageError
    where something else is in the folder, or it cannot be made."""
    return library_folder(folder, folder / CATALOGUE, _LIBRARY_FILES)


@contextmanager
def write_access(folder: Path, wait: float, progress: Progress, create: bool = False) -> Iterator[Catalogue]:
    """Yield the catalogue of the library in a folder, open for writing, while nobody else writes.

    Args:
        folder: of the library.
        wait: seconds to wait while another process writes.
        progress: hears for whom this waits.
        create: make a library where there is none.

    Raises:
        LibraryMissing: no library is here, and none is to be made.
        LibraryBusy: another process still writes.
        LibraryReadOnly: nothing can be written where the library lies.
        UsageError: something else is in the folder, or it cannot be made.
    """
    path = folder / CATALOGUE
    if not create:
        Catalogue.require_file(path)
    with library_place(folder) if create else nullcontext():
        if not is_writable(path):
            raise LibraryReadOnly(folder, "a read-only disk, or missing permissions")
        names = os.listdir(folder)
        with (
            writing(folder, wait, progress.say),
            undone_where_it_fails(folder, path, names),
            closing(Catalogue(path, create)) as catalogue,
        ):
            yield catalogue
            discard_unused_vectors(folder, catalogue)
