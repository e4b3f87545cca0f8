"""Re-ranking by the joint score: the cosine, and the probability that query and video say the same of themselves.

Source: Li et al., "Multi-Modal Inductive Framework for Text-Video Retrieval", ACM MM 2024, section 4.3:
score = lambda_r cos(h_T, h_v) + lambda_s p for the best M. Decision: the cosine is the model's score of the search.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from pydantic import Field, model_validator

from .. import plugins
from ..config import Section
from ..errors import AnswerError, MmiTvrError, ServerUnusable, UsageError, one_line
from ..plugins import BaseOptions
from ..protocols import Answerer, AnsweringModel, Judge, Model
from ..scoring.joint import JointScore
from ..skeletons.skeletons import Describer, VideoView, skeleton_text
from ..skeletons.store import SkeletonStore
from ..types import Explanation, FloatArray, IdArray, Judgement, Query, Skeleton
from ..utils import budget as budgets
from . import DEFAULT_ANSWERER, DEFAULT_JUDGE, DEFAULTS
from ._budget import ANSWERS_SHARE, BudgetOptions

# What an answerer or a judge that cannot work may raise: ours, the network's and the disk's, torch's.
_FAILURES = (MmiTvrError, OSError, RuntimeError)
_FIRST_LOOK = 5.0  # seconds in which a server says which model it has, before the first search

VideoViews = Callable[[Sequence[int]], Mapping[int, VideoView]]  # video numbers -> those that can still be read


class Options(BaseOptions):
    """Options of re-ranking by skeletons."""

    depth: int = Field(20, ge=1, description="how many of the best candidates are looked at, M")
    lambda_r: float = Field(0.6, ge=0, description="weight of the cosine")
    lambda_s: float = Field(0.3, ge=0, description="weight of the probability that both describe one scene")
    answerer: Section = Field(Section(name=DEFAULT_ANSWERER), description="who answers the questions, and its options")
    judge: Section = Field(
        Section(name=DEFAULT_JUDGE), description="who judges, and its options; default: the model that searches"
    )
    text: str = Field("text", description="pool of the questions about the query: a file; text: the usual one")
    video: str = Field("video", description="pool of the questions about the videos: a file; video: the usual one")
    questions: int | None = Field(
        None, ge=1, description="ask the first so many of the chosen questions of each pool; default: all"
    )
    budget: BudgetOptions = Field(BudgetOptions(), description="the most that one query may spend")

    @property
    def joint_score(self) -> JointScore:
        return JointScore(self.depth, self.lambda_r, self.lambda_s)

    @model_validator(mode="before")
    @classmethod
    def _default_names(cls, values: Any) -> Any:
        """`{answerer: {batch: 8}}` is about the default answerer; the same of the judge."""
        if not isinstance(values, dict):
            return values
        sections = {key: {"name": name, **values[key]} for key, name in DEFAULTS.items() if _is_section(values, key)}
        return {**values, **sections}

    @model_validator(mode="after")
    def _known_sections(self) -> Options:
        for room, section in (("answerers", self.answerer), ("judges", self.judge)):
            try:
                plugins.options(room, section.name, section.options)
            except UsageError as error:
                raise ValueError(str(error)) from error
        return self


def build(
    options: Options, *, model: Model, views: VideoViews, store: SkeletonStore | None = None, device: str = "auto"
) -> SkeletonReranker:
    """Return the re-ranker of a search by `model`, which answerer and judge share.

    What videos answer is stored in `store`. Raises UsageError or ConfigError where a pool cannot be used, or where no
    model answers or judges. A server that is away is no such reason: it costs the joint scores of each search.
    """
    _require_language(options, model)
    judge: Judge = plugins.build("judges", options.judge.name, options.judge.options, device=device, model=model)
    describer = _describer(options, model, store, device)
    with suppress(AnswerError, ServerUnusable), budgets.spending(budgets.BudgetLimits(seconds=_FIRST_LOOK)):
        describer.answerer.fingerprint()
    return SkeletonReranker(options, describer, judge, views)


def describer(options: Options, *, model: Model, store: SkeletonStore | None = None, device: str = "auto") -> Describer:
    """Return the describer, which makes the skeletons. Raises as `build` does, and ServerUnusable."""
    describer = _describer(options, model, store, device)
    describer.answerer.fingerprint()  # raises by now where there is no model or server to ask
    return describer


def _describer(options: Options, model: Model, store: SkeletonStore | None, device: str) -> Describer:
    from ..questions import pool, selection

    answerer: Answerer = plugins.build(
        "answerers", options.answerer.name, options.answerer.options, device=device, model=model
    )
    questions = {}
    for about, file in (("text", options.text), ("video", options.video)):
        loaded = pool.load(file)
        if loaded.about != about:
            raise UsageError(f"{loaded.path}: its questions are about a {loaded.about}, where a {about} is to be asked")
        questions[about] = selection.selected_questions(loaded)[: options.questions]
        selection.warn_if_stale(loaded, model.fingerprint())
    return Describer(questions["text"], questions["video"], answerer, store)


class SkeletonReranker:
    """Explains candidates. Whatever goes wrong on the way costs a joint score, never a hit, and stands in the
    explanation."""

    def __init__(self, options: Options, describer: Describer, judge: Judge, views: VideoViews) -> None:
        self.options = options
        self.depth = options.depth
        self.describer = describer
        self.judge = judge
        self.views = views
        self.seconds: Mapping[str, float] = {}

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
        judgements = iter(self._judgements(text, described_videos))
        explanations = [
            self._explanation(text, video, float(cosine), problem or next(judgements))
            for video, cosine, problem in zip(videos, cosines, problems, strict=True)
        ]
        self.seconds = {"answer": described - started, "judge": time.perf_counter() - described}
        return explanations

    def _query_skeleton(self, query: Query) -> tuple[Skeleton, str]:
        """Return the text skeleton, and why it cannot be judged; an empty reason where it can."""
        try:
            text = self.describer.text_skeleton(query.text)
        except _FAILURES as error:
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
        except _FAILURES as error:
            skeletons = self._stored_skeletons(readable_views, one_line(error))
        by_number = dict(zip(readable, skeletons, strict=True))
        return [by_number.get(number, ()) for number in numbers]

    def _stored_skeletons(self, views: Sequence[VideoView], reason: str) -> list[Skeleton]:
        """Return what was answered before the answerer, or the store, failed."""
        try:
            return self.describer.stored_skeletons(views, reason)
        except MmiTvrError:
            return [()] * len(views)

    def _judgements(self, text: Skeleton, videos: Sequence[Skeleton]) -> Sequence[Judgement | str]:
        """Return the judgement of each video, or why there is none."""
        if not videos:
            return ()
        if shortage := budgets.current().shortage:
            return [f"not judged: {shortage}"] * len(videos)
        try:
            judgements = self.judge.judge(skeleton_text(text), [skeleton_text(video) for video in videos])
            if len(judgements) != len(videos):
                raise AnswerError(f"{self.judge.name} judged {len(judgements)} of {len(videos)}")
        except _FAILURES as error:
            return [f"not judged: {one_line(error)}"] * len(videos)
        return [_judgement_or_reason(judgement) for judgement in judgements]

    def _explanation(self, text: Skeleton, video: Skeleton, cosine: float, judgement: Judgement | str) -> Explanation:
        """Return the explanation of a candidate; `judgement` is the reason where there is none."""
        name = self.judge.name
        if isinstance(judgement, str):
            return Explanation(text, video, None, cosine, None, judgement, judge=name)
        p = judgement.probability
        joint = self.options.joint_score.score(cosine, p)
        return Explanation(text, video, p, cosine, joint, judge=name, judged_by=judgement.judged_by)


def _skeleton_problem(skeleton: Skeleton) -> str:
    """Return why a skeleton cannot be judged; empty where it can."""
    if skeleton_text(skeleton):
        return ""
    return next((answer.error for answer in skeleton if answer.error), "nothing was answered")


def _judgement_or_reason(judgement: Judgement | AnswerError) -> Judgement | str:
    if isinstance(judgement, AnswerError):
        return f"not judged: {one_line(judgement)}"
    return judgement if math.isfinite(judgement.probability) else "the judge gave no number"


def _is_section(values: Mapping[str, Any], key: str) -> bool:
    return isinstance(values.get(key), dict)


def _require_language(options: Options, model: Model) -> None:
    """Raise UsageError, with what to do, where the model that searches is to answer or to judge and has no language."""
    if isinstance(model, AnsweringModel):
        return
    parts = {"answerer": options.answerer, "judge": options.judge}
    missing = [part for part, section in parts.items() if _means_searching_model(part, section)]
    if not missing:
        return
    verbs = " and ".join({"answerer": "answer", "judge": "judge"}[part] for part in missing)
    names, urls = (
        " ".join(f"--set rerank.{part}.{option}" for part in missing) for option in ("name=openai", "base_url=URL")
    )
    raise UsageError(
        f"{model.name} has no language model to re-rank with: search without --rerank; or let a server {verbs}, with "
        f"{names}, and {urls} where it is not http://127.0.0.1:8000/v1; or index with a model that has one: mmi-tvr "
        "index DIR --model moving-shapes --rebuild"
    )


def _means_searching_model(part: str, section: Section) -> bool:
    return section.name == DEFAULTS[part] and not section.options.get("weights")
