"""What is in a library, and how far it is: read from its folder, without loading a model."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ..utils.sqlite import is_writable
from .catalogue import Catalogue
from .channels import channels_status
from .components import Components
from .former import former_model
from .lock import writer
from .people.looking import people_status
from .rebuild import unfinished
from .report import Status
from .translated import count_translated


def library_status(folder: Path, catalogue: Catalogue, components: Components) -> Status:
    """Return what is in the library in a folder.

    Args:
        folder: of the library.
        catalogue: its open catalogue.
        components: its model and index, by their settings.
    """
    from .. import models

    rebuilding, counts, model = unfinished(folder), catalogue.counts(), catalogue.meta("model")
    return Status(
        path=folder,
        model=model,
        fingerprint=catalogue.meta("fingerprint"),
        index=components.section("index").name,
        videos=counts.indexed_contents + counts.unseen_contents,
        moments=counts.moments,
        pending=counts.pending,
        files=counts.files,
        duration=catalogue.duration(),
        size=_size(folder),
        roots=tuple(catalogue.roots()),
        quarantined=tuple(catalogue.quarantined_files()),
        writer=writer(folder),
        rebuilding=None if rebuilding is None else rebuilding.pending,
        translating=None if rebuilding is None else rebuilding.translate,
        translated=count_translated(catalogue),
        former=former_model(folder),
        writable=is_writable(catalogue.path),
        model_title=models.spelled(components.section("model")) if model else None,
        people=people_status(folder, catalogue),
        kinds=catalogue.kinds(),
        unseen=counts.unseen_contents,
        channels=channels_status(folder, catalogue, counts),
    )


def _size(folder: Path) -> int:
    """Return the bytes of all files below a folder in which another process may be at work."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.stat(os.path.join(parent, name)).st_size
    return total
