"""Options of a training run. Kept apart from the loop, so that a settings file is checked without loading torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from ..plugins import BaseOptions
from ..utils.wording import counted

CONTRASTIVE, RANKING = "contrastive", "ranking"  # the terms that the room computes itself, from `embed_batch`
Captions = Literal["one", "all"]  # of each video in an epoch
DISTILL = "distill"  # the term by which joint scores of candidates teach; computed by the room, too
SKELETON = "skeleton"  # the term of pairs of skeletons, L_s
UNPAIRED = "unpaired"  # the term of texts and videos that do not come as pairs; a model's own
MOMENTS, MATCHING = "moments", "matching"  # the terms of heads that are trained in a run of their own each
# Options that change no number of the training, so that a resumed run may have others.
_CHANGEABLE = {"log_every", "save_every", "keep", "trackers", "shard"}
# Options that the oldest checkpoints do not know: at their defaults they are left out of the record.
_LATER = ("margin", "ranking_warmup", "bank")


class Stage(BaseOptions):
    """A stretch of training with objectives of its own. Learning rates warm up and decay anew in each (decision)."""

    name: str = Field(description="shown in progress and logs")
    steps: int = Field(ge=1, description="optimiser steps")
    weights: dict[str, float] = Field(min_length=1, description="loss terms by name, each with its weight")
    until: float | None = Field(None, description="the stage ends early where the validation reaches this number")

    @field_validator("weights")
    @classmethod
    def _positive(cls, weights: dict[str, float]) -> dict[str, float]:
        if wrong := [name for name, weight in weights.items() if not 0 < weight < float("inf")]:
            raise ValueError(f"weights are above 0 (leave a term out instead): {', '.join(wrong)}")
        return weights


class TrainOptions(BaseOptions):
    """How a model is trained. The defaults are the published setting where there is one."""

    stages: tuple[Stage, ...] = Field(
        (
            Stage(name="masked", steps=1000, weights={"caption": 1.0, "masked": 1.0}),
            Stage(name="joint", steps=4000, weights={CONTRASTIVE: 0.6, "skeleton": 0.3}),
        ),
        min_length=1,
        description="in order: masked prediction (L_m), then the joint objective (L_r, L_s)",
    )
    learning_rates: dict[str, float] = Field(
        {"lora": 3e-5, "heads": 1e-3, "temperature": 1e-3},
        description="peak learning rate of every parameter group of the model, and of the temperature",
    )
    muon: tuple[str, ...] = Field(
        (), description="parameter groups whose matrices Muon trains instead of AdamW: of hidden layers, from nothing"
    )
    weight_decay: float = Field(0.01, ge=0, description="decay of matrices; biases, norms, scalars have none")
    betas: tuple[float, float] = Field((0.9, 0.98), description="AdamW's moving averages (CLIP's)")
    warmup: float = Field(0.1, ge=0, le=1, description="share of a stage's steps in which the learning rate rises")
    floor: float = Field(0.0, ge=0, le=1, description="share of the peak learning rate at which the cosine ends")
    clip: float = Field(1.0, gt=0, description="largest norm of the whole gradient")
    temperature: float = Field(0.07, gt=0, description="where the contrastive temperature starts (0.01: CLIP's end)")
    margin: float = Field(0.25, gt=0, description="of `ranking`: by how much a pair scores above every negative")
    ranking_warmup: float = Field(
        0.0,
        ge=0,
        le=1,
        description="of `ranking`: share of a stage's steps in which the mean over negatives gives way to the hardest",
    )
    bank: int = Field(0, ge=0, description="of `contrastive`: pairs of past batches that are negatives besides")
    accumulate: int = Field(1, ge=1, description="batches whose gradients are averaged into one step")
    chunk: int | None = Field(None, ge=1, description="gradient caching: pairs held in memory at once (None: all)")
    precision: Literal["float32", "bf16", "auto"] = Field(
        "float32",
        description="bf16: autocast, parameters stay as they are; auto: bf16 where the device has instructions for it",
    )
    shard: bool = Field(
        False, description="divide the frozen layers of the language model among the processes (FSDP), to spare memory"
    )
    seed: int = Field(0, ge=0, description="of dropout and of every other draw; each process has its own stream")
    log_every: int = Field(10, ge=1, description="steps between two entries of the trackers")
    save_every: int = Field(500, ge=1, description="steps between two checkpoints")
    validate_every: int = Field(500, ge=1, description="steps between two validations")
    keep: int = Field(2, ge=1, description="newest checkpoints that stay, besides the best one")
    trackers: tuple[Literal["jsonl", "tensorboard", "wandb"], ...] = Field(
        ("jsonl",), description="where numbers are written"
    )

    @field_validator("trackers")
    @classmethod
    def _once(cls, trackers: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(trackers)) < len(trackers):
            raise ValueError(f"each tracker is named once, and not {', '.join(trackers)}")
        return trackers

    @property
    def lengths(self) -> list[int]:
        """The optimiser steps of each stage that does not end early."""
        return [stage.steps for stage in self.stages]

    @property
    def steps(self) -> int:
        """The optimiser steps of all stages together."""
        return sum(self.lengths)

    @model_validator(mode="after")
    def _all_processes_validate(self) -> TrainOptions:
        if self.shard and (alone := {MOMENTS, MATCHING}.intersection(self.terms())):
            raise ValueError(f"shard: not where {' and '.join(sorted(alone))} is trained, on vectors that are there")
        return self

    @model_validator(mode="after")
    def _bank_is_read(self) -> TrainOptions:
        if self.bank and CONTRASTIVE not in self.terms():
            raise ValueError(f"bank: no stage weighs {CONTRASTIVE}, which alone reads it")
        return self

    def record(self) -> dict[str, Any]:
        """Return plain values of all options that a resumed run must have as they were."""
        values = self.model_dump(mode="json", exclude=_CHANGEABLE)
        defaults = type(self).model_fields
        for name in _LATER:
            if values[name] == defaults[name].default:
                del values[name]
        for stage in values["stages"]:
            if stage["until"] is None:
                del stage["until"]
        return values

    def mean_share(self, step_of_stage: int, stage: Stage) -> float:
        """Return the share of the mean over negatives in `ranking` at a step of a stage, which falls from 1 to 0.

        >>> options, stage = TrainOptions(ranking_warmup=0.5), Stage(name="a", steps=8, weights={"ranking": 1.0})
        >>> [options.mean_share(step, stage) for step in (0, 1, 3, 4, 7)]
        [1.0, 0.75, 0.25, 0.0, 0.0]
        """
        steps = self.ranking_warmup * stage.steps
        return max(0.0, 1 - step_of_stage / steps) if steps else 0.0

    def stage_at(self, step: int, lengths: Sequence[int] | None = None) -> tuple[Stage, int]:
        """Return the stage of a step, counted from 0 over the whole run, and the step's number inside that stage.

        lengths: steps of each stage, where some ended early (`Stage.until`).

        >>> options = TrainOptions()
        >>> options.stage_at(0)[0].name, options.stage_at(1000)[0].name, options.stage_at(1000)[1]
        ('masked', 'joint', 0)
        """
        for stage, length in zip(self.stages, lengths or self.lengths, strict=True):
            if step < length:
                return stage, step
            step -= length
        raise IndexError(f"the run has {counted(self.steps, 'step')}")

    def terms(self) -> Iterable[str]:
        """Return every loss term that any stage weighs, once, in order."""
        return dict.fromkeys(name for stage in self.stages for name in stage.weights)
