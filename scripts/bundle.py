"""Make the package's own model from a base and a trained run: `bundle.py RUN/base RUN/model`.

`bundle.py --moments RUN/model` puts the moment head of a run into it, `bundle.py --matching RUN/model` the matching
head, `bundle.py --judge RUN` the adapter of a judge. `bundle.py --on-towers RUN/model --output
mmi_tvr/_bundled/lat-shapes` makes another model of the package from a run on the bundled towers.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmi_tvr.cli._console import command, show_progress
from mmi_tvr.encoders import hub
from mmi_tvr.experiments.pretrain.options import NAME


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path, nargs="?", help="the checkpoint that pretrain_tiny.py made")
    parser.add_argument("trained", type=Path, nargs="?", help="the model folder that train.py made from it")
    parser.add_argument("--moments", type=Path, help="a model folder whose moment head alone is taken over")
    parser.add_argument("--matching", type=Path, help="a model folder whose matching head alone is taken over")
    parser.add_argument("--judge", type=Path, help="a run of train_judge.py whose adapter is taken over")
    parser.add_argument("--on-towers", type=Path, help="a model folder that was trained on the bundled towers")
    parser.add_argument("--output", type=Path, default=hub.BUNDLED / NAME, help="another folder than the package's")
    parser.add_argument("--limit", type=int, help="measure only the first so many videos of each split")
    parser.add_argument("--note", default="", help="a sentence for the model card about how this copy was made")
    args = parser.parse_args()
    choices = (args.trained, args.moments, args.matching, args.judge, args.on_towers)
    if sum(choice is not None for choice in choices) != 1:
        parser.error("name a base and a trained run, or a run with --moments, --matching, --judge or --on-towers")
    if args.on_towers and args.output == hub.BUNDLED / NAME:
        parser.error("--on-towers: name another --output; the towers lie in this one")
    from mmi_tvr.evaluation import nothing_found
    from mmi_tvr.experiments.pretrain.bundle import bundle, megabytes
    from mmi_tvr.experiments.pretrain.judge_bundle import bundle_judge
    from mmi_tvr.experiments.pretrain.matching import bundle_matching
    from mmi_tvr.experiments.pretrain.moments import bundle_moments
    from mmi_tvr.experiments.pretrain.on_towers import bundle_on_towers
    from mmi_tvr.scoring.decision import MATCHES

    with show_progress() as progress:
        if args.moments is not None:
            report = bundle_moments(args.moments, args.output, limit=args.limit, progress=progress)
            print("\n".join(report.lines()))
            return
        if args.matching is not None:
            for kind, trials in bundle_matching(
                args.matching, args.output, limit=args.limit, progress=progress
            ).items():
                print("", kind, "", *nothing_found.table(trials, MATCHES), sep="\n")
            return
        if args.judge is not None:
            print("\n".join(bundle_judge(args.judge, args.output, limit=args.limit, progress=progress)))
            return
        if args.on_towers is not None:
            difference = bundle_on_towers(
                args.on_towers, args.output, limit=args.limit, note=args.note, progress=progress
            )
            print(f"{args.output} ({megabytes(args.output):.1f} MB; vectors differ by {difference:.1e} at most)")
            return
        size = bundle(args.base, args.trained, args.output, limit=args.limit, note=args.note, progress=progress)
    print(f"{args.output} ({size / 1e6:.1f} MB)")


if __name__ == "__main__":
    with command():
        main()
