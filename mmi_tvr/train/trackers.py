"""Where a run's numbers are written. A tracker that is opened at a step forgets what was logged after it."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from ..errors import UsageError, one_line
from ..utils.files import naming, write_atomically
from ..utils.installation import require

_NEEDED = {
    "tensorboard": (("tensorboard", "train"), ("torch.utils.tensorboard", "train")),
    "wandb": (("wandb", "wandb"),),
}


class Tracker(Protocol):
    """Takes numbers by name."""

    def log(self, step: int, values: Mapping[str, float]) -> None: ...

    def close(self, *, failed: bool) -> None:
        """Write out what is left; failed: an error ended the run."""
        ...


def make(name: str, folder: Path, step: int) -> Tracker:
    """Return the tracker of this name, which writes below a run's folder and goes on after `step` (0: from nothing)."""
    trackers: dict[str, type[JsonLines] | type[TensorBoard] | type[WeightsAndBiases]] = {
        "jsonl": JsonLines,
        "tensorboard": TensorBoard,
        "wandb": WeightsAndBiases,
    }
    return trackers[name](folder, step)


def make_all(names: Iterable[str], folder: Path, step: int) -> list[Tracker]:
    """Return the trackers of these names (`make`); none stays open where one cannot be opened."""
    opened: list[Tracker] = []
    try:
        for name in names:
            opened.append(make(name, folder, step))
    except BaseException:
        for tracker in opened:
            tracker.close(failed=True)
        raise
    return opened


def check(names: Iterable[str]) -> None:
    """Raise MissingExtra where what a tracker needs is not installed. Nothing is opened."""
    for name in names:
        for module, extra in _NEEDED.get(name, ()):
            require(module, extra)


class JsonLines:
    """`metrics.jsonl`: one object a line, `step` first. A value that is no number is null."""

    def __init__(self, folder: Path, step: int = 0) -> None:
        path = folder / "metrics.jsonl"
        if path.exists():  # a killed run has logged steps that the resumed one makes again
            former = [line for line in path.read_text(encoding="utf-8").split("\n") if _step(line) <= step]
            write_atomically(path, "".join(f"{line}\n" for line in former).encode())
        self._file = path.open("a", encoding="utf-8")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        with naming(self._file.name):
            self._file.write(json.dumps({"step": step, **finite}) + "\n")
            self._file.flush()

    def close(self, *, failed: bool) -> None:
        self._file.close()


class TensorBoard:
    """Event files in `tensorboard/`."""

    def __init__(self, folder: Path, step: int = 0) -> None:
        check(["tensorboard"])
        writers = require("torch.utils.tensorboard", "train")
        self._writer: Any = writers.SummaryWriter(folder / "tensorboard", purge_step=step + 1)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self, *, failed: bool) -> None:
        self._writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases, in `wandb/`; `wandb.id` has its name there, so that a resumed run goes on in it.

    What it sends where is wandb's own setting: WANDB_MODE=offline keeps all of it here.
    It cannot forget: steps that a killed run logged and the resumed one makes again stand there twice.

    Raises:
        UsageError: wandb refuses, for example because nobody is logged in.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        wandb = require("wandb", "wandb")
        identity = folder / "wandb.id"
        if not (step and identity.exists()):
            write_atomically(identity, secrets.token_hex(6).encode())
        run_id = identity.read_text(encoding="ascii")
        try:
            self._run: Any = wandb.init(dir=folder, id=run_id, name=folder.resolve().name, resume="allow")
        except wandb.Error as error:
            raise UsageError(
                f"train.trackers: wandb: {one_line(error)} (WANDB_MODE=offline keeps all of it on this machine)"
            ) from error
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({"step": step, **values})

    def close(self, *, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


def _step(line: str) -> float:
    """Return the step of a line; a line that a kill cut short is after every step."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
