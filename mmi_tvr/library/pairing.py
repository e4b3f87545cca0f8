"""Which files of a library are one item: live photos (a picture and its clip), and pictures with their RAW photo.

The main file is the item; its companion is listed with it and is never searched by itself. Who is whose companion is
decided anew after each run that changed something, so that a clip whose picture was deleted is a film of its own again.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ..media.listing import CLIP_SUFFIXES, items
from ..media.names import RAW_SUFFIXES
from ..types import MediaKind
from .catalogue import Catalogue

# Seconds. Clips of live photos take 1 to 3; a longer film beside a picture of its name has that as its cover.
_LONGEST_CLIP = 6.0


class _Known(NamedTuple):
    """What pairing goes by, of one file."""

    kind: MediaKind
    seconds: float
    content_id: str | None


def pair_files(catalogue: Catalogue) -> list[int]:
    """Decide which file belongs to which. The caller holds the writer's lock.

    Returns:
        The numbers of the contents that are indexed and lost their last main file: their vectors have to go.
    """
    files, known = catalogue.files(), _known(catalogue)
    names = defaultdict(list)  # by folder, of those that may be paired
    for path in files:
        if _may_be_paired(path, known.get(path)):
            names[os.path.dirname(path)].append(os.path.basename(path))
    main_files: dict[Path, Path] = {}
    for folder, of_folder in names.items():
        paths = {name: Path(folder, name) for name in of_folder}
        content_ids = {name: one.content_id for name, path in paths.items() if (one := known.get(path))}
        joined = items(of_folder, {name: identity for name, identity in content_ids.items() if identity})
        main_files |= {paths[item.companion]: paths[item.name] for item in joined if item.companion is not None}
    changes = {path: main_files.get(path) for path, file in files.items() if file.main != main_files.get(path)}
    if changes:
        with catalogue.transaction():
            catalogue.set_main_files(changes)
    sql = (
        "SELECT id FROM contents WHERE state = 'indexed' AND id IN (SELECT content FROM files) "
        "AND id NOT IN (SELECT content FROM main_files)"
    )
    return [number for (number,) in catalogue.connection.execute(sql)]


def _may_be_paired(path: Path, known: _Known | None) -> bool:
    """Return whether a file is what its name says: a picture, or a clip as short as those of live photos."""
    if path.suffix.lower() in RAW_SUFFIXES:
        return True  # nobody need read it for that
    if known is None:
        return False
    is_clip = path.suffix.lower() in CLIP_SUFFIXES
    return known.kind == "video" and known.seconds <= _LONGEST_CLIP if is_clip else known.kind == "image"


def _known(catalogue: Catalogue) -> Mapping[Path, _Known]:
    """Return what is known of each file."""
    sql = (
        "SELECT path, kind, seconds, content_id FROM files JOIN media_facts ON media_facts.content = files.content "
        "WHERE kind != 'audio'"
    )
    return {Path(os.fsdecode(path)): _Known(*known) for path, *known in catalogue.connection.execute(sql)}
