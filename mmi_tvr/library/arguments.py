"""What a caller passes to a library, checked: a wrong type is one clear line, before anything is opened."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from ..config import AUTO, Section, Settings
from ..errors import UsageError
from ..protocols import Index, Model, RelevanceCalibration
from ..queries import checked_query
from ..search import Preview
from ..types import Query, clean_text
from ..utils.progress import Progress, Silent
from .translating import MIN_PAIRS

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
ModelLike = Model | Section | str | None
Calibrate = Callable[[Model, Index], RelevanceCalibration]


def checked_path(value: object, name: str) -> Path:
    """Return a path with ~ expanded. UsageError for anything else, and for an empty text."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str) or not text or "\0" in text:
        raise UsageError(f"{name} is a path (str or pathlib.Path), not {shown(value)}")
    return Path(os.path.expanduser(text))


def checked_paths(value: object) -> list[Path]:
    """Return one path or several as a list of paths."""
    if isinstance(value, str | os.PathLike):
        return [checked_path(value, "paths")]
    if isinstance(value, bytes) or not isinstance(value, Iterable):
        raise UsageError(f"paths is a path (str or pathlib.Path) or a list of paths, not {shown(value)}")
    return [checked_path(path, "each of paths") for path in value]


def checked_model(value: ModelLike, settings: Section) -> Model | Section | None:
    """Return a model, or its settings section as the section of settings changes it (`models.with_settings`); a name
    becomes a section; None stays None.

    UsageError for anything else, and where the settings change options of a model that is ready, or of one that has
    others.
    """
    if isinstance(value, str | Section):
        from .. import models

        return models.with_settings(models.section(value) if isinstance(value, str) else value, settings)
    if value is None:
        return None
    if isinstance(value, Model):
        if settings.name == AUTO and settings.options:
            names = ", ".join(settings.options)
            raise UsageError(f"{value.name} is a ready model, whose options cannot be changed by settings: {names}")
        return value
    raise UsageError(f"model is a name, a settings section or a model (protocols.Model), not {shown(value)}")


def checked_settings(value: Settings | None) -> Settings:
    """Return settings; the default ones for None."""
    if value is not None and not isinstance(value, Settings):
        raise UsageError(f"settings are config.Settings (config.load reads a file), not {shown(value)}")
    return value or Settings()


def checked_calibration(value: Calibrate | None) -> Calibrate | None:
    """Return what makes the calibration; None stays None."""
    if value is not None and not callable(value):
        raise UsageError(f"relevance is a function of a model and an index, not {shown(value)}")
    return value


def checked_queries(query: object, with_example: bool = False) -> list[Query]:
    """Return one query or several as a list. UsageError where there is none, or something else is among them.

    with_example: whether they are to have an example, and need no text.
    """
    if isinstance(query, str | Query):
        return [checked_query(query, with_example)]
    if isinstance(query, bytes) or not isinstance(query, Sequence):
        raise UsageError(f"a query is a sentence (str), a types.Query, or a list of such, not {shown(query)}")
    if not query:
        raise UsageError("the list of queries is empty: pass at least one")
    return [checked_query(one, with_example) for one in query]


def checked_patterns(value: Sequence[str] | None) -> list[str] | None:
    """Return glob patterns as a list; None stays None."""
    if value is None:
        return None
    patterns = [value] if isinstance(value, str | bytes) or not isinstance(value, Iterable) else list(value)
    if isinstance(value, str) or not all(isinstance(pattern, str) for pattern in patterns):
        raise UsageError(f"exclude is a list of glob patterns, such as ['*.part'], not {shown(value)}")
    return patterns


def checked_flag(value: object, name: str) -> bool:
    """Return True or False. UsageError for anything else."""
    if not isinstance(value, bool):
        raise UsageError(f"{name} is True or False, not {shown(value)}")
    return value


def checked_translate(value: object, rebuild: bool) -> int | None:
    """Return how many videos are embedded before vectors are translated; None where none are to be.

    UsageError for anything else, or together with `rebuild`.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < MIN_PAIRS:
        raise UsageError(f"translate is a number of videos, {MIN_PAIRS} or more, not {shown(value)}")
    if rebuild:
        raise UsageError("translate embeds some of the videos again, and rebuild all of them: give one of both")
    return value


def checked_levels(value: object) -> dict[str, float]:
    """Return names of levels with their factors; none for None. Which names there are, the model knows."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(_is_factor(name, factor) for name, factor in value.items()):
        raise UsageError(f"levels maps names to numbers, such as {{'relation': 2}}, not {shown(value)}")
    return {name: float(factor) for name, factor in value.items()}


def _is_factor(name: object, factor: object) -> bool:
    return isinstance(name, str) and isinstance(factor, int | float) and not isinstance(factor, bool)


def checked_names(value: object) -> tuple[str, ...]:
    """Return names of people; one alone may stand for a list. UsageError for anything else."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, Sequence) or not all(isinstance(name, str) and name.strip() for name in names):
        raise UsageError(f"persons and me are names of people, such as 'anna', not {shown(value)}")
    return tuple(clean_text(name).strip() for name in names)


def checked_channels(value: object) -> tuple[str, ...] | None:
    """Return names of channels, without repetition; None stays None. Which names there are, the plug-ins know."""
    if value is None:
        return None
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, Sequence) or not all(isinstance(name, str) and name.strip() for name in names):
        raise UsageError(f"channels are names, such as ['heard', 'read'], not {shown(value)}")
    return tuple(dict.fromkeys(name.strip() for name in names))


def checked_count(value: object, name: str, most: int, least: int = 0) -> int:
    """Return a number from `least` to `most`. UsageError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise UsageError(f"{name} is a number from {least} to {most}, not {shown(value)}")
    return value


def checked_seconds(value: object, name: str) -> float:
    """Return a number of seconds, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value) or value < 0:
        raise UsageError(f"{name} is a number of seconds, 0 or more, not {shown(value)}")
    return float(value)


def checked_progress(value: Progress | None) -> Progress:
    """Return a progress; a silent one for None."""
    if value is not None and not isinstance(value, Progress):
        raise UsageError(f"progress has the methods of utils.progress.Progress, which {shown(value)} has not")
    return value or Silent()


def checked_preview(value: Preview | None) -> Preview | None:
    if value is not None and not callable(value):
        raise UsageError(f"preview is called with a result, and cannot be {shown(value)}")
    return value


def shown(value: object) -> str:
    """Return a value as an error message shows it: short, with its type.

    >>> shown(5), shown("x" * 100)[-16:]
    ('5 (int)', "xxxxxx...' (str)")
    """
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:56] + '...' + text[-1]} ({type(value).__name__})"
