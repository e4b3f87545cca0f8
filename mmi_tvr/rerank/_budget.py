"""What one re-ranked query may spend: an option of every way of re-ranking."""

from __future__ import annotations

from pydantic import Field

from ..plugins import BaseOptions
from ..utils.budget import BudgetLimits

# Decision: describing query and videos may spend so much of a budget, so that something is left to judge with.
ANSWERS_SHARE = 0.75


class BudgetOptions(BaseOptions):
    """Limits of one query. What they cut off costs joint scores, never hits; answers that came are stored, so the next
    search goes on where this one ended."""

    calls: int | None = Field(1_000, ge=1, description="calls of language models, at most; null: any number")
    tokens: int | None = Field(1_000_000, ge=1, description="tokens that they read and write; null: any number")
    seconds: float | None = Field(60.0, gt=0, description="seconds for answering and judging; null: any number")

    @property
    def limits(self) -> BudgetLimits:
        return BudgetLimits(self.calls, self.tokens, self.seconds)
