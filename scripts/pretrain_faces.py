"""Make what queries with drawn faces need: `pretrain_faces.py FOLDER`. Run it again to go on after a stop.

FOLDER/clip is a checkpoint of the CLIP layout whose towers have seen drawn people, described and never named;
FOLDER/faces.safetensors holds the networks of `people/faces/drawn`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmi_tvr import config
from mmi_tvr.cli._console import command, show_progress
from mmi_tvr.experiments.pretrain.options import FacesOptions
from mmi_tvr.utils.progress import Progress

if TYPE_CHECKING:
    from mmi_tvr.train.loop import StepReport

_PARTS = ("encoder", "towers")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where runs, the checkpoint `clip` and `faces.safetensors` go")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="change one option")
    parser.add_argument("--only", choices=_PARTS, help="one of the two, so that both can be made at once")
    parser.add_argument("--cpu", action="store_true", help="leave accelerators alone")
    args = parser.parse_args()
    options = config.read(FacesOptions, None, args.set)
    from mmi_tvr.experiments.pretrain.face_encoder import pretrain_encoder
    from mmi_tvr.experiments.pretrain.face_run import pretrain_towers

    parts = (args.only,) if args.only else _PARTS
    measured: dict[str, Any] = {}
    with show_progress() as progress:
        if "encoder" in parts:
            on_step = _shown(progress, "face encoder", options.encoder.steps)
            people = pretrain_encoder(args.folder, options.encoder, on_step=on_step, cpu=args.cpu)
            measured["people"] = {name: figures._asdict() for name, figures in people.items()}
        if "towers" in parts:
            on_step = _shown(progress, "towers", options.towers.steps)
            measured["towers"] = pretrain_towers(args.folder, options.towers, on_step=on_step, cpu=args.cpu)
    print(json.dumps(measured))


def _shown(progress: Progress, title: str, steps: int) -> Callable[[StepReport], None]:
    """Return what shows each step of a stage; a resumed one begins at the step where it was stopped."""
    progress.begin(title, steps)
    shown = 0

    def on_step(report: StepReport) -> None:
        nonlocal shown
        progress.advance(report.step - shown)
        shown = report.step

    return on_step


if __name__ == "__main__":
    with command():
        main()
