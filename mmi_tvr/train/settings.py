"""A training run's settings file: what an index needs (`config.Settings`), and data and stages besides."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from .. import config, plugins
from ..config import CommonSettings, Section
from ..errors import ConfigError, UsageError
from .options import DISTILL, MATCHING, MOMENTS, UNPAIRED, Captions, TrainOptions
from .persons_options import PersonOptions


class SkeletonOptions(plugins.BaseOptions):
    """Pairs of skeletons for the term `skeleton`; the questions and who answers are those of the section `rerank`."""

    videos: int = Field(2000, ge=2, description="the first so many training videos are described")
    near: int = Field(10, ge=1, description="hard negatives of each: the best other videos of the model's own search")


class DistillOptions(plugins.BaseOptions):
    """Candidates whose joint scores teach, for the term `distill`; the section `rerank` says who answers and judges."""

    captions: int = Field(5, ge=1, description="so many of each captioned video are drawn")
    candidates: int = Field(
        8, ge=2, description="of each caption, among them its own video: the best by the model before training"
    )
    temperature: float = Field(0.03, ge=1e-4, description="that joint scores are divided by: lower is surer")


class MomentOptions(plugins.BaseOptions):
    """Sentences with their spans for the term `moments`."""

    sentences: int = Field(80_000, ge=1, description="so many are drawn, and embedded once before the first step")


class MatchingOptions(plugins.BaseOptions):
    """Queries, and the videos that they are held against, for the term `matching`."""

    captions: int = Field(2, ge=1, description="so many of each video are drawn, and embedded once")
    rounds: int = Field(1, ge=1, description="so often queries are drawn that say a part of a video")
    candidates: int = Field(512, ge=1, description="negatives are among so many best wrong videos of its own search")
    negatives: int = Field(3, ge=1, description="of a query, beside each video that it is true of")


class DataOptions(plugins.BaseOptions):
    """What a run trains and validates on."""

    train: Section = Field(description="the data set to train on")
    captions: Captions = Field(
        "one", description="of each video in an epoch: one, drawn anew every time, or all of them"
    )
    paired: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of the training videos, from the first on, that come with their captions; of the others, "
        "videos and captions take part apart, in the term `unpaired`",
    )
    written: str | None = Field(
        None,
        min_length=1,
        description="a question whose answer becomes the caption of each video beyond `paired`; null: those have none",
    )
    validation: Section | None = Field(None, description="another split, never the test split; chooses the checkpoint")
    batch: int = Field(256, ge=2, description="pairs in a batch of all processes together")
    skeletons: SkeletonOptions = Field(SkeletonOptions(), description="of stages that weigh `skeleton`")
    distill: DistillOptions = Field(DistillOptions(), description="of stages that weigh `distill`")
    moments: MomentOptions = Field(MomentOptions(), description="of stages that weigh `moments`")
    matching: MatchingOptions = Field(MatchingOptions(), description="of stages that weigh `matching`")
    persons: PersonOptions | None = Field(
        None, description="sentences with persons in them, instead of captions (models that read persons: clip_pad)"
    )
    unreadable: float = Field(0.02, ge=0, le=1, description="largest share of videos that may be left out")


class RunSettings(CommonSettings):
    """Settings of a training run: those of an index, and what is trained, on what, and how."""

    data: DataOptions = Field(description="data sets and batch size")
    train: TrainOptions = Field(TrainOptions(), description="stages, learning rates, checkpoints")


def load(path: str | Path, overrides: Iterable[str] = ()) -> RunSettings:
    """Return a run's settings, changed by `a.b=c` overrides and checked whole, before anything heavy is loaded.

    Raises ConfigError with every problem at once, and UsageError where the file is missing or no YAML.
    """
    settings = config.read(RunSettings, path, overrides)
    problems = []
    for section in (settings.data.train, settings.data.validation):
        if section is not None:
            try:
                options = plugins.options("datasets", section.name, section.options)
                if options.model_dump().get("split") == "test":
                    problems.append(f"data: {section.name}'s test split is for evaluation alone; set split")
            except UsageError as error:
                problems.append(str(error))
    problems += _problems_of_terms(settings)
    if settings.model.name == "auto":
        problems.append("model: name the model that is trained")
    if settings.data.validation == settings.data.train:
        problems.append("data.validation: the training data themselves; name another split")
    if settings.data.validation is None and any(stage.until is not None for stage in settings.train.stages):
        problems.append("train.stages: `until` ends a stage by the validation; name data.validation")
    if problems:
        raise ConfigError(str(path), problems)
    return settings.checked(str(path))


def _problems_of_terms(settings: RunSettings) -> list[str]:
    """Return what is wrong with the loss terms and the data that they learn from."""
    problems = []
    terms = list(settings.train.terms())
    for term in {MOMENTS, MATCHING}.intersection(terms) if len(terms) > 1 else ():
        problems.append(
            f"train.stages: the head of the term `{term}` is trained on vectors that stand still: give it a run of "
            "its own, from the weights of the other one"
        )
    if UNPAIRED in settings.train.terms() and settings.data.paired == 1:
        problems.append(
            "train.stages: `unpaired` learns from videos and captions that are no pairs, and all are pairs; set "
            "data.paired below 1"
        )
    if settings.data.written is not None and (settings.data.paired == 1 or UNPAIRED in settings.train.terms()):
        problems.append(
            "data.written: captions are written for videos that have none and no other part; set data.paired below 1, "
            "and leave `unpaired` out of train.stages"
        )
    if settings.data.persons is not None and DISTILL in settings.train.terms():
        problems.append("train.stages: `distill` learns from captions, and data.persons makes sentences of its own")
    return problems
