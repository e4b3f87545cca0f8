"""Train a model: `accelerate launch scripts/train.py --config configs/moving_shapes.yaml --output runs/first`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmi_tvr.cli._console import ProgressBars, command
from mmi_tvr.train import settings
from mmi_tvr.utils import array_cache


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="settings file with `data` and `train`")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="change one setting")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    parser.add_argument("--cpu", action="store_true", help="leave accelerators alone")
    args = parser.parse_args()
    wanted = settings.load(args.config, args.set)
    from mmi_tvr.train.run import run
    from mmi_tvr.utils import distributed

    with ProgressBars() as progress:
        outcome = run(
            wanted,
            args.output,
            cache=array_cache.folder() / "features",
            resume=args.resume,
            cpu=args.cpu,
            progress=progress,
        )
    if outcome.finished:
        best = f", best validation {outcome.best.value:.1f} at step {outcome.best.step}" if outcome.best else ""
        print(f"{outcome.step} steps{best}; try: mmi-tvr evaluate moving_shapes --model {args.output / 'model'}")
    else:
        print(f"stopped at step {outcome.step}; go on with --resume", file=sys.stderr)
    distributed.leave()


if __name__ == "__main__":
    with command():
        main()
