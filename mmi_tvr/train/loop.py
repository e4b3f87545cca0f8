"""The training loop: one process, several, or several machines; stages; validation; checkpoints; resuming.

Start it alone, or with `accelerate launch` or `torchrun`: every process runs the same script, and accelerate says which
device each of them has. Several machines need a run folder that all of them see.

A resumed run makes the numbers that the uninterrupted one would have made, bit for bit where the device's arithmetic
is repeatable, as long as the data follow the rule of `protocol.EpochDataLoader`. What Ctrl-C and SIGTERM do stands in
`utils.interruption`.
"""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import MetricsError, MmiTvrError, UsageError
from ..nn.losses import Temperature
from ..utils import distributed, files, interruption
from ..utils.device import multiplies_bfloat16
from ..utils.hashing import digest
from ..utils.installation import require
from ..utils.memory import reused_memory
from . import checkpoint, optimizer, rng, schedule, trackers
from .bank import Bank
from .objective import BatchLoss, Objective
from .options import Stage, TrainOptions
from .protocol import Batch, EpochDataLoader
from .sharding import shard_frozen_layers

_SEEDS_PER_RUN = 65_536  # of processes: two runs whose seeds differ share no process's seed


@dataclass(frozen=True, slots=True)
class BestValidation:
    """The best validation so far: `value` (larger is better), and the step whose checkpoint it is."""

    step: int
    value: float


@dataclass(frozen=True, slots=True)
class StepReport:
    """A finished step: number `step` of `steps`, the stage's name, and the step's numbers (see `Trainer`)."""

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
    best: BestValidation | None


