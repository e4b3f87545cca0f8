"""What becomes of judgements that fail: a reason for each candidate. It costs its joint score, never the hit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..errors import MODEL_FAILURES, AnswerError, one_line
from ..types import Judgement
from ..utils.budget import current


def judgements_or_reasons(
    judge: Callable[[], Sequence[Judgement | AnswerError]], name: str, count: int, problem: str = "not judged"
) -> list[Judgement | str]:
    """Return the judgement of each candidate, or why there is none.

    Args:
        judge: judges all of them.
        name: of the judge.
        count: how many there are; without any, nobody is called.
        problem: begins each reason.
    """
    if not count:
        return []
    if shortage := current().shortage:
        return [f"{problem}: {shortage}"] * count
    try:
        judgements = judge()
        if len(judgements) != count:
            raise AnswerError(f"{name} judged {len(judgements)} of {count}")
    except MODEL_FAILURES as error:
        return [f"{problem}: {one_line(error)}"] * count
    return [_judgement_or_reason(judgement, problem) for judgement in judgements]


def _judgement_or_reason(judgement: Judgement | AnswerError, problem: str) -> Judgement | str:
    if isinstance(judgement, AnswerError):
        return f"{problem}: {one_line(judgement)}"
    return judgement if math.isfinite(judgement.probability) else "the judge gave no number"
