"""Shared by the `prompts` commands: options that name a pool, and pools as they are loaded, changed and chosen from."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ..errors import UsageError
from ..questions import editing, pool, selection
from ..questions.pool import Pool
from ._console import say


class AboutChoice(str, Enum):
    """Which of the two pools."""

    text = "text"
    video = "video"


AboutOption = Annotated[AboutChoice | None, typer.Option("--about", help="one of the two pools; default: both")]
PoolOption = Annotated[Path | None, typer.Option("--pool", metavar="FILE", help="a pool of yours, instead of the two")]


def load_pools(about: AboutChoice | None, file: Path | None) -> list[Pool]:
    """Return the pools that the options name: the file, or one of the two, or both.

    Raises UsageError where the file is about something else.
    """
    if file is not None:
        questions = pool.load(file)
        if about is not None and questions.about != about.value:
            raise UsageError(f"{questions.path} is about {questions.about}, not about {about.value}")
        return [questions]
    if about is not None:
        return [pool.load(about.value)]
    return [pool.load(name) for name in pool.ABOUT]


def pool_with(id: str, about: AboutChoice | None, file: Path | None) -> Pool:
    """Return the pool that holds this id. Raises UsageError where none does, or both do."""
    pools = load_pools(about, file)
    matches = [questions for questions in pools if id in questions]
    if len(matches) > 1:
        raise UsageError(f"both pools have the id {id!r}: say which with --about")
    if not matches:
        places = " and ".join(str(questions.path) for questions in pools)
        raise UsageError(f"no question has the id {id!r} in {places} (mmi-tvr prompts list shows them)")
    return matches[0]


def editable_pool(questions: Pool) -> Pool:
    """Return the pool, or the copy of a packaged one that is edited instead; prints where it was just copied."""
    path, copied = editing.editable_path(questions.path)
    if copied:
        say(f"the pool is the package's own: copied to {escape(str(path))}, which is used from here on")
    return questions if path == questions.path else pool.load(path)


def chosen_ids(questions: Pool) -> tuple[str, ...]:
    """Return the ids that are asked now; none where nothing was chosen."""
    lock = selection.read(questions)
    if lock is None:
        return ()
    return tuple(id for id in lock.chosen if id in questions and questions[id].enabled)


def selection_warning(questions: Pool) -> str | None:
    """Return why the questions should be chosen (again); None where the selection is current."""
    lock = selection.read(questions)
    if lock is None:
        return f"no questions are chosen yet; run: {selection.choose_command(questions)}"
    return selection.stale_reason(lock, questions)
