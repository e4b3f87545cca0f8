"""Re-rankers (`mmi_tvr.protocols.Reranker`), one file per method, and the order that their scores mean."""

from __future__ import annotations

from collections.abc import Sequence

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


def permutation(joint: Sequence[float | None]) -> list[int]:
    """Positions of candidates, best first, after a re-ranking, from their joint scores in the order before.

    Those with a score are sorted by it, among the places that they held together, equal ones as they stood; a candidate
    without one keeps its place.

    >>> permutation([0.2, None, 0.9, 0.5])
    [2, 1, 3, 0]
    """
    scored = {at: score for at, score in enumerate(joint) if score is not None}
    by_score = iter(sorted(scored, key=lambda at: -scored[at]))
    return [next(by_score) if at in scored else at for at in range(len(joint))]
