"""Settings of the tests' whole training runs on moving shapes."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "configs" / "moving_shapes.yaml"
STAGES = (
    "[{name: masked, steps: 1, weights: {caption: 1.0, masked: 1.0}}, "
    "{name: joint, steps: 3, weights: {contrastive: 1.0}}]"
)
SMALL = (
    "data.train.count=16",
    "data.validation.count=8",
    "data.batch=8",
    f"train.stages={STAGES}",
    "train.validate_every=2",
    "train.precision=float32",
)
