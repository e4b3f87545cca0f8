"""The training loop: one process, several, or several machines; stages; validation; checkpoints; resuming.

Start it alone, or with `accelerate launch` or `torchrun`: every process runs the same script, and accelerate says who
it is and which device is its own. Several machines need a run folder that all of them see.

A resumed run makes the numbers that the uninterrupted one would have made, bit for bit where the device's arithmetic
is repeatable, as long as the data follow the rule of `protocol.Batches`.
"""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import plugins
from ..errors import MetricsError, MmiTvrError, UsageError
from ..nn.losses import Temperature
from ..utils import distributed, files
from ..utils.hashing import digest
from . import checkpoint, optimizer, rng, schedule, trackers
from .objective import Objective, Pushed
from .options import TrainOptions
from .protocol import Batch, Batches

# Options that change no number of the training, so that a resumed run may have others.
_FREE = {"log_every", "save_every", "keep", "trackers"}


@dataclass(frozen=True, slots=True)
class Best:
    """The best validation so far: `value` (larger is better), and the step whose checkpoint it is."""

    step: int
    value: float


@dataclass(frozen=True, slots=True)
class Progress:
    """After a step: `step` of `steps`, the stage's name, and the step's numbers (see `Trainer`)."""

    step: int
    steps: int
    stage: str
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: at `step`; `finished`, or stopped early; the newest checkpoint, and the best one's record."""

    step: int
    finished: bool
    checkpoint: Path | None
    best: Best | None


