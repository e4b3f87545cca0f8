"""The question pools of a library: `prompts/text.yaml` and `video.yaml` in its folder, with their lock files.

A library without pools of its own asks the packaged questions. What lies in the working folder is never read.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from .. import config
from ..config import Section
from ..errors import UsageError
from ..questions import pool, selection
from ..questions.pool import FOLDER, About, Pool
from .catalogue import Catalogue
from .catalogue_file import CATALOGUE


def pools_folder(library: Path) -> Path:
    """Return the folder of a library's own pools, which need not be there."""
    return library / FOLDER


def refuse_foreign_folder(library: Path) -> None:
    """Raise UsageError where a folder is neither a library nor empty: pools of its own would not be a library's."""
    if not library.is_dir() or (library / CATALOGUE).is_file():
        return
    foreign = sorted(path.name for path in library.iterdir() if path.name != FOLDER)
    if foreign:
        raise UsageError(f"{library}: not a library, and not empty ({foreign[0]}); name one: --library, or --pool FILE")


def library_model(library: Path) -> Section | None:
    """Return the model that a library was made with; None before it was."""
    if not (library / CATALOGUE).is_file():
        return None
    with closing(Catalogue.open_to_read(library / CATALOGUE)) as catalogue:
        values = catalogue.meta("settings", {}).get("model")
    return Section(**values) if values else None


def own_pool(library: Path, about: About) -> Pool:
    """Return the pool that a library asks: its own, else the packaged one."""
    return pool.load(pool.in_folder(pools_folder(library))[about], about)


def editable_pool(library: Path, about: About) -> Path:
    """Return the file of a library's own pool; where it has none, the packaged one is copied there."""
    from ..questions import editing

    path, _ = editing.editable_path(own_pool(library, about).path, pools_folder(library))
    return path


@contextmanager
def pool_drafts(library: Path) -> Iterator[Path]:
    """Yield a folder with copies of the pools that a library asks, and of their lock files, to try edits on."""
    with tempfile.TemporaryDirectory(prefix="mmi-tvr-pools-") as folder:
        for about in pool.ABOUT:
            path = own_pool(library, about).path
            for file, name in ((path, f"{about}.yaml"), (selection.lock_path(path), f"{about}.lock.yaml")):
                with suppress(FileNotFoundError):
                    (Path(folder) / name).write_bytes(file.read_bytes())
        yield Path(folder)


def pools_state(section: Section) -> tuple[tuple[str, int, int] | None, ...]:
    """Return what tells whether the pools of a settings section, or what was chosen of them, were edited: path, time of
    change in ns and size of each file."""
    states: list[tuple[str, int, int] | None] = []
    for about in pool.ABOUT:
        if about not in section.options:
            continue
        path = config.find("prompts", section.options[about])
        for file in (path, selection.lock_path(path)):
            try:
                status = file.stat()
            except OSError:
                states.append(None)
            else:
                states.append((str(file), status.st_mtime_ns, status.st_size))
    return tuple(states)
