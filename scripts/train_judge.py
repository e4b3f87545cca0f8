"""Train the judge's adapter of a bundled model: `train_judge.py FOLDER`. Run it again to go on after a stop."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmi_tvr import config
from mmi_tvr.cli._console import command, show_progress
from mmi_tvr.experiments.pretrain.options import JudgeTrainingOptions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the run; then: bundle.py --judge FOLDER")
    parser.add_argument("--model", default="moving-shapes", help="a bundled model, or a model folder")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="change one option")
    parser.add_argument("--cpu", action="store_true", help="leave accelerators alone")
    args = parser.parse_args()
    options = config.read(JudgeTrainingOptions, None, args.set)
    from mmi_tvr.experiments.pretrain.judge import train_judge

    with show_progress() as progress:
        right = train_judge(args.model, args.folder, options, progress=progress, cpu=args.cpu)
    print(f"{args.folder}: {right:.1f} % of validation pairs are judged right")


if __name__ == "__main__":
    with command():
        main()
