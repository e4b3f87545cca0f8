"""Re-rankers (`mmi_tvr.protocols.Reranker`), one file per method."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .. import config, plugins
from ..config import RERANK, Section
from ..errors import UsageError
from ..protocols import Model, ModelWithReranking
from ..questions import pool

if TYPE_CHECKING:
    from . import skeleton

DEFAULT_ANSWERER = "transformers"
DEFAULT_JUDGE = "llava"
DEFAULTS = {"answerer": DEFAULT_ANSWERER, "judge": DEFAULT_JUDGE}  # sections of the options


def rerank_section(requested: Section | None, model: Model) -> Section:
    """Return how to re-rank: as the settings request it, and what they leave open as the model came (`Mmi.save`).

    An answerer or a judge other than the model's has options of its own.
    """
    carried = model.rerank_section() if isinstance(model, ModelWithReranking) else None
    default = Section(**carried) if carried else RERANK
    if requested is None:
        return default
    if _names_another(requested, default):
        return requested
    merged = config.merge(default.options, requested.options)
    for part, usual in DEFAULTS.items():
        carried_name = default.options.get(part, {}).get("name", usual)
        if requested.options.get(part, {}).get("name", carried_name) != carried_name:
            merged[part] = requested.options[part]
    return Section(name=default.name, **merged)


def changed_section(stored: Section, requested: Section) -> Section:
    """Return the re-ranking of a library with what is requested changed; what that leaves open stays.

    Decision: an answerer or a judge that is named comes with all its options, so that one can be left out again.
    """
    if _names_another(requested, stored):
        return requested
    merged = config.merge(stored.options, requested.options)
    for part in DEFAULTS.keys() & requested.options.keys():
        if "name" in requested.options[part]:
            merged[part] = requested.options[part]
    return (requested if requested.is_named else stored).with_options(merged)


def _names_another(requested: Section, present: Section) -> bool:
    """Return whether another way of re-ranking is requested; options without a name are about the present one."""
    return requested.is_named and requested.name != present.name


def with_pools(section: Section, folder: Path | None) -> Section:
    """Return the section with the question pools of a folder (a library's own), where it names no file itself."""
    if section.name != RERANK.name:
        return section
    files = {about: str(file) for about, file in pool.in_folder(folder).items() if about not in _named_files(section)}
    return Section(**(section.model_dump() | files))


def with_absolute_pools(section: Section) -> Section:
    """Return the section with files of pools that mean the same in every working folder."""
    files = {about: str(pool.load(file).path.absolute()) for about, file in _named_files(section).items()}
    return section.with_options(section.options | files)


def _named_files(section: Section) -> dict[str, str]:
    """Return the pools that a section names, other than by what they are about."""
    if section.name != RERANK.name:
        return {}
    options = section.options
    return {about: options[about] for about in pool.ABOUT if options.get(about, about) != about}


def skeleton_options(requested: Section | None, model: Model, pools: Path | None = None) -> skeleton.Options:
    """Return the options of re-ranking by skeletons, from the settings' section and the model (`rerank_section`).

    `pools` is a folder whose question pools are asked where the section names none. Raises UsageError where the
    settings re-rank by another method, which describes no videos.
    """
    from . import skeleton

    section = with_pools(rerank_section(requested, model), pools)
    options = plugins.options("rerank", section.name, section.options)
    if not isinstance(options, skeleton.Options):
        raise UsageError(f"re-ranking by {section.name} needs no descriptions of videos")
    return options
