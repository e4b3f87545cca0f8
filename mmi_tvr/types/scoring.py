"""How vectors become scores, and which of them are compared."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import UsageError
from .arrays import Direction, Level

_NAMES_OF_SCORES = ("moment", "cosine", "probability", "joint")  # in `Hit.scores`, besides those of blocks


@dataclass(frozen=True, slots=True)
class Filter:
    """Which vectors a search may return: of one level, and only these videos (None: no restriction)."""

    level: Level | None = None
    videos: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of the vectors that is compared by itself: `width` numbers, shown as `name`.

    Its similarity is the dot product q.v, or sigmoid(squash + q.v); it counts `t2v` times where a text asks, and `v2t`
    times where a video asks.
    """

    name: str
    width: int
    t2v: float = 1.0
    v2t: float = 1.0
    squash: float | None = None

    def weight(self, direction: Direction) -> float:
        """Return how much the block counts in one direction."""
        return self.t2v if direction == "t2v" else self.v2t


@dataclass(frozen=True, slots=True)
class PartialQueries:
    """What the score of a query is worth that says only a part of what is in a video: "a red circle".

    A query q (D,) is whole to the share 1 / (1 + exp(-(weights . q + bias))).

    Attributes:
        middle: Score of relevance 0.5 of a query that is not whole at all, in a collection of one video.
        growth: What is added to that per unit of ln(videos): the best of more unrelated videos is better.
        weights: (D,), of the numbers of the query's vector.
        bias: Of a vector of zeros.
    """

    middle: float
    growth: float
    weights: tuple[float, ...]
    bias: float


@dataclass(frozen=True, slots=True)
class ScoreLaw:
    """What a model's score is worth: relevance = 1 / (1 + exp(-slope * (score - middle))).

    `middle` is the same in every collection; where `partial` is known, that is so of whole queries, and a query that is
    whole to the share s has the middle s * middle + (1 - s) * (partial.middle + partial.growth * ln(videos)).
    """

    middle: float
    slope: float
    partial: PartialQueries | None = None


@dataclass(frozen=True, slots=True)
class MatchLaw:
    """What a matching head's answer is worth beside the score: a query matches a video by
    1 / (1 + exp(-slope * (answer + score_weight * score - middle))), and 0.5 is where a match is to be believed."""

    middle: float
    slope: float
    score_weight: float = 0.0


@dataclass(frozen=True, slots=True)
class Scoring:
    """How the vectors of a query and a video become a score (the model says; search and evaluation both obey).

    score = (1 - moment_weight) * s(q, video) + moment_weight * mean of the `top_moments` largest s(q, moment).
    A search whose best hit has a relevance below `min_relevance` has found nothing (chosen per model). Relevance comes
    from `score_law`, where the model was measured on queries with and without an answer; else from the collection
    (`scoring.relevance`). Where the model has a head that matches queries and videos (`protocols.MatchingModel`), a
    search has found something where its best hit matches by at least 0.5 according to `match_law`.

    Without `blocks`, s is the dot product: the cosine. With n of them, one behind the other, each is a part of length
    1 / sqrt(n) of a video's vector, and s = the sum over blocks of weight * g(sqrt(n) q_b.v_b), g as `Block` says.
    """

    moment_weight: float = 0.0
    top_moments: int = 1
    min_relevance: float = 0.0
    blocks: tuple[Block, ...] = ()
    score_law: ScoreLaw | None = None
    match_law: MatchLaw | None = None

    def __post_init__(self) -> None:
        names = [block.name for block in self.blocks]
        if twice := {name for name in names if names.count(name) > 1 or name in _NAMES_OF_SCORES}:
            raise UsageError(f"blocks have names of their own, none of {', '.join(_NAMES_OF_SCORES)}; not {min(twice)}")
        for block in self.blocks:
            if block.width < 1 or not all(0 <= weight < math.inf for weight in (block.t2v, block.v2t)):
                raise UsageError(f"block {block.name}: its width is at least 1, and its weights are at least 0")
            if block.squash is not None and not math.isfinite(block.squash):
                raise UsageError(f"block {block.name}: squash is a finite number, not {block.squash}")

    @property
    def symmetric(self) -> bool:
        """Whether a text that asks and a video that asks get the same scores."""
        return all(block.t2v == block.v2t for block in self.blocks)
