"""The train room's loop: stages, what is reported, validated, saved and refused, and stopping."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import train_toy
from pydantic import ValidationError
from torch import nn
from torch.nn import functional

from mmi_tvr.errors import MetricsError, MmiTvrError, UsageError
from mmi_tvr.train import checkpoint, optimizer, rng, schedule
from mmi_tvr.train.dataloader import DatasetLoader
from mmi_tvr.train.loop import BestValidation, StepReport
from mmi_tvr.train.options import Stage
from mmi_tvr.train.run import StepLines
from mmi_tvr.utils.progress import Silent

pytestmark = pytest.mark.usefixtures("one_process")

LEARNED = ("lora", "heads", "temperature")


@pytest.mark.slow
def test_torchrun_trains_the_script(tmp_path: Path) -> None:
    """As a person starts it; two processes see the batches that one process would, in halves."""
    script = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    command = [*script, train_toy.__file__, str(tmp_path / "run"), "--until", "2"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert train_toy.position(tmp_path / "run") == (2, 0, 2)
    state = checkpoint.read_state(checkpoint.list_checkpoints(tmp_path / "run" / "checkpoints")[-1])
    assert state["settings"]["processes"] == 2
    assert state["origin"]["command"].endswith("train_toy.py " + " ".join(command[-3:]))


def test_a_run_learns_and_keeps_the_best_of_its_checkpoints(tmp_path: Path) -> None:
    joint = Stage(name="joint", steps=60, weights={"contrastive": 1.0})
    changes = {
        "stages": [joint],
        "validate_every": 10,
        "save_every": 10,
        "keep": 1,
        "trackers": ["jsonl", "tensorboard"],
    }
    numbers = iter([1.0, 5.0, 2.0, 5.0, 3.0, 4.0])
    reports: list[StepReport] = []
    outcome = train_toy.trainer(tmp_path, changes, validate=lambda _: next(numbers), on_step=reports.append).run()
    assert outcome.best == BestValidation(20, 5.0)
    assert [path.name for path in checkpoint.list_checkpoints(tmp_path / "checkpoints")] == [
        "step-00000020",
        "step-00000060",
    ]
    assert json.loads((tmp_path / "best.json").read_text())["checkpoint"] == "checkpoints/step-00000020"
    step_losses = [report.values["loss"] for report in reports]
    assert sum(step_losses[-5:]) < 0.5 * sum(step_losses[:5])
    assert [report.step for report in reports] == list(range(1, 61))
    assert any((tmp_path / "tensorboard").iterdir())
    model = train_toy.ToyModel(seed=9)  # other weights, the same frozen base
    checkpoint.load_trained(model, outcome.checkpoint)
    assert int(model.calls) > 0
    pairs = train_toy.collate([train_toy.ToyPairs()[i] for i in range(0, 48, 2)])
    text, video, _ = model.eval().embed_batch(pairs)
    right = (functional.normalize(text, dim=1) @ functional.normalize(video, dim=1).T).argmax(dim=1)
    assert (right == torch.arange(24)).float().mean() > 0.5


def test_a_stage_trains_what_it_asks_for_and_no_more(tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in train_toy.ToyModel().state_dict().items()}
    outcome = train_toy.trainer(tmp_path).run(until=3)
    after = checkpoint.read_tensors(outcome.checkpoint, checkpoint.TRAINED)
    assert not any(name.startswith("frozen") for name in after)
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {"judge.1.weight", "judge.1.bias"}


def assert_names_the_poisoned_pairs(folder: Path) -> None:
    with pytest.raises(MmiTvrError) as caught:
        train_toy.trainer(folder, {"stages": [Stage(name="s", steps=9, weights={"contrastive": 1.0})]}, {7, 30}).run()
    message = str(caught.value)
    assert message.startswith("step ")
    assert "contrastive nan" in message
    assert set(message.rpartition(": ")[2].split(", ")) <= {"pair07", "pair30"}  # not the pairs beside them
    with pytest.raises(MmiTvrError, match=r"skeleton nan.*pair"):  # no vectors to look at: every pair of the step
        train_toy.trainer(folder / "other", poisoned={7, 30}).run()


def test_the_best_is_of_the_last_stage(tmp_path: Path) -> None:
    """Which alone has seen every term."""
    numbers = iter([9.0, 1.0, 3.0, 2.0, 2.5])
    outcome = train_toy.trainer(tmp_path, {"validate_every": 2}, validate=lambda _: next(numbers)).run()
    assert outcome.best == BestValidation(6, 3.0)  # the first stage ends with step 3


def test_a_stage_ends_where_the_validation_is_good_enough(tmp_path: Path) -> None:
    """And a resumed run knows that it did; the second stage is as long as it is, from where the first one ended."""
    stages = [
        Stage(name="first", steps=8, weights={"skeleton": 1.0}, until=3.0),
        Stage(name="second", steps=6, weights={"contrastive": 1.0}, until=9.0),
    ]
    values = {2: 1.0, 4: 3.0, 6: 4.0, 8: 9.5}
    reports: list[StepReport] = []

    def run(folder: Path, resume: bool = False, until: int | None = None) -> Any:
        trainer = train_toy.trainer(
            folder,
            {"stages": stages, "validate_every": 2, "accumulate": 1},
            validate=lambda _: values[trainer.step],
            on_step=reports.append,
            resume=resume,
        )
        return trainer.run(until)

    outcome = run(tmp_path / "straight")
    assert outcome.finished
    assert (outcome.step, outcome.best) == (8, BestValidation(8, 9.5))
    assert [report.stage for report in reports] == ["first"] * 4 + ["second"] * 4
    assert [report.steps for report in reports] == [14] * 3 + [10] * 4 + [8]
    for until in (4, 5):
        halves = tmp_path / f"halves{until}"
        assert not run(halves, until=until).finished
        assert run(halves, resume=True).finished
        assert train_toy.contents(halves) == train_toy.contents(tmp_path / "straight")
    assert run(tmp_path / "straight", resume=True).step == 8  # nothing is left to do
    with pytest.raises(UsageError, match="ends by the validation, and nothing is validated"):
        train_toy.trainer(tmp_path / "blind", {"stages": stages})


class Counter(Silent):
    """Progress as a list of [steps made, steps of all], one for each beginning."""

    def __init__(self) -> None:
        self.counts: list[list[int]] = []

    def begin(self, stage: str, total: int) -> None:
        assert stage == "training"
        self.counts.append([0, total])

    def advance(self, steps: int = 1) -> None:
        self.counts[-1][0] += steps


def test_progress_counts_the_steps_that_there_are(tmp_path: Path) -> None:
    """Also where a stage ended early, in this run or in the one that it resumes."""
    stages = [
        Stage(name="first", steps=8, weights={"skeleton": 1.0}, until=3.0),
        Stage(name="second", steps=6, weights={"contrastive": 1.0}),
    ]
    changes = {"stages": stages, "validate_every": 2, "accumulate": 1}
    counter = Counter()
    for until, resume in ((5, False), (None, True)):
        lines = StepLines(counter)
        trainer = train_toy.trainer(tmp_path, changes, validate=lambda _: 3.0, on_step=lines, resume=resume)
        lines.begin(trainer.step, trainer.steps)
        trainer.run(until)
    assert counter.counts == [[1, 14], [5, 8], [8, 8]]


def test_the_hardest_negative_takes_the_place_of_the_mean_within_a_stage(tmp_path: Path) -> None:
    stages = [Stage(name="rank", steps=4, weights={"ranking": 1.0})]
    values: dict[float, list[float]] = {}
    for warmup in (0.0, 0.25):
        lines = values.setdefault(warmup, [])
        train_toy.trainer(
            tmp_path / str(warmup),
            {"stages": stages, "ranking_warmup": warmup, "learning_rates": dict.fromkeys(LEARNED, 1e-12)},
            on_step=lambda report, lines=lines: lines.append(report.values["loss/ranking"]),
        ).run()
    assert values[0.25][0] < values[0.0][0]  # the mean of what is within the margin
    assert values[0.25][1:] == pytest.approx(values[0.0][1:])


def test_what_is_not_finite_is_named(tmp_path: Path) -> None:
    assert_names_the_poisoned_pairs(tmp_path)


def test_what_is_not_finite_stops_every_process(tmp_path: Path) -> None:
    train_toy.run_in_two_processes(assert_names_the_poisoned_pairs, tmp_path)


def test_nan_from_validation_is_no_choice(tmp_path: Path) -> None:
    with pytest.raises(MetricsError, match="step 2: validation gave NaN"):
        train_toy.trainer(tmp_path, {"validate_every": 2}, validate=lambda _: math.nan).run()


def test_refusals(tmp_path: Path) -> None:
    train_toy.trainer(tmp_path / "run").run(until=2)
    with pytest.raises(UsageError, match="resume it, or take another folder"):
        train_toy.trainer(tmp_path / "run")
    with pytest.raises(UsageError, match=r"train.seed: 0 -> 1; config.frames: None -> \[8\]"):
        train_toy.trainer(tmp_path / "run", {"seed": 1}, resume=True, config={"frames": (8,)})
    with pytest.raises(UsageError, match="learning_rates are for heads, and the model's groups are heads, lora, temp"):
        train_toy.trainer(tmp_path / "other", {"learning_rates": {"heads": 1.0}})
    with pytest.raises(ValidationError, match="weights are above 0"):
        Stage(name="s", steps=1, weights={"caption": 0.0})
    model = train_toy.ToyModel()
    groups = model.parameter_groups()
    wrong = {"lora": groups["lora"][1:], "heads": [*groups["heads"], groups["heads"][0], model.frozen.weight]}
    with pytest.raises(UsageError, match=r"no group: text.0.weight; in a group, but frozen.*: frozen.weight; in two"):
        optimizer.check_groups(model, wrong)


def test_no_batches_is_an_error_not_an_endless_loop(tmp_path: Path) -> None:
    run = train_toy.trainer(tmp_path)
    run._data = DatasetLoader(train_toy.ToyPairs(), Empty(), train_toy.collate)
    with pytest.raises(UsageError, match="hold no batch"):
        run.run()


class Empty:
    def set_epoch(self, epoch: int) -> None: ...

    def __iter__(self) -> Any:
        return iter(())


def test_rates_start_anew_in_every_stage(tmp_path: Path) -> None:
    reports: list[StepReport] = []
    changes = {"warmup": 0.5, "floor": 0.1, "learning_rates": {"lora": 1e-2, "heads": 2e-2, "temperature": 3e-2}}
    train_toy.trainer(tmp_path, changes, on_step=reports.append).run()
    factors = [schedule.factor(step, steps, 0.5, 0.1) for steps in (3, 7) for step in range(steps)]
    assert [report.stage for report in reports] == ["judge"] * 3 + ["joint"] * 7
    for report, factor in zip(reports, factors, strict=True):
        rates = [report.values[f"lr/{name}"] for name in ("lora", "heads", "temperature")]
        assert rates == pytest.approx([1e-2 * factor, 2e-2 * factor, 3e-2 * factor])
        assert report.steps == 10
        assert report.values["seconds"] > 0


def test_the_loss_is_the_weighted_sum_of_its_terms(tmp_path: Path) -> None:
    reports: list[StepReport] = []
    train_toy.trainer(tmp_path, {"accumulate": 2}, on_step=reports.append).run(until=5)
    first, last = reports[0].values, reports[-1].values
    assert first["loss"] == first["loss/skeleton"]
    assert last["loss"] == pytest.approx(0.6 * last["loss/contrastive"] + 0.3 * last["loss/skeleton"])


def test_a_gradient_is_cut_to_its_largest_norm_and_reported_whole(tmp_path: Path) -> None:
    reports: list[StepReport] = []
    trainer = train_toy.trainer(tmp_path, {"clip": 1e-3}, on_step=reports.append)
    trainer.run(until=1)
    squares = [parameter.grad.square().sum() for parameter in trainer._parameters if parameter.grad is not None]
    assert float(torch.stack(squares).sum().sqrt()) == pytest.approx(1e-3, rel=1e-2)
    assert reports[0].values["norm"] > 0.1


def test_accumulated_batches_have_the_mean_of_their_gradients(tmp_path: Path) -> None:
    """Two batches of one step, against the same two one by one."""
    changes = {"stages": [Stage(name="judge", steps=9, weights={"skeleton": 1.0})], "clip": 1e9}
    both = train_toy.trainer(tmp_path / "both", {**changes, "accumulate": 2})
    gradients = []
    alone = train_toy.trainer(tmp_path / "alone", changes)
    rng.seed(3)
    batches = alone._batches()
    stage = alone._options.stages[0]
    for _ in range(2):
        alone._add_gradients(batches, stage, mean_share=0.0)
        gradients.append([parameter.grad.clone() for parameter in alone._model.judge.parameters()])
    rng.seed(3)
    both._add_gradients(both._batches(), stage, mean_share=0.0)
    assert len(gradients[0]) > 0
    for together, *parts in zip(both._model.judge.parameters(), *gradients, strict=True):
        torch.testing.assert_close(together.grad, (parts[0] + parts[1]) / 2)


def test_temperatures_stay_within_their_bounds(tmp_path: Path) -> None:
    rates = {"lora": 1e-2, "heads": 1e-2, "temperature": 50.0}
    reports: list[StepReport] = []
    train_toy.trainer(tmp_path, {"learning_rates": rates, "warmup": 0.0}, on_step=reports.append).run(until=6)
    assert max(report.values["scale"] for report in reports) <= 100.001


def test_what_is_due_is_done_at_its_steps_and_at_the_end(tmp_path: Path) -> None:
    validated: list[int] = []
    changes = {"log_every": 4, "save_every": 3, "validate_every": 6, "keep": 9}
    trainer = train_toy.trainer(tmp_path, changes)

    def record(model: nn.Module) -> float:
        assert not torch.is_grad_enabled()
        validated.append(trainer.step)
        return 1.0

    trainer._validate = record
    outcome = trainer.run(until=99)
    assert (outcome.step, outcome.finished) == (10, True)
    assert validated == [6, 10]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 6, 8, 10]
    assert [line["step"] for line in lines if "validation" in line] == [6, 10]
    steps = [checkpoint.read_state(folder)["step"] for folder in checkpoint.list_checkpoints(tmp_path / "checkpoints")]
    assert steps == [3, 6, 9, 10]
    finished = [checkpoint.read_state(checkpoint.folder_of(tmp_path / "checkpoints", step)) for step in (9, 10)]
    assert [state["finished"] for state in finished] == [False, True]


def test_seeds_differ_by_more_than_there_are_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(rng, "seed", seeds.append)
    for seed in (0, 1):
        train_toy.trainer(tmp_path / str(seed), {"seed": seed})
    assert seeds[0] == 0
    assert seeds[1] >= 4096
    assert len(set(seeds)) == 2
