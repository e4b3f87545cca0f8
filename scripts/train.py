"""Train a model: `accelerate launch scripts/train.py --config configs/moving_shapes.yaml --output runs/first`."""

from __future__ import annotations

from mmi_tvr.cli._console import run_alone
from mmi_tvr.cli.training import train

if __name__ == "__main__":
    run_alone(train)
