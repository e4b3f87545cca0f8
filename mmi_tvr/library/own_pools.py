"""The question pools of a library: `prompts/text.yaml` and `video.yaml` in its folder, with their lock files.

A library without pools of its own asks the packaged questions. What lies in the working folder is never read.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from ..config import Section
from ..errors import UsageError
from ..questions.pool import FOLDER
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
