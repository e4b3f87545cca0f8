"""Re-rankers (`mmi_tvr.protocols.Reranker`), one file per method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import config, plugins
from ..config import RERANK, Section
from ..errors import UsageError
from ..protocols import Model

if TYPE_CHECKING:
    from . import skeleton

ANSWERER = "transformers"  # who answers where nothing else is said


def section(wanted: Section | None, model: Model) -> Section:
    """How to re-rank: as the settings want it, and where they leave something open, as the model came (`Mmi.save`).
    Another answerer than the model's has options of its own."""
    own = getattr(model, "reranking", None)
    below = Section(**own) if own else RERANK
    if wanted is None or wanted.name != below.name:
        return wanted or below
    merged = config.over(below.model_dump(), wanted.model_dump())
    usual = below.options.get("answerer", {}).get("name", ANSWERER)
    if wanted.options.get("answerer", {}).get("name", usual) != usual:
        merged["answerer"] = wanted.options["answerer"]
    return Section(**merged)


def skeleton_options(wanted: Section | None, model: Model) -> skeleton.Options:
    """Return the options of re-ranking by skeletons, as `section` finds them for the settings' section and the model.

    Raises UsageError where the settings re-rank by another method, which describes no videos.
    """
    from . import skeleton

    chosen = section(wanted, model)
    options = plugins.options("rerank", chosen.name, chosen.options)
    if not isinstance(options, skeleton.Options):
        raise UsageError(f"re-ranking by {chosen.name} needs no descriptions of videos")
    return options
