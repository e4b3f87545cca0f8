"""Make the package's own model from nothing: `make_bundle.py RUN`, which leaves a model folder in RUN/bundle.

Towers and language model, fine-tuning, the heads for moments and matching, the judge, and what scores are worth; then
everything is measured, and a table says what was asked and what was reached. Run it again to go on after a stop.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.markup import escape

from mmi_tvr.cli._console import command, out, say
from mmi_tvr.experiments.pretrain import bundle_steps, steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the runs, and of the model (RUN/bundle)")
    parser.add_argument("--small", action="store_true", help="a few steps on a few videos: the chain, not the model")
    parser.add_argument("--processes", type=int, help="that train together; default: 2 of a processor, 1 of a GPU")
    parser.add_argument("--cpu", action="store_true", help="leave accelerators alone")
    args = parser.parse_args()
    plan = bundle_steps.plan(args.run, Path(__file__).parent, small=args.small, processes=args.processes, cpu=args.cpu)
    times = steps.run_steps(args.run, plan, lambda line: say(escape(line)))
    for line in bundle_steps.log(times):
        out.print(line, markup=False)


if __name__ == "__main__":
    with command():
        main()
