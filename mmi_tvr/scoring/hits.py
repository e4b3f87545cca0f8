"""The hits that a ranking of candidates shows, with the parts of their scores."""

from __future__ import annotations

from collections.abc import Sequence

from ..types import Embeddings, Explanation, FloatArray, Hit, Scoring, Span
from .blocks import block_scores, similarities
from .ranking import Ranking


def hits_of(ranking: Ranking, query: FloatArray | None, spans: Sequence[Span], scoring: Scoring) -> list[Hit]:
    """Return one hit a video: its best moment.

    Args:
        ranking: of n candidates.
        query: its vector (D,); None where it has no text.
        spans: where it happens in each candidate, (n,).
        scoring: how the model scores.
    """
    shown, scores = [], ranking.scores
    for row, (number, span) in enumerate(zip(ranking.numbers.tolist(), spans, strict=True)):
        parts = {} if query is None else _parts_of_score(ranking.vectors[row], query, scoring)
        parts |= {name: float(change[row]) for name, change in ranking.changes.items()}
        explanation = ranking.explanations.get(number)
        if explanation is not None:
            parts |= _parts_of_joint_score(explanation)
        entry = ranking.entries[row]
        path, *copies = entry.paths
        if entry.facts.is_still:
            span = Span(0.0, 0.0, 0.0)
        shown.append(
            Hit(
                path=path,
                start=span.start,
                end=span.end,
                time=span.time,
                score=float(scores[row]),
                relevance=float(ranking.relevances[row]),
                scores=parts,
                copies=tuple(copies),
                explanation=explanation,
                description=ranking.matches.get(number),
                id=number,
                similar=tuple(ranking.folded.get(number, ())),
                facts=entry.facts,
                companions=entry.companions,
            )
        )
    return shown


def _parts_of_score(vectors: Embeddings, query: FloatArray, scoring: Scoring) -> dict[str, float]:
    """Return what a query (D,) has in common with a video, or with each block of it, and with its best moment."""
    blocks = block_scores(query[None], vectors.video[None], scoring)
    parts = {name: float(scores[0, 0]) for name, scores in blocks.items()} or {"video": float(vectors.video @ query)}
    return parts | {"moment": float(similarities(vectors.moments, query, scoring).max())}


def _parts_of_joint_score(explanation: Explanation) -> dict[str, float]:
    parts = {
        "cosine": explanation.cosine,
        "probability": explanation.probability,
        "visual": explanation.visual.normalised if explanation.visual else None,
        "joint": explanation.joint_score,
    }
    return {name: value for name, value in parts.items() if value is not None}
