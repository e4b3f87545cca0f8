"""A first indexing run that fails leaves nothing behind: neither a half library nor the folders made for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from ..errors import MmiTvrError, UsageError
from .catalogue import Catalogue


@contextmanager
def library_folder(folder: Path, catalogue: Path, our_names: tuple[str, ...]) -> Iterator[None]:
    """Make a library's folder where there is none. What was made for it goes again, where the library does not stay.

    Args:
        folder: of the library.
        catalogue: its catalogue, by which it is known.
        our_names: how the names of a library's files begin.

    Raises:
        UsageError: something else is in the folder, or it cannot be made.
    """
    if not catalogue.is_file() and folder.is_dir():
        foreign = [name for name in sorted(os.listdir(folder)) if not name.startswith(our_names)]
        if foreign:
            raise UsageError(f"{folder}: not a library, and not empty ({foreign[0]}); name a new or empty folder")
    new_folders = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be made into a library ({error.strerror})") from error
    try:
        yield
    finally:
        for path in new_folders:
            with suppress(OSError):  # there is something in it
                path.rmdir()


@contextmanager
def undone_where_it_fails(folder: Path, catalogue: Path, names_before: Collection[str]) -> Iterator[None]:
    """Remove what a first run has put into a folder, where it fails before the catalogue knows any file.

    Decision: once a file was read, what is there stays, also after Ctrl-C, because the next run goes on with it.

    Args:
        folder: of the library; whoever calls holds its writer's lock.
        catalogue: its catalogue; where that is there already, this is not the first run.
        names_before: what was in the folder before the lock was taken; it stays.
    """
    is_first = not catalogue.is_file()
    try:
        yield
    except BaseException:
        if is_first and not _knows_a_file(catalogue):
            for name in set(os.listdir(folder)).difference(names_before):
                path = folder / name
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
        raise


def _knows_a_file(catalogue: Path) -> bool:
    try:
        with closing(Catalogue.open_to_read(catalogue)) as opened:
            return opened.counts().files > 0
    except MmiTvrError:
        return False
