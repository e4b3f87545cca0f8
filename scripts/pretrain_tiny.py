"""Make the base of the bundled model from nothing: `pretrain_tiny.py FOLDER`. Run it again to go on after a stop.

Under `torchrun --nproc_per_node 2` two processes share every batch, and the making of the features.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mmi_tvr import config
from mmi_tvr.cli._console import command, show_progress
from mmi_tvr.experiments.pretrain.options import PretrainOptions
from mmi_tvr.utils import array_cache


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where runs and the checkpoint `base` go")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="change one option")
    parser.add_argument("--cpu", action="store_true", help="leave accelerators alone")
    args = parser.parse_args()
    options = config.read(PretrainOptions, None, args.set)
    from mmi_tvr.experiments.pretrain.run import pretrain
    from mmi_tvr.utils import distributed

    with show_progress() as progress:
        measures = pretrain(
            args.folder, options, cache=array_cache.folder() / "features", progress=progress, cpu=args.cpu
        )
    if distributed.rank() == 0:
        print(json.dumps(measures))
    distributed.leave_group()


if __name__ == "__main__":
    with command():
        main()
