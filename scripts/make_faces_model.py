"""Make the model that `mmi-tvr evaluate moving_faces` takes where none is named: `make_faces_model.py`.

From nothing, in less than half an hour of one core: a face encoder and towers of drawn people, CLIP-PAD on top of them,
and what its scores are worth. Run it again to go on after a stop.
"""

from __future__ import annotations

import argparse
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.markup import escape

from mmi_tvr import models
from mmi_tvr.cli._console import command, say
from mmi_tvr.errors import MmiTvrError
from mmi_tvr.experiments.pretrain import faces_model
from mmi_tvr.utils import array_cache, interruption

SCRIPTS = Path(__file__).parent
CONFIG = SCRIPTS.parent / "configs" / "clip-pad-moving-faces.yaml"
_PRETRAINING = ("encoder.", "towers.")  # what its options begin with; others are of the training


def main() -> None:
    args = _arguments()
    folder = args.model or models.local_folder() / faces_model.NAME
    run = args.run or array_cache.folder() / "runs" / faces_model.NAME
    start = time.monotonic()
    for words in _steps(run, args.set, args.cpu):
        say(escape(f"python {shlex.join(words)}"))
        run_step([sys.executable, *words])
    faces_model.install(run, run / "training" / "model", folder)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    minutes, seconds = (time.monotonic() - start) / 60, used.ru_utime + used.ru_stime
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


def _steps(run: Path, changes: Sequence[str], cpu: bool) -> Iterator[list[str]]:
    """Yield the scripts to run, one after the other, with their arguments; what is finished is left out.

    Args:
        run: folder of the runs.
        changes: options that differ, `A.B=C`, of the pretraining or of the training.
        cpu: whether accelerators are left alone.
    """
    alone = ["--cpu"] if cpu else []
    training = run / "training"
    pretraining = [change for change in changes if change.startswith(_PRETRAINING)]
    places = [f"model.checkpoint={run / 'clip'}", f"model.faces.weights={run / 'faces.safetensors'}"]
    others = [change for change in changes if not change.startswith(_PRETRAINING)]
    if not ((run / "clip").is_dir() and (run / "faces.safetensors").is_file()):
        yield [str(SCRIPTS / "pretrain_faces.py"), str(run), *alone, *_set(pretraining)]
    if not (training / "model").is_dir():
        arguments = ["--config", str(CONFIG), "--output", str(training), "--resume", *alone]
        yield [str(SCRIPTS / "train.py"), *arguments, *_set([*places, *others])]
    law = ["--split", "val", "--lost", "2", "--lost-parts", "5", "--law", "--save"]
    yield [str(SCRIPTS / "nothing_found.py"), "moving_faces", "--model", str(training / "model"), *law]


def run_step(command: Sequence[str]) -> None:
    """Run a command to its end. Asked to stop, it is given the time to save what it has (`utils.interruption`).

    Raises:
        Interrupted: it was stopped.
        MmiTvrError: it failed, and has said why.
    """
    with subprocess.Popen(command) as process:

        def pass_on(number: int, frame: object) -> None:
            process.send_signal(number)

        with interruption.signal_handler(pass_on, signal.SIGTERM), interruption.stop_event(signal.SIGINT):
            code = process.wait()  # Ctrl-C reaches both: the command decides
    if code == interruption.EXIT_CODE:
        raise interruption.Interrupted
    if code:
        raise MmiTvrError(f"{Path(command[1]).name} stopped with exit code {code}; the same command again goes on")


def _set(changes: Sequence[str]) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


if __name__ == "__main__":
    with command():
        main()
