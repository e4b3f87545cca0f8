"""Make the model that `mmi-tvr evaluate moving_faces` takes where none is named: `make_faces_model.py`.

From nothing, in less than half an hour of two cores: a face encoder and towers of drawn people, CLIP-PAD on top of
them, and what its scores are worth. Run it again to go on after a stop.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.markup import escape

from mmi_tvr import models
from mmi_tvr.cli._console import command, say
from mmi_tvr.experiments import steps
from mmi_tvr.experiments.pretrain import faces_model
from mmi_tvr.experiments.pretrain.bundle_steps import has_option
from mmi_tvr.experiments.steps import ScriptRun, Step, set_options
from mmi_tvr.utils import array_cache

SCRIPTS = Path(__file__).parent
CONFIG = SCRIPTS.parent / "configs" / "clip-pad-moving-faces.yaml"
_PARTS = {"encoder": faces_model.FACES, "towers": faces_model.CLIP}  # of the pretraining, and what each leaves
_SECONDS = {"towers": 1000.0, "training": 600.0, "law": 100.0}  # on two cores
_PRETRAINING = ("encoder.", "towers.")  # what its options begin with; others are of the training


def main() -> None:
    args = _arguments()
    folder = args.model or models.local_folder() / faces_model.NAME
    run = args.run or array_cache.folder() / "runs" / faces_model.NAME
    times = steps.run_steps(run, _steps(run, args.set, args.cpu), lambda line: say(escape(line)))
    faces_model.install(run, run / "training" / "model", folder)
    minutes = sum(spent.clock for spent in times.values()) / 60
    seconds = sum(spent.processors for spent in times.values())
    time_taken = f"{minutes:.0f} minutes ({seconds:,.0f} seconds of processors)"
    say(escape(f"{folder}: ready after {time_taken}; {run} can be deleted"))
    print(folder)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="folder of the runs; default: in the cache folder ($MMI_TVR_CACHE)")
    parser.add_argument("--model", type=Path, help="folder of the model; default: where `evaluate` looks for it")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="change one option of a step")
    parser.add_argument("--cpu", action="store_true", help="leave accelerators alone")
    return parser.parse_args()


def _steps(run: Path, changes: Sequence[str], cpu: bool) -> list[Step]:
    """Return the scripts to run, with their arguments.

    Args:
        run: folder of the runs.
        changes: options that differ, `A.B=C`, of the pretraining or of the training.
        cpu: whether accelerators are left alone.
    """
    alone = ["--cpu"] if cpu else []
    training = run / "training"
    pretraining = [*alone, *set_options(change for change in changes if change.startswith(_PRETRAINING))]
    others = [change for change in changes if not change.startswith(_PRETRAINING)]
    places = [f"model.checkpoint={run / faces_model.CLIP}", f"model.faces.weights={run / faces_model.FACES}"]
    trained = [str(SCRIPTS / "train.py"), "--config", str(CONFIG), "--output", str(training), "--resume", *alone]
    law = ["--split", "val", "--lost", "2", "--lost-parts", "5", "--law", "--save"]
    score_law = [str(SCRIPTS / "nothing_found.py"), "moving_faces", "--model", str(training / "model"), *law]
    return [
        Step(
            "towers and face encoder",
            [
                ScriptRun(
                    [str(SCRIPTS / "pretrain_faces.py"), str(run), "--only", part, *pretraining], (run / place).exists
                )
                for part, place in _PARTS.items()
            ],
            _SECONDS["towers"],
        ),
        Step(
            "training",
            [ScriptRun([*trained, *set_options([*places, *others])], (training / "model").is_dir)],
            _SECONDS["training"],
        ),
        Step(
            "score law",
            [ScriptRun(score_law, partial(has_option, training / "model", "score_law"))],
            _SECONDS["law"],
        ),
    ]


if __name__ == "__main__":
    with command():
        main()
