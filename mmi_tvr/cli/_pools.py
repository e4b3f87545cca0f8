"""Shared by the `prompts` commands: options that name a pool, and pools as they are loaded, changed and chosen from."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ..config import RERANK, AnySettings
from ..errors import UsageError
from ..library import pools_folder, refuse_foreign_folder
from ..questions import pool
from ..questions.pool import Pool
from ..rerank import with_absolute_pools, with_pools
from ._console import say
from ._terminal import working_folder


class AboutChoice(str, Enum):
    """Which of the two pools."""

    text = "text"
    video = "video"


AboutOption = Annotated[AboutChoice | None, typer.Option("--about", help="one of the two pools; default: both")]
PoolsOption = Annotated[
    Path | None,
    typer.Option("--pools", metavar="DIR", help="folder of your question pools, text.yaml and video.yaml, instead"),
]
PoolOption = Annotated[Path | None, typer.Option("--pool", metavar="FILE", help="a pool of yours, instead of the two")]


@dataclass(frozen=True, slots=True)
class PoolChoice:
    """The pools that a command is about: a file, else one of the two, or both, of a library, which has packaged ones
    until one of its own is edited."""

    about: AboutChoice | None
    file: Path | None
    library: Path

    def load(self, folder: Path | None = None) -> list[Pool]:
        """Return the pools, those of a folder instead of the library's. UsageError where the file is about something
        else, or the folder has no pool."""
        if self.file is not None:
            questions = pool.load(self.file)
            if self.about is not None and questions.about != self.about.value:
                raise UsageError(f"{questions.path} is about {questions.about}, not about {self.about.value}")
            return [questions]
        if folder is None:
            say_unread_pools(self.library)
        else:
            check_pools(folder)
        files = pool.in_folder(folder or pools_folder(self.library))
        return [pool.load(files[about]) for about in pool.ABOUT if self.about in (None, about)]

    def with_question(self, id: str) -> Pool:
        """Return the pool that holds this id. UsageError where none does, or both do."""
        pools = self.load()
        matches = [questions for questions in pools if id in questions]
        if len(matches) > 1:
            raise UsageError(f"both pools have the id {id!r}: say which with --about")
        if not matches:
            places = " and ".join(str(questions.path) for questions in pools)
            raise UsageError(f"no question has the id {id!r} in {places} (mmi-tvr prompts list shows them)")
        return matches[0]

    def editable(self, questions: Pool) -> Pool:
        """Return the pool, or the library's own copy of a packaged one; prints where it was just copied."""
        from ..questions import editing

        if pool.is_packaged(questions.path):
            refuse_foreign_folder(self.library)
        path, copied = editing.editable_path(questions.path, pools_folder(self.library))
        if copied:
            say(f"the pool is the package's own: copied to {escape(str(path))}, which this library uses from here on")
        return questions if path == questions.path else pool.load(path)


def check_pools(folder: Path) -> None:
    """Raise UsageError where --pools names no folder with a pool in it."""
    if not any((folder / f"{about}.yaml").is_file() for about in pool.ABOUT):
        raise UsageError(f"--pools {folder}: neither text.yaml nor video.yaml is there")


def say_unread_pools(library: Path | None = None) -> None:
    """Say that pools in the working folder are not read, where earlier versions would have read them.

    library: whose pools are asked instead; None where a command has no library, and takes --pools.
    """
    here, folder = Path("prompts"), working_folder()
    files = [here / f"{about}.yaml" for about in pool.ABOUT if (folder / here / f"{about}.yaml").is_file()]
    if not files or pool.is_packaged(folder / files[0]):
        return
    advice = "name their folder with --pools prompts"
    if library is not None:
        target = pools_folder(library)
        if any((folder / target / file.name).is_file() for file in files):
            return
        quoted = shlex.quote(str(target))
        advice = f"give them to the library: mkdir -p {quoted} && cp prompts/*.yaml {quoted}"
    say(f"not read any more: {' and '.join(map(str, files))}; {escape(advice)}")


def settings_with_pools(settings: AnySettings, folder: Path | None) -> AnySettings:
    """Return the settings with the question pools of --pools, which a file that they name themselves goes before."""
    if folder is None:
        say_unread_pools()
        return settings
    check_pools(folder)
    section = with_absolute_pools(with_pools(settings.rerank or RERANK, folder))
    return settings.model_copy(update={"rerank": section})
