"""Re-rankers (`mmi_tvr.protocols.Reranker`), one file per method."""

from __future__ import annotations

from .. import config
from ..config import RERANK, Section
from ..protocols import Model

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
