"""The law of scores that a model brings (`types.ScoreLaw`), as options of its folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel, Field

from ..plugins import BaseOptions
from ..types import PartialQueries, ScoreLaw


class PartialQueriesOptions(BaseOptions):
    """What the score of a query is worth that says a part of a video alone (`types.PartialQueries`)."""

    middle: float = Field(description="score of relevance 0.5 of such a query in a collection of one video")
    growth: float = Field(ge=0, description="what is added to it per unit of ln(videos)")
    weights: tuple[float, ...] = Field(description="of a query's vector: the larger their product, the more it says")
    bias: float = Field(description="added to that product")


class ScoreLawOptions(BaseOptions):
    """What a score is worth: relevance = 1 / (1 + exp(-slope * (score - middle))). Made by scripts/nothing_found.py."""

    middle: float = Field(description="score of relevance 0.5")
    slope: float = Field(gt=0, description="how fast relevance rises there")
    partial: PartialQueriesOptions | None = Field(None, description="of queries that say a part of a video alone")

    def law(self) -> ScoreLaw:
        """Return the law."""
        partial = None if self.partial is None else PartialQueries(**self.partial.model_dump())
        return ScoreLaw(self.middle, self.slope, partial)


def scores_as_measured(options: BaseModel, trained: Mapping[str, Any] | None, names: Collection[str]) -> bool:
    """Return whether scores come about as they did when the laws of trained weights were measured.

    Args:
        options: of the model.
        trained: the options that its folder has; None where it was made from none.
        names: of the options that change scores.
    """
    if trained is None:
        return True
    for name, value in options.model_dump(mode="json", include=set(names)).items():
        former = trained.get(name, value)
        if value != ({**value, **former} if isinstance(value, dict) else former):
            return False
    return True
