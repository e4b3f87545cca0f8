"""The joint score of a re-ranking, and the order that it gives.

Source: Li et al., "Multi-Modal Inductive Framework for Text-Video Retrieval", ACM MM 2024, section 4.3:
score = lambda_r cos(h_T, h_v) + lambda_s p for the best M. Decision: the cosine is the model's score of the search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JointScore:
    """The weights of the joint score, and how many of the best candidates (M) get one."""

    depth: int
    lambda_r: float
    lambda_s: float

    def score(self, cosine: float, probability: float) -> float:
        """Return lambda_r * cosine + lambda_s * probability.

        >>> round(JointScore(20, lambda_r=0.6, lambda_s=0.3).score(0.5, 0.9), 2)
        0.57
        """
        return self.lambda_r * cosine + self.lambda_s * probability


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
