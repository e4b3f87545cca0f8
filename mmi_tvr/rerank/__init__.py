"""Re-rankers (`mmi_tvr.protocols.Reranker`), one file per method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import config, plugins
from ..config import RERANK, Section
from ..errors import UsageError
from ..protocols import Model, ModelWithReranking

if TYPE_CHECKING:
    from . import skeleton

DEFAULT_ANSWERER = "transformers"


def rerank_section(requested: Section | None, model: Model) -> Section:
    """Return how to re-rank: as the settings request it, and what they leave open as the model came (`Mmi.save`).

    An answerer other than the model's has options of its own.
    """
    carried = model.rerank_section() if isinstance(model, ModelWithReranking) else None
    default = Section(**carried) if carried else RERANK
    if requested is None:
        return default
    if requested.name != default.name:
        return requested
    merged = config.merge(default.model_dump(), requested.model_dump())
    default_answerer = default.options.get("answerer", {}).get("name", DEFAULT_ANSWERER)
    if requested.options.get("answerer", {}).get("name", default_answerer) != default_answerer:
        merged["answerer"] = requested.options["answerer"]
    return Section(**merged)


def skeleton_options(requested: Section | None, model: Model) -> skeleton.Options:
    """Return the options of re-ranking by skeletons, from the settings' section and the model (`rerank_section`).

    Raises UsageError where the settings re-rank by another method, which describes no videos.
    """
    from . import skeleton

    section = rerank_section(requested, model)
    options = plugins.options("rerank", section.name, section.options)
    if not isinstance(options, skeleton.Options):
        raise UsageError(f"re-ranking by {section.name} needs no descriptions of videos")
    return options
