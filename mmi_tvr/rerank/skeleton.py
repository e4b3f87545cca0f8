"""Re-ranking by the joint score: the cosine, and the probability that query and video say the same of themselves.

Source: Li et al., "Multi-Modal Inductive Framework for Text-Video Retrieval", ACM MM 2024, section 4.3:
score = lambda_r cos(h_T, h_v) + lambda_s p for the best M. Decision: the cosine is the model's score of the search.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import Field, model_validator

from .. import models, plugins
from ..config import Section
from ..errors import MmiTvrError, UsageError, one_line
from ..plugins import BaseOptions
from ..protocols import Answerer, AnsweringModel, Judge, Model, TrainedModel
from ..scoring.joint import JointScore
from ..skeletons.judge import LlavaJudge
from ..skeletons.skeletons import Describer, VideoView, skeleton_text
from ..skeletons.store import SkeletonStore
from ..types import Explanation, FloatArray, IdArray, Query, Skeleton
from . import DEFAULT_ANSWERER

# What an answerer or a judge that cannot work may raise: ours, the network's and the disk's, torch's.
_BROKEN = (MmiTvrError, OSError, RuntimeError)

Views = Callable[[Sequence[int]], Mapping[int, VideoView]]  # video numbers -> those that can still be looked at


class Options(BaseOptions):
    """Options of re-ranking by skeletons."""

    depth: int = Field(20, ge=1, description="how many of the best candidates are looked at, M")
    lambda_r: float = Field(0.6, ge=0, description="weight of the cosine")
    lambda_s: float = Field(0.3, ge=0, description="weight of the probability that both describe one scene")
    answerer: Section = Field(Section(name=DEFAULT_ANSWERER), description="who answers the questions, and its options")
    text: str = Field("text", description="pool of the questions about the query: a file, or a name in prompts/")
    video: str = Field("video", description="pool of the questions about the videos")
    weights: str | None = Field(
        None, description="model that judges: a folder of trained weights, or a bundled one; default: the searching one"
    )

    @property
    def joint_score(self) -> JointScore:
        return JointScore(self.depth, self.lambda_r, self.lambda_s)

    @model_validator(mode="before")
    @classmethod
    def _default_answerer(cls, values: Any) -> Any:
        """`{answerer: {batch: 8}}` is about the default answerer."""
        if isinstance(values, dict) and isinstance(values.get("answerer"), dict):
            name = cls.model_fields["answerer"].default.name
            return {**values, "answerer": {"name": name, **values["answerer"]}}
        return values

    @model_validator(mode="after")
    def _known_answerer(self) -> Options:
        try:
            plugins.options("answerers", self.answerer.name, self.answerer.options)
        except UsageError as error:
            raise ValueError(str(error)) from error
        return self


def build(
    options: Options, *, model: Model, views: Views, store: SkeletonStore | None = None, device: str = "auto"
) -> SkeletonReranker:
    """The re-ranker of a search by `model`, which answerer and judge share. What videos answer is kept in `store`.

    UsageError or ConfigError where a pool cannot be used, or nobody is there to answer or to judge.
    """
    judge = _judge(options, model, device)
    return SkeletonReranker(options, describer(options, model=model, store=store, device=device), judge, views)


def describer(options: Options, *, model: Model, store: SkeletonStore | None = None, device: str = "auto") -> Describer:
    """Who makes the skeletons. Errors as `build`."""
    from ..questions import pool, selection

    answerer: Answerer = plugins.build(
        "answerers", options.answerer.name, options.answerer.options, device=device, model=model
    )
    answerer.fingerprint()  # says by now whether there is anybody to ask
    pools = {"text": pool.load(options.text), "video": pool.load(options.video)}
    for about, found in pools.items():
        if found.about != about:
            raise UsageError(f"{found.path}: its questions are about a {found.about}, where a {about} is to be asked")
    texts, videos = (selection.selected_questions(found) for found in pools.values())
    return Describer(texts, videos, answerer, store)


class SkeletonReranker:
    """Explains candidates. Whatever goes wrong on the way takes a joint score, never a hit, and is said in its
    explanation."""

    def __init__(self, options: Options, describer: Describer, judge: Judge, views: Views) -> None:
        self.options = options
        self.depth = options.depth
        self.describer = describer
        self.judge = judge
        self.views = views
        self.seconds: Mapping[str, float] = {}

    def rerank(self, query: Query, candidates: IdArray, cosines: FloatArray) -> list[Explanation]:
        """An explanation of each candidate: see `protocols.Reranker`."""
        started = time.perf_counter()
        text, trouble = self._of_query(query)
        numbers = [int(number) for number in candidates]
        videos = [()] * len(numbers) if trouble else self._of_videos(numbers)
        described = time.perf_counter()
        found = [trouble or self._why_not(skeleton) for skeleton in videos]
        judged = self._judged(text, [skeleton for skeleton, missing in zip(videos, found, strict=True) if not missing])
        answers = iter(judged)
        explanations = [
            self._explained(text, skeleton, float(cosine), missing or next(answers))
            for skeleton, cosine, missing in zip(videos, cosines, found, strict=True)
        ]
        self.seconds = {"answer": described - started, "judge": time.perf_counter() - described}
        return explanations

    def _of_query(self, query: Query) -> tuple[Skeleton, str]:
        """The text skeleton, and why there is none to judge by, if so."""
        try:
            text = self.describer.text_skeleton(query.text)
        except _BROKEN as error:
            return (), f"the query has no skeleton: {one_line(error)}"
        reason = self._why_not(text)
        return text, f"the query has no skeleton: {reason}" if reason else ""

    def _of_videos(self, numbers: Sequence[int]) -> list[Skeleton]:
        views = self.views(numbers)
        there = [number for number in numbers if number in views]
        seen = [views[number] for number in there]
        try:
            skeletons = self.describer.video_skeletons(seen)
        except _BROKEN as error:
            skeletons = self._known(seen, one_line(error))
        found = dict(zip(there, skeletons, strict=True))
        return [found.get(number, ()) for number in numbers]

    def _known(self, views: Sequence[VideoView], reason: str) -> list[Skeleton]:
        """What was answered before the answerer, or the store, broke."""
        try:
            return self.describer.stored_skeletons(views, reason)
        except MmiTvrError:
            return [()] * len(views)

    def _why_not(self, skeleton: Skeleton) -> str:
        """Why a skeleton cannot be judged; empty where it can."""
        if skeleton_text(skeleton):
            return ""
        return next((line.error for line in skeleton if line.error), "nothing was answered")

    def _judged(self, text: Skeleton, videos: Sequence[Skeleton]) -> Sequence[float | str]:
        """p of each video, or why there is none."""
        try:
            found = (
                self.judge.probabilities(skeleton_text(text), [skeleton_text(video) for video in videos])
                if videos
                else ()
            )
        except _BROKEN as error:
            return [f"not judged: {one_line(error)}"] * len(videos)
        return [float(p) if math.isfinite(p) else "the judge gave no number" for p in found]

    def _explained(self, text: Skeleton, video: Skeleton, cosine: float, found: float | str) -> Explanation:
        if isinstance(found, str):
            return Explanation(text, video, None, cosine, None, found)
        joint = self.options.joint_score.score(cosine, found)
        return Explanation(text, video, found, cosine, joint)


def _judge(options: Options, model: Model, device: str) -> LlavaJudge:
    if options.weights is not None and not (isinstance(model, TrainedModel) and model.weights == options.weights):
        model = models.make(models.trained_section(options.weights), device)
    if not isinstance(model, AnsweringModel):
        raise UsageError(
            f"{model.name} has no language model to re-rank with: search without --rerank, or index with a model that "
            "has one: mmi-tvr index DIR --model moving-shapes --rebuild"
        )
    return LlavaJudge(model)