class Trainer:
    """Trains a model below `folder`, which afterwards holds checkpoints/, best.json and the trackers' files.

    model: a `protocol.Trainable`, on any device; it is moved. data: a `protocol.Batches`.
    validate: called in every process with the model in eval mode, without gradients; process 0's number counts, larger
    is better (SumR on a validation split that is never the test split). Its random draws leave no trace.
    progress: called in process 0 after every step. config: the whole run's resolved settings, plain values, kept in
    every checkpoint. resume: go on from the newest checkpoint in `folder`, or start where there is none.
    cpu: leave accelerators alone.

    Numbers, to progress and trackers: `loss` and `loss/TERM` (mean over processes and accumulated batches), `norm` of
    the gradient before clipping, `scale` (1 / temperature), `lr/GROUP`, `seconds` of the step, `validation`.
    Raises UsageError where options, model, folder or checkpoint do not fit together.
    """

    def __init__(
        self,
        model: Any,
        data: Batches,
        options: TrainOptions,
        folder: Path,
        *,
        validate: Callable[[Any], float] | None = None,
        progress: Callable[[Progress], None] | None = None,
        config: Mapping[str, Any] | None = None,
        resume: bool = False,
        cpu: bool = False,
    ) -> None:
        self._device = plugins.require("accelerate", "train").PartialState(cpu=cpu).device
        self._options, self._folder, self._data = options, Path(folder), data
        self._validate, self._progress = validate, progress
        self._model = model.to(self._device)
        self._temperature = Temperature(options.temperature).to(self._device)
        self._temperatures = [each for each in model.modules() if isinstance(each, Temperature)] + [self._temperature]
        groups = {name: list(parameters) for name, parameters in model.parameter_groups().items()}
        optimizer.check_groups(model, groups)
        groups["temperature"] = list(self._temperature.parameters())
        self._optimizers = optimizer.build(groups, options)
        self._parameters = [parameter for group in groups.values() for parameter in group]
        self._names: dict[Tensor, str] = {parameter: f"model.{name}" for name, parameter in model.named_parameters()}
        self._names[self._temperature.log_scale] = "temperature.log_scale"
        self._objective = Objective(
            model, self._temperature, chunk=options.chunk, bf16=options.precision == "bf16", device=self._device
        )
        settings = {"train": options.model_dump(mode="json", exclude=_FREE), "config": dict(config or {})}
        self._settings = json.loads(json.dumps({**settings, "processes": distributed.world()}))
        self._step, self._epoch, self._taken = 0, 0, 0
        self._best: Best | None = None
        self._newest = self._start(resume)

    @property
    def step(self) -> int:
        """Steps made so far, resumed ones included."""
        return self._step

    def run(self, until: int | None = None) -> Outcome:
        """Train to the end, or to step `until`, or until SIGTERM; a checkpoint is there when this returns.

        A loss or gradient that is not finite raises MmiTvrError with the pairs' ids; that step changes nothing.
        """
        last = min(until or self._options.steps, self._options.steps)
        batches = self._batches()
        logs = self._trackers()
        try:
            with _asked_to_stop() as asked:
                stop = False
                while self._step < last and not stop:
                    start = time.perf_counter()
                    stage, values, stop = self._advance(batches, asked)
                    values["seconds"] = time.perf_counter() - start
                    self._after(stage, values, logs, save=stop or self._step == last)
        finally:
            for log in logs:
                log.close()
        return Outcome(self._step, self._step == self._options.steps, self._newest, self._best)

    def _advance(self, batches: Iterator[Batch], asked: threading.Event) -> tuple[str, dict[str, float], bool]:
        """One optimiser step. Returns the stage's name, the step's numbers, and whether any process is to stop."""
        stage, at = self._options.at(self._step)
        self._model.train()
        optimizer.set_rates(
            self._optimizers, schedule.factor(at, stage.steps, self._options.warmup, self._options.floor)
        )
        for each in self._optimizers:
            each.zero_grad(set_to_none=True)
        share = 1 / self._options.accumulate
        pushed = []
        for _ in range(self._options.accumulate):
            batch = next(batches)
            pushed.append((batch["ids"], self._objective.backward(self._moved(batch), stage.weights, share)))
        means, stop = self._everywhere([done.terms for _, done in pushed], asked)
        distributed.average_gradients(self._parameters)
        norm = float(nn.utils.clip_grad_norm_(self._parameters, self._options.clip))
        if not all(map(math.isfinite, (*means.values(), norm))):
            raise self._not_finite({**means, "gradient": norm}, pushed)
        for each in self._optimizers:
            each.step()
        for temperature in self._temperatures:
            temperature.clamp_()
        self._step += 1
        loss = sum(weight * means[name] for name, weight in stage.weights.items())
        values = {"loss": loss, **{f"loss/{name}": mean for name, mean in means.items()}, "norm": norm}
        rates = {f"lr/{name}": rate for name, rate in optimizer.rates(self._optimizers).items()}
        return stage.name, {**values, "scale": float(self._temperature().detach()), **rates}, stop

    def _everywhere(
        self, terms: Sequence[Mapping[str, Tensor]], asked: threading.Event
    ) -> tuple[dict[str, float], bool]:
        """Every term's mean over batches and processes, and whether any process was asked to stop. One message."""
        own = [torch.stack([each[name].float() for each in terms]).mean() / distributed.world() for name in terms[0]]
        flag = torch.tensor(float(asked.is_set()), device=self._device)
        *means, stop = distributed.total(torch.stack([*own, flag])).tolist()
        return dict(zip(terms[0], means, strict=True)), stop > 0

    def _after(self, stage: str, values: dict[str, float], logs: Sequence[trackers.Tracker], save: bool) -> None:
        """Validation, checkpoint and reports, where they are due."""
        improved = False
        if self._validate and self._due(self._options.validate_every):
            values["validation"], improved = self._validated()
        if save or improved or self._due(self._options.save_every):
            self._save()
        if self._due(self._options.log_every) or "validation" in values:
            for log in logs:
                log.log(self._step, values)
        if self._progress and distributed.rank() == 0:
            self._progress(Progress(self._step, self._options.steps, stage, values))

    def _due(self, every: int) -> bool:
        return self._step % every == 0 or self._step == self._options.steps

    def _validated(self) -> tuple[float, bool]:
        """The validation's number, and whether it is the best so far of the last stage: before that, a model has not
        been trained on all that is asked of it."""
        assert self._validate is not None
        self._model.eval()
        with rng.kept(), torch.no_grad():
            value = distributed.objects(float(self._validate(self._model)))[0]
        if math.isnan(value):
            raise MetricsError(f"step {self._step}: validation gave NaN, by which no checkpoint can be chosen")
        last = self._step > self._options.steps - self._options.stages[-1].steps
        improved = last and (self._best is None or value > self._best.value)
        if improved:
            self._best = Best(self._step, value)
        return value, improved

    def _not_finite(self, values: Mapping[str, float], pushed: Sequence[tuple[Sequence[str], Pushed]]) -> MmiTvrError:
        """The error that names the pairs whose own vectors are not finite, or else every pair of the step."""
        whole = [str(each) for ids, _ in pushed for each in ids]
        guilty = []
        for ids, done in pushed:
            if done.finite is not None:
                guilty += [str(each) for each, finite in zip(ids, done.finite.tolist(), strict=True) if not finite]
        everyone = distributed.objects((guilty, whole))
        named = [each for found, _ in everyone for each in found] or [each for _, found in everyone for each in found]
        wrong = ", ".join(f"{name} {value}" for name, value in values.items() if not math.isfinite(value))
        return MmiTvrError(
            f"step {self._step + 1}: not finite: {wrong}; look at these pairs, or lower the learning rates "
            f"(the newest checkpoint is {self._newest or 'none'}): {', '.join(named)}"
        )

    def _batches(self) -> Iterator[Batch]:
        """Batches without end, from where the run stands; the place in the data is kept up to date."""
        while True:
            for batch in self._data.epoch(self._epoch, skip=self._taken):
                self._taken += 1
                yield batch
            if not self._taken:
                raise UsageError("the training data hold no batch; is the batch larger than the split?")
            self._epoch, self._taken = self._epoch + 1, 0

    def _moved(self, batch: Batch) -> Batch:
        moved: Batch = plugins.require("accelerate.utils", "train").send_to_device(batch, self._device)
        return moved

    def _trackers(self) -> list[trackers.Tracker]:
        if distributed.rank():
            return []
        return [trackers.make(name, self._folder, self._step) for name in self._options.trackers]

    @property
    def _root(self) -> Path:
        return self._folder / "checkpoints"

    def _save(self) -> None:
        """A checkpoint of this moment, and best.json; older ones go. Returns, in every process, when it is there."""
        states = distributed.objects(rng.capture())
        if distributed.rank() == 0:
            loop = {f"optimizer/{k}": t for k, t in checkpoint.optimizer_tensors(self._optimizers, self._names).items()}
            loop["temperature"] = self._temperature.log_scale
            for process, state in enumerate(states):
                loop |= {f"rng/{process}/{name}": torch.from_numpy(array) for name, array in state.items()}
            best = asdict(self._best) if self._best else None
            checkpoint.save(
                self._root,
                self._step,
                checkpoint.trained(self._model),
                loop,
                {
                    "finished": self._step == self._options.steps,
                    "epoch": self._epoch,
                    "taken": self._taken,
                    "best": best,
                    "settings": self._settings,
                    "fingerprint": digest(self._settings),
                },
            )
            if best:
                record = {**best, "checkpoint": f"checkpoints/step-{best['step']:08d}"}
                files.write_atomically(self._folder / "best.json", json.dumps(record).encode())
            checkpoint.prune(self._root, self._options.keep, best["step"] if best else None)
        self._newest = Path(distributed.objects(str(self._root / f"step-{self._step:08d}"))[0])

    def _start(self, resume: bool) -> Path | None:
        """Begin from nothing, or where the newest checkpoint stands; returns that one's folder."""
        found = distributed.objects([str(path) for path in checkpoint.saved(self._root)])[0]
        if found and not resume:
            raise UsageError(f"{self._folder} holds a run's checkpoints: resume it, or take another folder")
        if found:
            self._resume(Path(found[-1]))
            return Path(found[-1])
        if distributed.rank() == 0:
            self._folder.mkdir(parents=True, exist_ok=True)
        distributed.copy_from_first(checkpoint.trained(self._model).values())
        rng.seed(self._options.seed * 65_536 + distributed.rank())
        return None

    def _resume(self, folder: Path) -> None:
        state = checkpoint.read_state(folder)
        if changed := checkpoint.differences(state["settings"], self._settings):
            raise UsageError(f"{folder}: made with other settings, so it cannot be resumed: {'; '.join(changed)}")
        checkpoint.load_trained(self._model, folder)
        loop = checkpoint.read_tensors(folder, checkpoint.LOOP)
        checkpoint.load_optimizers(self._optimizers, self._names, _below(loop, "optimizer/"))
        with torch.no_grad():
            self._temperature.log_scale.copy_(loop["temperature"])
        rng.restore({name: tensor.numpy() for name, tensor in _below(loop, f"rng/{distributed.rank()}/").items()})
        self._step, self._epoch, self._taken = state["step"], state["epoch"], state["taken"]
        self._best = Best(**state["best"]) if state["best"] else None


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """An event that SIGTERM sets, instead of ending the process. Only a main thread can listen; elsewhere it stays."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)
