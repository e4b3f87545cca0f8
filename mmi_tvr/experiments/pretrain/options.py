"""Options of the pretraining: how long each stage takes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ...plugins import BaseOptions


class StageOptions(BaseOptions):
    """One stage."""

    steps: int = Field(ge=1, description="optimiser steps")
    batch: int = Field(ge=2, description="videos a step")
    rate: float = Field(gt=0, description="peak learning rate")


class PretrainOptions(BaseOptions):
    """The defaults are the stages of the bundled model; its card says where that copy was made otherwise."""

    seed: int = Field(0, ge=0, description="of weights and data")
    videos: int = Field(24_000, ge=8, description="videos of the train split")
    frames: StageOptions = Field(
        StageOptions(steps=3300, batch=256, rate=1e-3), description="towers on single pictures"
    )
    clips: StageOptions = Field(StageOptions(steps=2000, batch=256, rate=2e-3), description="text tower on events")
    language: StageOptions = Field(StageOptions(steps=5400, batch=64, rate=2e-3), description="captions and answers")
    precision: Literal["float32", "bf16"] = Field(
        "bf16", description="bf16 is three times as fast where the processor multiplies it in hardware"
    )


class JudgeTrainingOptions(BaseOptions):
    """How the judge's adapter of the bundled model is trained."""

    seed: int = Field(0, ge=0, description="of the adapter and of the pairs")
    videos: int = Field(4_000, ge=8, description="videos of the train split")
    steps: int = Field(80, ge=1, description="optimiser steps")
    batch: int = Field(32, ge=2, description="pairs a step")
    rate: float = Field(1.5e-3, gt=0, description="peak learning rate")
    precision: Literal["float32", "bf16"] = Field("bf16", description="as of PretrainOptions")


class FaceTowerOptions(BaseOptions):
    """How the towers that have seen faces are trained."""

    seed: int = Field(0, ge=0, description="of weights and data")
    steps: int = Field(1500, ge=1, description="optimiser steps")
    batch: int = Field(128, ge=2, description="pictures a step")
    rate: float = Field(2e-3, gt=0, description="peak learning rate")
    precision: Literal["float32", "bf16"] = Field("bf16", description="as of PretrainOptions")


class FaceEncoderOptions(BaseOptions):
    """How the encoder of drawn faces is trained."""

    seed: int = Field(0, ge=0, description="of weights and data")
    steps: int = Field(700, ge=1, description="optimiser steps")
    batch: int = Field(128, ge=2, description="pictures a step")
    rate: float = Field(2e-3, gt=0, description="peak learning rate")
    precision: Literal["float32", "bf16"] = Field("bf16", description="as of PretrainOptions")


class FacesOptions(BaseOptions):
    """All that `scripts/pretrain_faces.py` trains."""

    towers: FaceTowerOptions = Field(FaceTowerOptions(), description="image and text tower")
    encoder: FaceEncoderOptions = Field(FaceEncoderOptions(), description="detector and descriptors of faces")
