"""Leave-one-out scores of questions: how much R@1 falls where a question is left out of the skeleton."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import UsageError
from ..protocols import Answerer, Model
from ..types import FloatArray
from .examples import Example, embed_answers, example_skeletons, video_ranks
from .pool import About, PoolQuestion
from .trials import HEDGES, is_hedged

_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class QuestionContribution:
    """One question: R@1 (percent) falls by `drop` where it is left out, with a 95 % interval over examples; `alone` is
    R@1 with this question only, `hedged` the share of its answers that are hedged."""

    question: str
    text: str
    drop: float
    low: float
    high: float
    alone: float
    hedged: float


@dataclass(frozen=True, slots=True)
class LeaveOneOut:
    """R@1 (percent) of whole skeletons on `n` examples, and what each question contributes to it."""

    n: int
    r1: float
    questions: tuple[QuestionContribution, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def leave_one_out(
    examples: Sequence[Example],
    questions: Sequence[PoolQuestion],
    about: About,
    answerer: Answerer,
    model: Model,
    advance: Callable[[int], object] = lambda examples: None,
    seed: int = 0,
) -> LeaveOneOut:
    """Search with skeletons as queries, with every question and with all but one, and return the contributions.

    A skeleton's vector is the mean of its answers' vectors (each embedded as a query, those without an answer left
    out); of an example's caption where the questions are `about` text, of its video otherwise. Its rank is that of the
    example's own video among the videos of all examples. drop = R@1 with all questions - R@1 without this one, in
    points; the interval is a paired bootstrap over examples. Of two questions that say the same, neither shows a drop.

    Args:
        examples: videos that are ranked, and captions.
        questions: at least two.
        about: what the questions are about, "text" or "video".
        answerer: who answers.
        model: embeds the answers.
        advance: called with the number of examples whose questions are answered.
        seed: of the bootstrap.

    Raises:
        UsageError: for fewer than two questions, or where none was answered.
    """
    if len(questions) < 2:
        raise UsageError("to leave one out takes at least 2 questions; choose more clusters, or score all (--all)")
    skeletons = example_skeletons(examples, questions, about, answerer, advance)
    answers = [[skeleton[number].text for skeleton in skeletons] for number in range(len(questions))]
    if not any(text for texts in answers for text in texts):
        raise UsageError(f"{answerer.name} answered none of the questions: there is nothing to score")
    flat = embed_answers([text for texts in answers for text in texts], model)
    vectors = flat.reshape(len(questions), len(examples), -1)  # (Q, N, D)
    whole = _first_ranks(vectors.sum(axis=0), examples, model)
    resamples = np.random.default_rng(seed).integers(len(examples), size=(_RESAMPLES, len(examples)))
    contributions = []
    for number, question in enumerate(questions):
        without = _first_ranks(vectors.sum(axis=0) - vectors[number], examples, model)
        drops = whole - without
        low, high = np.percentile(100 * drops[resamples].mean(axis=1), [2.5, 97.5])
        contributions.append(
            QuestionContribution(
                question.id,
                question.text,
                drop=100 * float(drops.mean()),
                low=float(low),
                high=float(high),
                alone=100 * float(_first_ranks(vectors[number], examples, model).mean()),
                hedged=float(np.mean([is_hedged(text, HEDGES) for text in answers[number]])),
            )
        )
    return LeaveOneOut(len(examples), 100 * float(whole.mean()), tuple(contributions))


def _first_ranks(vectors: FloatArray, examples: Sequence[Example], model: Model) -> FloatArray:
    """Return 1.0 where the example's video has rank 1 (N,); the length of a sum of vectors changes no rank."""
    norms = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return np.asarray(video_ranks(vectors / norms, examples, model) == 1, dtype=np.float64)
