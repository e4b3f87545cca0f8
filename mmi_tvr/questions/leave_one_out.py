"""How much a question helps: what is lost where it is left out."""

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
class Contribution:
    """One question: R@1 (percent) falls by `drop` where it is left out, with a 95 % interval over examples; `alone` is
    R@1 with this question only, `hedged` the share of its answers that tell nothing."""

    question: str
    text: str
    drop: float
    low: float
    high: float
    alone: float
    hedged: float


@dataclass(frozen=True, slots=True)
class Contributions:
    """R@1 (percent) of whole skeletons on `n` examples, and what each question has to do with it."""

    n: int
    r1: float
    questions: tuple[Contribution, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def leave_one_out(
    examples: Sequence[Example],
    questions: Sequence[PoolQuestion],
    about: About,
    answerer: Answerer,
    model: Model,
    advance: Callable[[int], object] = lambda examples: None,
    seed: int = 0,
) -> Contributions:
    """Skeletons as queries, with every question and with all but one.

    A skeleton's vector is the mean of its answers' vectors (each embedded as a query, those without an answer left
    out); of an example's caption where the questions are `about` text, of its video otherwise. Its rank is that of the
    example's own video among the videos of all examples. drop = R@1 with all questions - R@1 without this one, in
    points; the interval is a paired bootstrap over examples. Of two questions that say the same, neither shows a drop.
    UsageError for fewer than two questions.
    """
    if len(questions) < 2:
        raise UsageError("to leave one out takes at least 2 questions; choose more clusters, or score all (--all)")
    skeletons = example_skeletons(examples, questions, about, answerer, advance)
    answers = [[skeleton[at].text for skeleton in skeletons] for at in range(len(questions))]
    if not any(map(any, answers)):
        raise UsageError(f"{answerer.name} answered none of the questions: there is nothing to score")
    flat = embed_answers([answer for own in answers for answer in own], model)
    vectors = flat.reshape(len(questions), len(examples), -1)  # (Q, N, D)
    whole = _hits(vectors.sum(axis=0), examples, model)
    drawn = np.random.default_rng(seed).integers(len(examples), size=(_RESAMPLES, len(examples)))
    found = []
    for at, question in enumerate(questions):
        lost = whole - _hits(vectors.sum(axis=0) - vectors[at], examples, model)
        low, high = np.percentile(100 * lost[drawn].mean(axis=1), [2.5, 97.5])
        alone = 100 * float(_hits(vectors[at], examples, model).mean())
        hedged = float(np.mean([is_hedged(answer, HEDGES) for answer in answers[at]]))
        drop = 100 * float(lost.mean())
        found.append(Contribution(question.id, question.text, drop, float(low), float(high), alone, hedged))
    return Contributions(len(examples), 100 * float(whole.mean()), tuple(found))


def _hits(vectors: FloatArray, examples: Sequence[Example], model: Model) -> FloatArray:
    """1.0 where the right video comes first (N,); the length of a sum of vectors changes no rank."""
    norms = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return np.asarray(video_ranks(vectors / norms, examples, model) == 1, dtype=np.float64)
