"""Make the package's own model from nothing: `make_bundle.py RUN`, which leaves a model folder in RUN/bundle.

Towers and language model, fine-tuning, the heads for moments and matching, the judge, and what scores are worth; then
it is measured, and a table says what is asked for and what is reached: exit code 1 where something is missed. Run it
again to go on after a stop.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.markup import escape

from mmi_tvr.cli._console import command, out, say
from mmi_tvr.encoders import hub
from mmi_tvr.experiments import steps
from mmi_tvr.experiments.pretrain import acceptance, bundle, bundle_steps
from mmi_tvr.experiments.pretrain.options import NAME

SCRIPTS = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the runs, and of the model (RUN/bundle)")
    parser.add_argument("--small", action="store_true", help="a few steps on a few videos: the chain, not the model")
    parser.add_argument("--processes", type=int, help="that train together; default: two, with an accelerator one")
    parser.add_argument("--cpu", action="store_true", help="leave accelerators alone")
    parser.add_argument("--install", action="store_true", help="put it into the package, if it holds what is asked for")
    parser.add_argument(
        "--on-towers", action="store_true", help="with --install: make the package's other models on its towers, too"
    )
    args = parser.parse_args()
    if args.processes is not None and args.processes < 1:
        parser.error("--processes is 1 or more")
    if args.small and args.install:
        parser.error("--small makes nothing that is worth to be installed")
    if args.on_towers and not args.install:
        parser.error("--on-towers goes with --install: the others stand on the towers that the package carries")
    plan = bundle_steps.plan(args.run, SCRIPTS, small=args.small, processes=args.processes, cpu=args.cpu)
    _run(args.run, plan)
    values = acceptance.read(args.run / acceptance.FILE)
    out.print("", *acceptance.table(values), sep="\n", markup=False)
    missed = acceptance.missed(values)
    if missed and not args.small:
        sys.exit(1)
    if args.install:
        bundle.install(args.run / bundle_steps.FOLDER, hub.BUNDLED / NAME)
        say(escape(f"{hub.BUNDLED / NAME}: installed"))
    if args.on_towers:
        _run(args.run, bundle_steps.plan_on_towers(args.run, SCRIPTS, cpu=args.cpu))


def _run(folder: Path, plan: list[steps.Step]) -> None:
    """Run the steps of a plan, and print what they took."""
    times = steps.run_steps(folder, plan, lambda line: say(escape(line)))
    out.print("", *bundle_steps.log(times), sep="\n", markup=False)


if __name__ == "__main__":
    with command():
        main()
