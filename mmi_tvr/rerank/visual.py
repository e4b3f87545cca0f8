"""Re-ranking by a look at the candidates: the cosine, and how likely it is that a video shows what the query says.

score = lambda_r cos + lambda_v p' for the best M, p' less the candidate's own prior (`scoring.joint`, `_looking`). No
questions are asked of it, and no answers are stored but the priors.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from pydantic import Field

from .. import plugins
from ..protocols import Judge, Model
from ..scoring.joint import JointScore
from ..skeletons.skeletons import VideoViews
from ..skeletons.store import SkeletonStore
from ..types import Explanation, FloatArray, IdArray, Query, VisualJudgement
from ..utils import budget as budgets
from ._looking import VideoLooks
from ._options import RerankOptions, require_language


class Options(RerankOptions):
    """Options of re-ranking by a look at the candidates."""

    lambda_v: float = Field(0.3, ge=0, description="weight of the probability that the video shows what the query says")

    @property
    def joint_score(self) -> JointScore:
        return JointScore(self.depth, self.lambda_r, 0.0, self.lambda_v)


def build(
    options: Options, *, model: Model, views: VideoViews, store: SkeletonStore | None = None, device: str = "auto"
) -> VisualReranker:
    """Return the re-ranker of a search by `model`, which the judge may share; priors are stored in `store`.

    Raises UsageError where no model judges, or the judge cannot look at pictures. A server that is away is no such
    reason: it costs the joint scores of each search.
    """
    require_language(options, model)
    judge: Judge = plugins.build("judges", options.judge.name, options.judge.options, device=device, model=model)
    return VisualReranker(options, VideoLooks(judge, options.alpha, store, options.budget.limits), views)


class VisualReranker:
    """Explains candidates. Whatever goes wrong on the way costs a joint score, never a hit, and stands in the
    explanation."""

    def __init__(self, options: Options, looks: VideoLooks, views: VideoViews) -> None:
        self.options = options
        self.depth = options.depth
        self.looks = looks
        self.views = views
        self.seconds: Mapping[str, float] = {}

    def rerank(self, query: Query, candidates: IdArray, cosines: FloatArray) -> list[Explanation]:
        """Return an explanation of each candidate: see `protocols.Reranker`."""
        started = time.perf_counter()
        numbers = [int(number) for number in candidates]
        with budgets.spending(self.options.budget.limits):
            views = self.views(numbers)
            looks = self.looks.look(query.spoken, [views.get(number) for number in numbers])
        self.seconds = {"judge": time.perf_counter() - started}
        return [self._explanation(float(cosine), visual) for cosine, visual in zip(cosines, looks, strict=True)]

    def _explanation(self, cosine: float, visual: VisualJudgement | str) -> Explanation:
        """Return the explanation of a candidate; `visual` is the reason where nobody looked."""
        name = self.looks.judge.name
        if isinstance(visual, str):
            return Explanation((), (), None, cosine, None, visual, judge=name)
        terms = self.options.joint_score.terms(cosine, None, visual.normalised)
        joint = self.options.joint_score.score(cosine, visual=visual.normalised)
        return Explanation(
            (), (), None, cosine, joint, judge=name, judged_by=visual.judged_by, visual=visual, terms=terms
        )