class Trainer:
    """Trains a model below a folder, which afterwards holds checkpoints/, best.json and the trackers' files.

    Args:
        model: a `protocol.Trainable`, on any device; it is moved.
        data: the training batches.
        options: stages, learning rates, how often something is saved.
        folder: of the run.
        validate: called in every process with the model in eval mode, without gradients; process 0's number counts,
            larger is better (SumR on a validation split that is never the test split). Its random draws leave no trace.
        on_step: called in process 0 after every step.
        describes: whether the captions of one sample are true of another one's video, by their numbers: the term
            `ranking` does not take such a pair for a negative. None: of none.
        config: the whole run's resolved settings, plain values, kept in every checkpoint.
        resume: go on from the newest checkpoint in `folder`, or start where there is none.
        cpu: leave accelerators alone.

    Numbers, to `on_step` and trackers: `loss` and `loss/TERM` (mean over processes and accumulated batches), `norm` of
    the gradient before clipping, `scale` (1 / temperature), `lr/GROUP`, `seconds` of the step, `validation`.

    Raises:
        UsageError: options, model, folder or checkpoint do not fit together.
    """

    def __init__(
        self,
        model: Any,
        data: EpochDataLoader,
        options: TrainOptions,
        folder: Path,
        *,
        validate: Callable[[Any], float] | None = None,
        on_step: Callable[[StepReport], None] | None = None,
        describes: Callable[[int, int], bool] | None = None,
        config: Mapping[str, Any] | None = None,
        resume: bool = False,
        cpu: bool = False,
    ) -> None:
        self._device = require("accelerate", "train").PartialState(cpu=cpu).device
        self._options, self._folder, self._data = options, Path(folder), data
        self._validate, self._on_step = validate, on_step
        if validate is None and any(stage.until is not None for stage in options.stages):
            raise UsageError("a stage with `until` ends by the validation, and nothing is validated")
        self._model = model.to(self._device)
        if options.shard:
            shard_frozen_layers(self._model, self._device)
        self._temperature = Temperature(options.temperature).to(self._device)
        self._temperatures = [module for module in model.modules() if isinstance(module, Temperature)]
        self._temperatures.append(self._temperature)
        groups = {name: list(parameters) for name, parameters in model.parameter_groups().items()}
        optimizer.check_groups(model, groups)
        groups["temperature"] = list(self._temperature.parameters())
        self._optimizers = optimizer.build(groups, options)
        self._parameters = [parameter for group in groups.values() for parameter in group]
        self._names: dict[Tensor, str] = {parameter: f"model.{name}" for name, parameter in model.named_parameters()}
        self._names[self._temperature.log_scale] = "temperature.log_scale"
        self._bank = Bank(options.bank).to(self._device) if options.bank else None
        self._objective = Objective(
            model,
            self._temperature,
            chunk=options.chunk,
            bf16=_in_bfloat16(options.precision, self._device),
            device=self._device,
            margin=options.margin,
            bank=self._bank,
            describes=describes,
        )
        settings = {
            "train": options.record(),
            "config": dict(config or {}),
            "processes": distributed.world_size(),
        }
        self._settings = json.loads(json.dumps(settings))  # as they come back from a checkpoint: tuples are lists
        self._step, self._epoch, self._batches_of_epoch = 0, 0, 0
        self._lengths = options.lengths  # of the stages, in steps; shorter where `until` ended one
        self._best: BestValidation | None = None
        self._newest_checkpoint = self._start(resume)

    @property
    def step(self) -> int:
        """Steps made so far, resumed ones included."""
        return self._step

    @property
    def steps(self) -> int:
        """Steps of the whole run; fewer than the settings say, where stages ended early."""
        return sum(self._lengths)

    def run(self, until: int | None = None) -> Outcome:
        """Train to the end, or to step `until`, or until SIGTERM; a checkpoint is there when this returns.

        A loss or gradient that is not finite raises MmiTvrError with the pairs' ids; that step changes nothing.
        """
        batches = self._batches()
        open_trackers = self._open_trackers()
        failed = True
        try:
            with reused_memory(), interruption.stop_event(signal.SIGTERM) as stop_requested:
                stop = False
                while not (stop or self._finished or self._reached(until)):
                    start = time.perf_counter()
                    stage, _ = self._options.stage_at(self._step, self._lengths)
                    values, stop = self._train_step(batches, stop_requested)
                    values["seconds"] = time.perf_counter() - start
                    self._after_step(stage, values, open_trackers, save=stop or self._reached(until))
            failed = False
        finally:
            for tracker in open_trackers:
                tracker.close(failed=failed)
        return Outcome(self._step, self._finished, self._newest_checkpoint, self._best)

    @property
    def _finished(self) -> bool:
        return self._step == self.steps

    def _reached(self, until: int | None) -> bool:
        return until is not None and self._step >= until

    def _train_step(self, batches: Iterator[Batch], stop_requested: threading.Event) -> tuple[dict[str, float], bool]:
        """Make one optimiser step. Returns the step's numbers, and whether any process is to stop."""
        stage, step_of_stage = self._options.stage_at(self._step, self._lengths)
        factor = schedule.factor(step_of_stage, stage.steps, self._options.warmup, self._options.floor)
        optimizer.set_rates(self._optimizers, factor)
        batch_losses = self._add_gradients(batches, stage, self._options.mean_share(step_of_stage, stage))
        means, stop = self._all_reduce_terms([loss.terms for loss in batch_losses], stop_requested)
        distributed.average_gradients(self._parameters)
        norm = float(nn.utils.clip_grad_norm_(self._parameters, self._options.clip))
        if not all(map(math.isfinite, (*means.values(), norm))):
            raise self._not_finite({**means, "gradient": norm}, batch_losses)
        for part in self._optimizers:
            part.step()
        for temperature in self._temperatures:
            temperature.clamp_()
        if self._bank is not None:
            for loss in batch_losses:
                if loss.pairs is not None:
                    self._bank.extend(loss.pairs)
        self._step += 1
        values = {"loss": sum(weight * means[name] for name, weight in stage.weights.items())}
        values |= {f"loss/{name}": mean for name, mean in means.items()}
        values |= {"norm": norm, "scale": float(self._temperature().detach())}
        values |= {f"lr/{name}": rate for name, rate in optimizer.rates(self._optimizers).items()}
        return values, stop

    def _add_gradients(self, batches: Iterator[Batch], stage: Stage, mean_share: float) -> list[BatchLoss]:
        """Put the mean gradient of the next `accumulate` batches into the parameters, in place of the former one."""
        self._model.train()
        for part in self._optimizers:
            part.zero_grad(set_to_none=True)
        share = 1 / self._options.accumulate
        batch_losses = []
        for _ in range(self._options.accumulate):
            batch = self._to_device(next(batches))
            batch_losses.append(self._objective.backward(batch, stage.weights, share, mean_share))
        return batch_losses

    def _all_reduce_terms(
        self, terms: Sequence[Mapping[str, Tensor]], stop_requested: threading.Event
    ) -> tuple[dict[str, float], bool]:
        """Return every term's mean over batches and processes, and whether any process was asked to stop; in one
        message between the processes."""
        means = []
        for name in terms[0]:
            mean = torch.stack([batch_terms[name].float() for batch_terms in terms]).mean()
            means.append(mean / distributed.world_size())
        stop = torch.tensor(float(stop_requested.is_set()), device=self._device)
        *totals, stops = distributed.all_reduce_sum(torch.stack([*means, stop])).tolist()
        return dict(zip(terms[0], totals, strict=True)), stops > 0

    def _after_step(
        self, stage: Stage, values: dict[str, float], open_trackers: Sequence[trackers.Tracker], save: bool
    ) -> None:
        """Validate, log, save and report, where it is due; end the stage where the validation is good enough."""
        improved = False
        if self._validate and self._due(self._options.validate_every):
            values["validation"], improved = self._run_validation()
            if stage.until is not None and values["validation"] >= stage.until:
                self._end_stage()
        if self._due(self._options.log_every) or "validation" in values:
            for tracker in open_trackers:  # before saving: what was logged behind a checkpoint is made again
                tracker.log(self._step, values)
        if save or improved or self._due(self._options.save_every):
            self._save()
        if self._on_step and distributed.rank() == 0:
            self._on_step(StepReport(self._step, self.steps, stage.name, values))

    def _end_stage(self) -> None:
        """Have the stage of the step that was just made end with it."""
        start = 0
        for number, length in enumerate(self._lengths):
            if self._step <= start + length:
                self._lengths[number] = self._step - start
                return
            start += length

    def _due(self, every: int) -> bool:
        return self._step % every == 0 or self._finished

    def _run_validation(self) -> tuple[float, bool]:
        """Return the validation's number, and whether it is the best so far of the last stage: before that, a model
        has not been trained on all terms."""
        assert self._validate is not None
        self._model.eval()
        with rng.preserve_state(), torch.no_grad():
            value = distributed.all_gather_objects(float(self._validate(self._model)))[0]
        if math.isnan(value):
            raise MetricsError(f"step {self._step}: validation gave NaN, by which no checkpoint can be chosen")
        in_last_stage = self._step > sum(self._lengths[:-1])
        improved = in_last_stage and (self._best is None or value > self._best.value)
        if improved:
            self._best = BestValidation(self._step, value)
        return value, improved

    def _not_finite(self, values: Mapping[str, float], batch_losses: Sequence[BatchLoss]) -> MmiTvrError:
        """Return the error that names the pairs whose own vectors are not finite, or else every pair of the step."""
        all_ids = [str(pair) for loss in batch_losses for pair in loss.ids]
        broken_ids = [str(pair) for loss in batch_losses for pair in loss.ids_not_finite()]
        per_process = distributed.all_gather_objects((broken_ids, all_ids))
        named = [pair for broken, _ in per_process for pair in broken]
        if not named:
            named = [pair for _, ids in per_process for pair in ids]
        wrong = ", ".join(f"{name} {value}" for name, value in values.items() if not math.isfinite(value))
        return MmiTvrError(
            f"step {self._step + 1}: not finite: {wrong}; look at these pairs, or lower the learning rates "
            f"(the newest checkpoint is {self._newest_checkpoint or 'none'}): {', '.join(named)}"
        )

    def _batches(self) -> Iterator[Batch]:
        """Yield batches without end, from where the run stands, and keep count of epochs and their batches."""
        while True:
            for batch in self._data.epoch(self._epoch, skip=self._batches_of_epoch):
                self._batches_of_epoch += 1
                yield batch
            if not self._batches_of_epoch:
                raise UsageError("the training data hold no batch; is the batch larger than the split?")
            self._epoch, self._batches_of_epoch = self._epoch + 1, 0

    def _to_device(self, batch: Batch) -> Batch:
        moved: Batch = require("accelerate.utils", "train").send_to_device(batch, self._device)
        return moved

    def _open_trackers(self) -> list[trackers.Tracker]:
        """Return the trackers, in process 0; where they cannot be opened, every process ends."""
        opened: list[trackers.Tracker] = []
        distributed.from_first(
            lambda: opened.extend(trackers.make_all(self._options.trackers, self._folder, self._step))
        )
        return opened

    @property
    def _root(self) -> Path:
        return self._folder / checkpoint.CHECKPOINTS

    def _save(self) -> None:
        """Write a checkpoint of this moment, and best.json; prune older ones. Returns, in every process, when it is
        there."""
        generators = distributed.all_gather_objects(rng.capture())
        folder = checkpoint.folder_of(self._root, self._step)
        if distributed.rank() == 0:
            state = {
                "finished": self._finished,
                "lengths": self._lengths,
                "epoch": self._epoch,
                "taken": self._batches_of_epoch,
                "best": asdict(self._best) if self._best else None,
                "settings": self._settings,
                "fingerprint": digest(self._settings),
            }
            trained = checkpoint.trained_state(self._model)
            checkpoint.save(self._root, self._step, trained, self._loop_tensors(generators), state)
            if self._best:
                record = {**asdict(self._best), "checkpoint": f"checkpoints/step-{self._best.step:08d}"}
                files.write_atomically(self._folder / "best.json", json.dumps(record).encode())
            checkpoint.prune(self._root, self._options.keep, self._best.step if self._best else None)
        self._newest_checkpoint = Path(distributed.all_gather_objects(str(folder))[0])

    def _loop_tensors(self, generators: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Return what only resuming needs; `generators` are the random states of every process (`rng.capture`)."""
        tensors: dict[str, Tensor] = {"temperature": self._temperature.log_scale}
        for name, tensor in checkpoint.optimizer_tensors(self._optimizers, self._names).items():
            tensors[f"optimizer/{name}"] = tensor
        if self._bank is not None and self._bank.pairs is not None:
            tensors |= {f"bank/{name}": tensor for name, tensor in self._bank.state_dict().items()}
        for process, state in enumerate(generators):
            for name, array in state.items():
                tensors[f"rng/{process}/{name}"] = torch.from_numpy(array)
        return tensors

    def _start(self, resume: bool) -> Path | None:
        """Begin from nothing, or where the newest checkpoint stands, and return that one's folder."""
        checkpoints = distributed.all_gather_objects([str(path) for path in checkpoint.list_checkpoints(self._root)])[0]
        checkpoint.check_resuming(self._folder, checkpoints, resume)
        if checkpoints:
            newest = Path(checkpoints[-1])
            self._resume(newest)
            return newest
        if distributed.rank() == 0:
            self._folder.mkdir(parents=True, exist_ok=True)
        distributed.broadcast_from_first(checkpoint.trained_state(self._model).values())
        rng.seed(self._options.seed * _SEEDS_PER_RUN + distributed.rank())
        return None

    def _resume(self, folder: Path) -> None:
        state = checkpoint.resumable_state(folder, self._settings)
        tensors = checkpoint.read_tensors(folder, checkpoint.LOOP)
        checkpoint.load_trained(self._model, folder)
        checkpoint.load_optimizers(self._optimizers, self._names, _with_prefix(tensors, "optimizer/"))
        with torch.no_grad():
            self._temperature.log_scale.copy_(tensors["temperature"])
        if self._bank is not None:
            self._bank.restore(_with_prefix(tensors, "bank/"))
        generators = _with_prefix(tensors, f"rng/{distributed.rank()}/")
        rng.restore({name: tensor.numpy() for name, tensor in generators.items()})
        self._step, self._epoch, self._batches_of_epoch = state["step"], state["epoch"], state["taken"]
        self._lengths = state.get("lengths", self._lengths)  # which older checkpoints do not hold
        best = BestValidation(**state["best"]) if state["best"] else None
        if best and checkpoint.folder_of(self._root, best.step) in checkpoint.list_checkpoints(self._root):
            self._best = best


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin so, under the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _in_bfloat16(precision: str, device: torch.device) -> bool:
    return precision == "bf16" or (precision == "auto" and multiplies_bfloat16(device))
