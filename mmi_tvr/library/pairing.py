"""Which files of a library are one item: live photos (a picture and its clip), and pictures with their RAW photo.

The main file is the item; its companion is listed with it and is never searched by itself. Who is whose companion is
decided anew for each folder in which something changed, so that a clip whose picture was deleted is a film of its own
again. The catalogue remembers these folders until that is done, also over a kill.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ..media.listing import CLIP_SUFFIXES, items
from ..media.names import RAW_SUFFIXES
from ..types import MediaKind
from .catalogue import Catalogue

_FOLDERS = "unpaired_folders"  # setting of a catalogue: the folders that are to be looked at
# Seconds. Clips of live photos take 1 to 3; a longer film beside a picture of its name has that as its cover.
_LONGEST_CLIP = 6.0


class _PairedFile(NamedTuple):
    """A file of a folder by its name: the one that it belongs to now, and what is known of it."""

    name: str
    main: Path | None
    kind: MediaKind | None
    seconds: float
    content_id: str | None

    @property
    def may_be_paired(self) -> bool:
        """Whether it is what its name says: a picture, or a clip as short as those of live photos."""
        suffix = os.path.splitext(self.name)[1].lower()
        if suffix in RAW_SUFFIXES:
            return True  # nobody need read it for that
        if suffix in CLIP_SUFFIXES:
            return self.kind == "video" and self.seconds <= _LONGEST_CLIP
        return self.kind == "image"


def note_unpaired(catalogue: Catalogue, paths: Iterable[Path]) -> None:
    """Remember that something changed in the folders of these files. The caller holds a transaction."""
    before = catalogue.meta(_FOLDERS, [])
    folders = {*before, *(os.path.dirname(path) for path in paths)}
    if len(folders) > len(before):
        catalogue.set_meta(**{_FOLDERS: sorted(folders)})


def pair_files(catalogue: Catalogue) -> list[int] | None:
    """Decide which file belongs to which. The caller holds the writer's lock, and calls `forget_unpaired` behind it.

    Returns:
        The numbers of the contents that are indexed and lost their last main file: their vectors have to go. None where
        nothing has changed.
    """
    folders = catalogue.meta(_FOLDERS, [])
    if not folders:
        return None
    changes = {path: main for folder in folders for path, main in _changes(catalogue, folder)}
    if changes:
        with catalogue.transaction():
            catalogue.set_main_files(changes)
    sql = (
        "SELECT id FROM contents WHERE state = 'indexed' AND id IN (SELECT content FROM files) "
        "AND id NOT IN (SELECT content FROM main_files)"
    )
    return [number for (number,) in catalogue.connection.execute(sql)]


def forget_unpaired(catalogue: Catalogue) -> None:
    """Say that all folders were looked at. The caller holds a transaction."""
    catalogue.set_meta(**{_FOLDERS: []})


def _changes(catalogue: Catalogue, folder: str) -> list[tuple[Path, Path | None]]:
    """Return the files of a folder that belong to another file than before, each with the file that it belongs to."""
    files = _files_of(catalogue, folder)
    paired_files = {file.name: file for file in files if file.may_be_paired}
    content_ids = {name: file.content_id for name, file in paired_files.items() if file.content_id}
    joined = items([*paired_files], content_ids)
    main_files = {item.companion: Path(folder, item.name) for item in joined if item.companion is not None}
    return [
        (Path(folder, file.name), main_files.get(file.name)) for file in files if file.main != main_files.get(file.name)
    ]


def _files_of(catalogue: Catalogue, folder: str) -> list[_PairedFile]:
    """Return the files that lie in a folder itself."""
    start = os.fsencode(os.path.join(folder, ""))
    sql = (
        "SELECT substr(path, ?), main, kind, seconds, content_id FROM files "
        "LEFT JOIN media_facts ON media_facts.content = files.content "
        "WHERE path > ? AND path < ? AND instr(substr(path, ?), X'2F') = 0"
    )
    first, behind = len(start) + 1, start[:-1] + bytes([start[-1] + 1])  # behind all that begin so
    return [
        _PairedFile(
            os.fsdecode(name), None if main is None else Path(os.fsdecode(main)), kind, seconds or 0.0, identity
        )
        for name, main, kind, seconds, identity in catalogue.connection.execute(sql, (first, start, behind, first))
    ]
