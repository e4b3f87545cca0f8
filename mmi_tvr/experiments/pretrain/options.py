"""Options of the pretraining: how long each stage takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from ...plugins import BaseOptions
from ...train.options import Stage, TrainOptions

NAME = "moving-shapes"  # of the package's own model


class StageOptions(BaseOptions):
    """One stage."""

    steps: int = Field(ge=1, description="optimiser steps")
    batch: int = Field(ge=2, description="videos a step")
    rate: float = Field(gt=0, description="peak learning rate")


class PretrainOptions(BaseOptions):
    """The defaults are what scripts/make_bundle.sh takes; a bundled copy's card says where it was made otherwise."""

    seed: int = Field(0, ge=0, description="of weights and data")
    videos: int = Field(24_000, ge=8, description="videos of the train split")
    frames: StageOptions = Field(
        StageOptions(steps=2400, batch=256, rate=2e-3), description="towers on single pictures"
    )
    clips: StageOptions = Field(StageOptions(steps=1700, batch=256, rate=2e-3), description="text tower on events")
    language: StageOptions = Field(StageOptions(steps=6400, batch=64, rate=2e-3), description="captions and answers")
    places: bool = Field(
        True, description="the towers are asked where things stand, how large they are and how far turned"
    )
    precision: Literal["float32", "bf16", "auto"] = Field("auto", description="as of `train.precision`")


class JudgeTrainingOptions(BaseOptions):
    """How the judge's adapter of the bundled model is trained."""

    seed: int = Field(0, ge=0, description="of the adapter and of the pairs")
    videos: int = Field(4_000, ge=8, description="videos of the train split")
    steps: int = Field(900, ge=1, description="optimiser steps")
    batch: int = Field(32, ge=2, description="pairs a step")
    rate: float = Field(1.5e-3, gt=0, description="peak learning rate")
    precision: Literal["float32", "bf16", "auto"] = Field("auto", description="as of PretrainOptions")


class FaceStageOptions(BaseOptions):
    """How a part of what drawn faces need is trained."""

    seed: int = Field(0, ge=0, description="of weights and data")
    steps: int = Field(ge=1, description="optimiser steps")
    batch: int = Field(128, ge=2, description="pictures a step")
    rate: float = Field(2e-3, gt=0, description="peak learning rate")
    precision: Literal["float32", "bf16", "auto"] = Field("auto", description="as of PretrainOptions")

    def train_options(
        self, terms: Sequence[str], groups: Sequence[str], *, weight_decay: float, validations: int
    ) -> TrainOptions:
        """Return the settings of a run of one stage, in which all terms weigh the same.

        Args:
            terms: of the loss.
            groups: of parameters, all with one learning rate; layers go by Muon.
            weight_decay: of all parameters.
            validations: how many there are, and checkpoints, evenly spread.
        """
        every = max(1, self.steps // validations)
        return TrainOptions(
            stages=(Stage(name="faces", steps=self.steps, weights=dict.fromkeys(terms, 1.0)),),
            learning_rates=dict.fromkeys((*groups, "temperature"), self.rate),
            muon=tuple(group for group in groups if group == "layers"),
            weight_decay=weight_decay,
            warmup=0.05,
            precision=self.precision,
            seed=self.seed,
            validate_every=every,
            save_every=every,
            log_every=10,
            keep=1,
        )


class FacesOptions(BaseOptions):
    """All that `scripts/pretrain_faces.py` trains."""

    towers: FaceStageOptions = Field(FaceStageOptions(steps=1500), description="image and text tower")
    encoder: FaceStageOptions = Field(FaceStageOptions(steps=700), description="detector and descriptors of faces")
