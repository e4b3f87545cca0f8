"""A model's ablation table on moving shapes: `ablate.py --config configs/moving_shapes.yaml --output runs/ablation`."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmi_tvr.cli._console import command, show_progress
from mmi_tvr.datasets.moving_shapes import CONTRASTS
from mmi_tvr.experiments import component_ablation
from mmi_tvr.utils import array_cache


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="training settings, the same for all variants")
    parser.add_argument("--output", type=Path, required=True, help="folder of all runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--variants", nargs="*", default=[], help="rows of the model's table; default: all")
    parser.add_argument("--limit", type=int, help="only the first so many test videos")
    parser.add_argument("--contrasts", nargs="*", default=CONTRASTS, help="kinds of contrast sets that are measured")
    parser.add_argument("--against", metavar="ROW", help="differences are to this row; default: the full model")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="change one setting for all")
    parser.add_argument("--cpu", action="store_true", help="leave accelerators alone")
    args = parser.parse_args()
    with show_progress() as progress:
        table = component_ablation.ablate(
            args.config,
            args.output,
            seeds=args.seeds,
            variants=args.variants,
            overrides=args.set,
            limit=args.limit,
            contrasts=args.contrasts,
            against=args.against,
            cache=array_cache.folder() / "features",
            cpu=args.cpu,
            progress=progress,
        )
    print(table)


if __name__ == "__main__":
    with command():
        main()
