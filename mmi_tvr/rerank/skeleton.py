"""Re-ranking by the joint score: the cosine, and the probability that query and video say the same of themselves; and,
where that is asked for, what a look at the video says (`_looking`).

Source: Li et al., "Multi-Modal Inductive Framework for Text-Video Retrieval", ACM MM 2024, section 4.3:
score = lambda_r cos(h_T, h_v) + lambda_s p for the best M. Decision: the cosine is the model's score of the search.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field

from .. import plugins
from ..config import Section
from ..errors import MODEL_FAILURES, AnswerError, MmiTvrError, ServerUnusable, one_line
from ..protocols import Answerer, Judge, Model
from ..scoring.joint import JointScore
from ..skeletons.comparison import comparable
from ..skeletons.skeletons import Describer, VideoView, VideoViews, skeleton_text
from ..skeletons.store import SkeletonStore
from ..types import Explanation, FloatArray, IdArray, Judgement, Query, Skeleton, VisualJudgement
from ..utils import budget as budgets
from . import DEFAULT_ANSWERER
from ._budget import ANSWERS_SHARE
from ._judging import judgements_or_reasons
from ._looking import VideoLooks
from ._options import RerankOptions, require_language

if TYPE_CHECKING:
    from ..questions.pool import PoolQuestion

_FIRST_LOOK = 5.0  # seconds in which a server says which model it has, before the first search


class Options(RerankOptions):
    """Options of re-ranking by skeletons."""

    lambda_s: float = Field(0.3, ge=0, description="weight of the probability that both describe one scene")
    lambda_v: float = Field(0.0, ge=0, description="weight of a look at the video by the judge; 0: it does not look")
    answerer: Section = Field(Section(name=DEFAULT_ANSWERER), description="who answers the questions, and its options")
    text: str = Field("text", description="pool of the questions about the query: a file; text: the usual one")
    video: str = Field("video", description="pool of the questions about the videos: a file; video: the usual one")
    questions: int | None = Field(
        None, ge=1, description="ask the first so many of the chosen questions of each pool; default: all"
    )

    @property
    def sections(self) -> dict[str, Section]:
        return {"answerer": self.answerer, "judge": self.judge}

    @property
    def joint_score(self) -> JointScore:
        return JointScore(self.depth, self.lambda_r, self.lambda_s, self.lambda_v)


def build(
    options: Options, *, model: Model, views: VideoViews, store: SkeletonStore | None = None, device: str = "auto"
) -> SkeletonReranker:
    """Return the re-ranker of a search by `model`, which answerer and judge share.

    What videos answer is stored in `store`. Raises UsageError or ConfigError where a pool cannot be used, or where no
    model answers or judges. A server that is away is no such reason: it costs the joint scores of each search.
    """
    require_language(options, model)
    judge: Judge = plugins.build("judges", options.judge.name, options.judge.options, device=device, model=model)
    describer = _describer(options, model, store, device)
    with suppress(AnswerError, ServerUnusable), budgets.spending(budgets.BudgetLimits(seconds=_FIRST_LOOK)):
        describer.answerer.fingerprint()
    looks = VideoLooks(judge, options.alpha, store, options.budget.limits) if options.lambda_v else None
    return SkeletonReranker(options, describer, judge, views, looks)


def describer(options: Options, *, model: Model, store: SkeletonStore | None = None, device: str = "auto") -> Describer:
    """Return the describer, which makes the skeletons. Raises as `build` does, and ServerUnusable."""
    describer = _describer(options, model, store, device)
    describer.answerer.fingerprint()  # raises by now where there is no model or server to ask
    return describer


def _describer(options: Options, model: Model, store: SkeletonStore | None, device: str) -> Describer:
    answerer: Answerer = plugins.build(
        "answerers", options.answerer.name, options.answerer.options, device=device, model=model
    )
    return Describer(*_questions(options, model), answerer, store)


def _questions(options: Options, model: Model) -> tuple[tuple[PoolQuestion, ...], tuple[PoolQuestion, ...]]:
    """Return the questions that are asked of texts, and those of videos."""
    from ..questions import pool, selection

    def chosen(file: str, about: pool.About) -> tuple[PoolQuestion, ...]:
        loaded = pool.load(file, about)
        questions = selection.selected_questions(loaded)[: options.questions]
        selection.warn_if_stale(loaded, model.fingerprint())
        return questions

    return chosen(options.text, "text"), chosen(options.video, "video")


class SkeletonReranker:
    """Explains candidates. Whatever goes wrong on the way costs a joint score, never a hit, and stands in the
    explanation."""

    def __init__(
        self, options: Options, describer: Describer, judge: Judge, views: VideoViews, looks: VideoLooks | None = None
    ) -> None:
        """Make a re-ranker.

        Args:
            options: weights, depth and budget.
            describer: makes the skeletons.
            judge: compares them.
            views: looks videos up.
            looks: the third term of the joint score; None: there is none.
        """
        self.options = options
        self.depth = options.depth
        self.describer = describer
        self.judge = judge
        self.views = views
        self.looks = looks
        self._counterparts = {question.id: question.counterparts for question in describer.video_questions}
        self.seconds: Mapping[str, float] = {}

    def with_pools_of(self, section: Section, model: Model) -> SkeletonReranker:
        """Return a re-ranker of the same answerer and judge that asks the questions of other pools, or of the same ones
        after an edit. Raises UsageError or ConfigError where a pool cannot be used.

        section: of settings; its pools count.
        """
        files = {about: section.options[about] for about in ("text", "video")}
        options: Options = self.options.model_copy(update=files)
        describer = Describer(*_questions(options, model), self.describer.answerer, self.describer.store)
        return SkeletonReranker(options, describer, self.judge, self.views, self.looks)

    def rerank(self, query: Query, candidates: IdArray, cosines: FloatArray) -> list[Explanation]:
        """Return an explanation of each candidate: see `protocols.Reranker`."""
        with budgets.spending(self.options.budget.limits):
            return self._explanations(query, candidates, cosines)

    def _explanations(self, query: Query, candidates: IdArray, cosines: FloatArray) -> list[Explanation]:
        started = time.perf_counter()
        numbers = [int(number) for number in candidates]
        with budgets.spending(self.options.budget.limits.share(ANSWERS_SHARE)):
            text, query_problem = self._query_skeleton(query)
            videos: list[Skeleton] = [()] * len(numbers) if query_problem else self._video_skeletons(numbers)
        described = time.perf_counter()
        problems = [query_problem or _skeleton_problem(video) for video in videos]
        described_videos = [video for video, problem in zip(videos, problems, strict=True) if not problem]
        judged = iter(self._judgements(text, described_videos))
        judgements = [problem or next(judged) for problem in problems]
        visual = self._looks(query, numbers, judgements)
        explanations = [
            self._explanation(text, video, float(cosine), judgement, visual.get(number))
            for number, video, cosine, judgement in zip(numbers, videos, cosines, judgements, strict=True)
        ]
        self.seconds = {"answer": described - started, "judge": time.perf_counter() - described}
        return explanations

    def _query_skeleton(self, query: Query) -> tuple[Skeleton, str]:
        """Return the text skeleton, and why it cannot be judged; an empty reason where it can."""
        try:
            text = self.describer.text_skeleton(query.spoken)
        except MODEL_FAILURES as error:
            return (), f"the query has no skeleton: {one_line(error)}"
        problem = _skeleton_problem(text)
        return text, f"the query has no skeleton: {problem}" if problem else ""

    def _video_skeletons(self, numbers: Sequence[int]) -> list[Skeleton]:
        """Return the skeleton of each video; an empty one where the video is gone."""
        views = self.views(numbers)
        readable = [number for number in numbers if number in views]
        readable_views = [views[number] for number in readable]
        try:
            skeletons = self.describer.video_skeletons(readable_views)
        except MODEL_FAILURES as error:
            skeletons = self._stored_skeletons(readable_views, one_line(error))
        by_number = dict(zip(readable, skeletons, strict=True))
        return [by_number.get(number, ()) for number in numbers]

    def _stored_skeletons(self, views: Sequence[VideoView], reason: str) -> list[Skeleton]:
        """Return what was answered before the answerer, or the store, failed."""
        try:
            return self.describer.stored_skeletons(views, reason)
        except MmiTvrError:
            return [()] * len(views)

    def _judgements(self, text: Skeleton, videos: Sequence[Skeleton]) -> list[Judgement | str]:
        """Return the judgement of each video, or why there is none."""
        return judgements_or_reasons(
            lambda: self.judge.judge(skeleton_text(text), [skeleton_text(video) for video in videos]),
            self.judge.name,
            len(videos),
        )

    def _looks(
        self, query: Query, numbers: Sequence[int], judgements: Sequence[Judgement | str]
    ) -> dict[int, VisualJudgement | str]:
        """Return what a look at each judged video says, by its number, or why it says nothing; empty where nobody is to
        look."""
        if self.looks is None:
            return {}
        judged = [number for number, one in zip(numbers, judgements, strict=True) if isinstance(one, Judgement)]
        views = self.views(judged)
        return dict(zip(judged, self.looks.look(query.spoken, [views.get(number) for number in judged]), strict=True))

    def _explanation(
        self,
        text: Skeleton,
        video: Skeleton,
        cosine: float,
        judgement: Judgement | str,
        visual: VisualJudgement | str | None,
    ) -> Explanation:
        """Return the explanation of a candidate.

        Args:
            text: skeleton of the query.
            video: skeleton of the candidate.
            cosine: its score of the search.
            judgement: of the two skeletons, or the reason where there is none.
            visual: what a look says, or the reason where it says nothing; None: nobody looked.
        """
        p = None if isinstance(judgement, str) else judgement.probability
        plain = Explanation(
            text,
            video,
            p,
            cosine,
            None,
            judge=self.judge.name,
            pairs=comparable(text, video, self._counterparts, p),
        )
        if isinstance(judgement, str):
            return replace(plain, failure=judgement)
        judged = replace(plain, judged_by=judgement.judged_by)
        if isinstance(visual, str):  # without one of its terms a score cannot be compared with the others
            return replace(judged, failure=visual)
        scoring, look = self.options.joint_score, visual.normalised if visual else None
        joint = scoring.score(cosine, judgement.probability, look or 0.0)
        terms = scoring.terms(cosine, judgement.probability, look)
        return replace(judged, joint_score=joint, visual=visual, terms=terms)


def _skeleton_problem(skeleton: Skeleton) -> str:
    """Return why a skeleton cannot be judged; empty where it can."""
    if skeleton_text(skeleton):
        return ""
    return next((answer.error for answer in skeleton if answer.error), "nothing was answered")
