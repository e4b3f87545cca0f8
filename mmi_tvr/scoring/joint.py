"""The joint score of a re-ranking, and the order that it gives.

Source: Li et al., "Multi-Modal Inductive Framework for Text-Video Retrieval", ACM MM 2024, section 4.3:
score = lambda_r cos(h_T, h_v) + lambda_s p for the best M. Decision: the cosine is the model's score of the search.
Decision: a look at the video is a third term, lambda_v p'. p' is p normalised by the candidate's own prior, after Ko et
al., "Bidirectional Likelihood Estimation with Multi-Modal Large Language Models for Text-Video Retrieval", ICCV 2025
(BLiM): a video of which a model says yes to everything does not win by that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..types import ScoreTerm

_SUREST = 1e-4  # a probability is at least so far from 0 and from 1 (decision): log-odds of 9


@dataclass(frozen=True, slots=True)
class JointScore:
    """The weights of the joint score, and how many of the best candidates (M) get one."""

    depth: int
    lambda_r: float
    lambda_s: float
    lambda_v: float = 0.0

    def score(self, cosine: float, probability: float = 0.0, visual: float = 0.0) -> float:
        """Return lambda_r * cosine + lambda_s * probability + lambda_v * visual.

        >>> round(JointScore(20, lambda_r=0.6, lambda_s=0.3).score(0.5, 0.9), 2)
        0.57
        """
        return self.lambda_r * cosine + self.lambda_s * probability + self.lambda_v * visual

    def terms(self, cosine: float, probability: float | None, visual: float | None) -> tuple[ScoreTerm, ...]:
        """Return what `score` adds up; a term of which there is no value is left out.

        >>> [term.name for term in JointScore(20, 0.6, 0.3).terms(0.5, 0.9, None)]
        ['cosine', 'probability']
        """
        values = (
            ("cosine", self.lambda_r, cosine),
            ("probability", self.lambda_s, probability),
            ("look", self.lambda_v, visual),
        )
        return tuple(ScoreTerm(name, weight, value) for name, weight, value in values if value is not None)


def logit(probability: float) -> float:
    """Return the logit of a probability (0..1), which is finite: samples and choices say 0 and 1, too."""
    clipped = min(max(probability, _SUREST), 1 - _SUREST)
    return math.log(clipped / (1 - clipped))


def sigmoid(logit: float) -> float:
    """Return the probability of a logit of any size."""
    return 1 / (1 + math.exp(-logit)) if logit >= 0 else 1 - sigmoid(-logit)


def normalised(probability: float, prior: float, alpha: float) -> float:
    """Return a probability (0..1) without what the candidate gets for any text: sigmoid(logit p - alpha logit prior).

    >>> round(normalised(0.9, 0.9, alpha=1.0), 2), round(normalised(0.9, 0.5, alpha=1.0), 2)
    (0.5, 0.9)
    """
    return sigmoid(logit(probability) - alpha * logit(prior))


def permutation(joint_scores: Sequence[float | None]) -> list[int]:
    """Return the positions of candidates, best first, after a re-ranking, from their joint scores in the order before.

    Those with a score are sorted by it, among the places that they held together, equal ones as they stood; a candidate
    without one keeps its place.

    >>> permutation([0.2, None, 0.9, 0.5])
    [2, 1, 3, 0]
    """
    scores = {position: score for position, score in enumerate(joint_scores) if score is not None}
    by_score = iter(sorted(scores, key=lambda position: -scores[position]))
    return [next(by_score) if position in scores else position for position in range(len(joint_scores))]
