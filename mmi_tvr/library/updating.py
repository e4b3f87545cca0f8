"""What changes the files that a library knows: a run of `index`, with its checked options, and forgetting."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ..config import Section, Settings
from ..errors import UsageError
from ..protocols import Model
from ..utils.names import SpelledPaths
from ..utils.progress import Progress
from . import migrating
from . import rebuild as rebuilding
from .arguments import (
    ModelLike,
    Paths,
    checked_channels,
    checked_flag,
    checked_model,
    checked_paths,
    checked_patterns,
    checked_seconds,
    checked_translate,
)
from .catalogue import Catalogue
from .catalogue_file import CATALOGUE
from .channels import ChannelReading, forget_other_contents
from .components import Components
from .duplicates import forget_other_duplicates
from .former import open_former
from .indexing import Indexing
from .people import looking
from .people.looking import FaceLooking
from .report import IndexReport
from .write_access import write_access

# Makes the components of a catalogue with a model; None: the library's.
ComponentsOf = Callable[[Catalogue, Model | Section | None], Components]


@dataclass(frozen=True, slots=True)
class UpdateOptions:
    """The checked options of `Library.index`."""

    paths: tuple[Path, ...]
    model: Model | Section | None
    exclude: list[str] | None
    retry: bool
    rebuild: bool
    translate: int | None
    people: bool | None
    channels: tuple[str, ...] | None
    settle: float
    wait: float


def update_options(
    paths: Paths,
    *,
    settings: Settings,
    model: ModelLike,
    exclude: Sequence[str] | None,
    retry: bool,
    rebuild: bool,
    translate: int | None,
    people: bool | None,
    channels: Sequence[str] | None,
    settle: float,
    wait: float,
) -> UpdateOptions:
    """Return the options of a run, checked; the arguments are those of `Library.index`, and the library's settings.

    Raises UsageError.
    """
    rebuild = checked_flag(rebuild, "rebuild")
    return UpdateOptions(
        paths=tuple(map(SpelledPaths().find, checked_paths(paths))),
        model=checked_model(model, settings.model),
        exclude=checked_patterns(exclude),
        retry=checked_flag(retry, "retry"),
        rebuild=rebuild,
        translate=checked_translate(translate, rebuild),
        people=None if people is None else checked_flag(people, "people"),
        channels=checked_channels(channels),
        settle=checked_seconds(settle, "settle"),
        wait=checked_seconds(wait, "wait"),
    )


def update_library(
    folder: Path, options: UpdateOptions, settings: Settings, components_of: ComponentsOf, progress: Progress
) -> IndexReport:
    """Bring the library in a folder up to date, or make it.

    Args:
        folder: of the library.
        options: of the run.
        settings: of these, what was set explicitly counts.
        components_of: of the library.
        progress: hears how far the work is.

    Raises:
        MmiTvrError: as `Library.index`.
    """
    missing = [path for path in options.paths if not os.path.lexists(path)]
    if missing and not (folder / CATALOGUE).is_file():
        raise UsageError(f"{missing[0]}: no such file or folder")
    with write_access(folder, options.wait, progress, create=True) as catalogue:
        faces = FaceLooking(folder, settings, options.people)
        reading = ChannelReading(folder, settings, options.channels)
        rebuild, translate = options.rebuild, options.translate
        if not rebuild:
            translate = migrating.settle(folder, catalogue, lambda one: components_of(one, options.model), translate)
            rebuild = translate is not None
        with (
            rebuilding.catalogue_to_write(folder, catalogue, rebuild) as target,
            closing(Indexing(folder, target, components_of(target, options.model), progress)) as indexing,
        ):
            indexing.components.settle(rebuild, translate)
            faces.settle()
            reading.settle()
            report = indexing.run(options.paths, options.exclude, options.retry, catalogue, options.settle)
        report = replace(report, people=faces.run(catalogue, options.retry, progress))
        return replace(report, channels=reading.run(catalogue, options.retry, progress))


def forget_paths(
    folder: Path, paths: Sequence[Path], components_of: ComponentsOf, wait: float, progress: Progress
) -> tuple[Path, ...]:
    """Forget files and all that is below folders, with what other stores know of them; return what was forgotten.

    Args:
        folder: of the library.
        paths: real ones.
        components_of: of the library.
        wait: seconds to wait while another process writes.
        progress: hears how far the work is.

    Raises:
        UsageError: the library knows nothing of a path.
    """

    def forget(catalogue: Catalogue, tidy: bool) -> tuple[Path, ...]:
        with closing(Indexing(folder, catalogue, components_of(catalogue, None), progress)) as indexing:
            indexing.reconcile()
            return indexing.remove(paths, tidy)

    with write_access(folder, wait, progress) as catalogue:
        forgotten = forget(catalogue, tidy=True)
        looking.forget_other_contents(folder, catalogue)
        forget_other_contents(folder, catalogue)
        forget_other_duplicates(folder, catalogue)
        for other in (rebuilding.open_unfinished(folder), open_former(folder)):
            if other is not None:
                with closing(other), suppress(UsageError):  # it may know nothing of them
                    forget(other, tidy=False)
    return forgotten
