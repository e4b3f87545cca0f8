"""Make the model that `mmi-tvr evaluate moving_faces` takes where none is named: `make_faces_model.py`.

From nothing, in less than half an hour of two cores: a face encoder and towers of drawn people, CLIP-PAD on top of
them, and what its scores are worth. Run it again to go on after a stop.
"""

from __future__ import annotations

import argparse
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.markup import escape

from mmi_tvr import models
from mmi_tvr.cli._console import command, say
from mmi_tvr.errors import MmiTvrError
from mmi_tvr.experiments.pretrain import faces_model
from mmi_tvr.utils import array_cache, interruption
from mmi_tvr.utils.device import processors

SCRIPTS = Path(__file__).parent
CONFIG = SCRIPTS.parent / "configs" / "clip-pad-moving-faces.yaml"
_PARTS = {"encoder": faces_model.FACES, "towers": faces_model.CLIP}  # of the pretraining, and what each leaves
_PAUSE = 0.2  # seconds between two looks at what runs
_PRETRAINING = ("encoder.", "towers.")  # what its options begin with; others are of the training


def main() -> None:
    args = _arguments()
    folder = args.model or models.local_folder() / faces_model.NAME
    run = args.run or array_cache.folder() / "runs" / faces_model.NAME
    start = time.monotonic()
    for commands in _steps(run, args.set, args.cpu):
        for words in commands:
            say(escape(f"python {shlex.join(words)}"))
        run_step([[sys.executable, *words] for words in commands])
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


def _steps(run: Path, changes: Sequence[str], cpu: bool) -> Iterator[list[list[str]]]:
    """Yield the scripts to run, with their arguments: those of a step at once, one step after the other. What is
    finished is left out.

    Args:
        run: folder of the runs.
        changes: options that differ, `A.B=C`, of the pretraining or of the training.
        cpu: whether accelerators are left alone.
    """
    alone = ["--cpu"] if cpu else []
    training = run / "training"
    pretraining = [*alone, *_set([change for change in changes if change.startswith(_PRETRAINING)])]
    places = [f"model.checkpoint={run / faces_model.CLIP}", f"model.faces.weights={run / faces_model.FACES}"]
    others = [change for change in changes if not change.startswith(_PRETRAINING)]
    missing = [part for part, place in _PARTS.items() if not (run / place).exists()]
    if missing:
        yield [[str(SCRIPTS / "pretrain_faces.py"), str(run), "--only", part, *pretraining] for part in missing]
    if not (training / "model").is_dir():
        arguments = ["--config", str(CONFIG), "--output", str(training), "--resume", *alone]
        yield [[str(SCRIPTS / "train.py"), *arguments, *_set([*places, *others])]]
    law = ["--split", "val", "--lost", "2", "--lost-parts", "5", "--law", "--save"]
    yield [[str(SCRIPTS / "nothing_found.py"), "moving_faces", "--model", str(training / "model"), *law]]


def run_step(commands: Sequence[Sequence[str]]) -> None:
    """Run commands at once, to their ends, each with its share of the processors. Asked to stop, or where one fails,
    they are given the time to save what they have (`utils.interruption`).

    Raises:
        Interrupted: they were stopped.
        MmiTvrError: one failed, and has said why.
    """
    threads = str(max(1, processors() // len(commands)))
    environment = {**os.environ, **({"OMP_NUM_THREADS": threads} if len(commands) > 1 else {})}
    with ExitStack() as stack:
        processes = [stack.enter_context(subprocess.Popen(command, env=environment)) for command in commands]

        def pass_on(number: int, frame: object) -> None:
            for process in processes:
                process.send_signal(number)

        stack.enter_context(interruption.signal_handler(pass_on, signal.SIGTERM))
        stack.enter_context(interruption.stop_event(signal.SIGINT))  # Ctrl-C reaches all of them: they decide
        while None in (codes := [process.poll() for process in processes]) and not any(codes):
            time.sleep(_PAUSE)
        pass_on(signal.SIGTERM, None)  # where one has failed; who has ended gets none
        for process in processes:
            process.wait()
        failed = [(process.returncode, command) for process, command in zip(processes, commands, strict=True)]
    failed = sorted((one for one in failed if one[0]), key=lambda one: one[0] == interruption.EXIT_CODE)
    if failed and failed[0][0] == interruption.EXIT_CODE:
        raise interruption.Interrupted
    if failed:
        name, code = Path(failed[0][1][1]).name, failed[0][0]
        raise MmiTvrError(f"{name} stopped with exit code {code}; the same command again goes on")


def _set(changes: Sequence[str]) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


if __name__ == "__main__":
    with command():
        main()
