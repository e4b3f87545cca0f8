"""The train room: gradients across processes, caching, resuming, stopping."""

from __future__ import annotations

import faulthandler
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import train_toy
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional

from mmi_tvr.errors import MetricsError, MmiTvrError, UsageError
from mmi_tvr.nn import losses
from mmi_tvr.train import checkpoint, optimizer, rng, schedule
from mmi_tvr.train.bank import Bank
from mmi_tvr.train.dataloader import DatasetLoader
from mmi_tvr.train.loop import BestValidation, StepReport
from mmi_tvr.train.objective import Objective
from mmi_tvr.train.options import Stage
from mmi_tvr.train.protocol import chunks
from mmi_tvr.utils import distributed


@pytest.fixture(autouse=True)
def _one_process() -> None:
    """What accelerate knows of this process from other tests is forgotten."""
    from accelerate import PartialState

    PartialState._reset_state()


def two_processes(function: Callable[..., None], *arguments: Any) -> None:
    """Run a check in two processes that form a group; what fails there fails here.

    They are spawned: a fork (accelerate's debug_launcher) inherits the locks of threads that earlier tests started.
    """
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_joined, (f"{folder}/meeting", function, arguments), nprocs=2)


def _joined(process: int, meeting: str, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    from accelerate import PartialState

    faulthandler.dump_traceback_later(60, exit=True)  # a deadlock ends, and shows where
    os.environ |= {"RANK": str(process), "LOCAL_RANK": str(process), "WORLD_SIZE": "2", "GLOO_SOCKET_IFNAME": "lo"}
    os.environ |= {"LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=process, world_size=2)
    torch.set_num_threads(1)
    PartialState(cpu=True)
    assert distributed.world_size() == 2
    function(*arguments)
    distributed.leave_group()


# ---- gradients across processes and in chunks ------------------------------------------------------------------


class Linears(nn.Module):
    """Text and video side for the gradient checks."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.text, self.video = nn.Linear(6, 4), nn.Linear(6, 4)
        self.temperature = losses.Temperature()

    def forward(self, text: Tensor, video: Tensor, groups: Tensor) -> Tensor:
        states, keys = self.text(video).view(-1, 1, 4), self.video(video).view(-1, 1, 4)
        every = torch.ones(len(text), 1, dtype=torch.bool)
        masked = losses.masked_prediction(states, keys, groups[:, None] % 2 == 0, every, self.temperature())
        text, video = self.text(text), self.video(video)
        over_batch = [
            losses.info_nce(text, video, self.temperature(), groups),
            losses.ranking(text, video, 0.4, groups, true_of=train_toy.next_is_true, mean_share=0.3),
            losses.focal(video, text > 0.3),
            losses.kl(text, video, "batch"),
            losses.kl(text, video, "symmetric"),
        ]
        return masked + torch.stack(over_batch).sum()


def check_full_batch_gradient(expected: dict[str, Tensor], text: Tensor, video: Tensor, groups: Tensor) -> None:
    rows = [slice(0, 3), slice(3, 8)][distributed.rank()]  # batches of different sizes
    model = Linears()
    value = model(text[rows], video[rows], groups[rows])
    value.backward()
    distributed.average_gradients(list(model.parameters()))
    wrapped = Linears()
    wrapper = nn.parallel.DistributedDataParallel(wrapped)  # torch's own averaging agrees
    wrapper(text[rows], video[rows], groups[rows]).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(wrapped.get_parameter(name).grad, expected[name], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(distributed.all_reduce_sum(value) / 2, expected["loss"])
    unused, used = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    used.grad = torch.ones(2) if distributed.rank() else None
    distributed.average_gradients([unused, used])
    assert unused.grad is None
    assert used.grad.tolist() == [0.5, 0.5]


def test_two_processes_have_the_full_batchs_gradient() -> None:
    generator = torch.Generator().manual_seed(5)
    text, video = torch.randn(2, 8, 6, generator=generator)
    groups = torch.tensor([0, 1, 2, 0, 3, 4, 5, 1])
    model = Linears()
    value = model(text, video, groups)
    value.backward()
    expected = {name: parameter.grad for name, parameter in model.named_parameters()}
    two_processes(check_full_batch_gradient, {**expected, "loss": value.detach()}, text, video, groups)


def check_cached_gradient(dropout: float, bf16: bool = False, wholes: bool = False) -> None:
    """The cached gradient is that of the same chunks held in memory together; `wholes`: of all terms over the batch, by
    another similarity, with a bank."""
    batch = train_toy.collate(
        [train_toy.ToyPairs()[i] for i in range(distributed.rank(), 22, distributed.world_size())]
    )
    weights = {"contrastive": 0.6} | ({"ranking": 0.5, "attributes": 0.7, "kl": 2.0} if wholes else {})
    bank = Bank(5)
    bank.extend(
        losses.EmbeddedPairs(*torch.randn(2, 4, 8, generator=train_toy.seeded(3)), torch.tensor([1, 2, 50, 51]))
    )
    gradients: list[dict[str, Tensor]] = []
    for chunk in (4, None):
        torch.manual_seed(2)
        model = train_toy.ToyLevels(dropout) if wholes else train_toy.ToyModel(dropout)
        temperature = losses.Temperature()
        make = Objective(
            model, temperature, chunk=chunk, bf16=bf16, device=torch.device("cpu"), margin=0.4,
            bank=bank if wholes else None, describes=train_toy.describes,
        )  # fmt: skip
        rng.seed(11 + distributed.rank())
        if chunk:
            terms = make.backward(batch, weights, mean_share=0.3).terms
            after = torch.rand(1)
        else:  # the reference: the same pieces and draws, all their graphs in memory
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                parts = [model.embed_batch(piece) for piece in chunks(batch, 4)]
            assert torch.equal(torch.rand(1), after)  # and the generators end where they would have
            text, video, groups, *labels = (torch.cat(column) for column in zip(*parts, strict=True))
            expected = {"contrastive": losses.info_nce(text, video, temperature(), groups)}
            if wholes:
                expected = {
                    "contrastive": losses.info_nce(
                        text, video, temperature(), groups, similarity=model.similarity, bank=bank.pairs
                    ),
                    "ranking": losses.ranking(
                        text, video, 0.4, groups, similarity=model.similarity, true_of=train_toy.next_is_true,
                        mean_share=0.3,
                    ),
                    "attributes": losses.focal(model.head(video), labels[0]),
                    "kl": losses.kl(text, video, "batch"),
                }  # fmt: skip
            torch.testing.assert_close(terms, {name: term.detach() for name, term in expected.items()})
            losses.weighted_sum(expected, weights).backward()
        parameters = {**dict(model.named_parameters()), "scale": temperature.log_scale}
        distributed.average_gradients([p for p in parameters.values() if p.requires_grad])
        gradients.append({name: p.grad for name, p in parameters.items() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert {"scale", "text.0.weight", "video.3.bias"} <= gradients[0].keys()
    assert not wholes or {"bias", "mix", "head.weight"} <= gradients[0].keys()
    for name, expected_gradient in gradients[1].items():
        largest = expected_gradient.abs().max()
        assert largest > 1e-4, name
        worst = float((gradients[0][name] - expected_gradient).abs().max() / largest.clamp(min=1e-3))
        assert worst < (2e-2 if bf16 else 1e-5), (name, worst)


def check_cached_gradients() -> None:
    check_cached_gradient(dropout=0.0)
    check_cached_gradient(dropout=0.3)
    check_cached_gradient(dropout=0.3, wholes=True)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_cached_gradient_of_all_terms_over_the_batch_is_the_plain_one(dropout: float) -> None:
    check_cached_gradient(dropout, wholes=True)


@pytest.mark.parametrize(("dropout", "bf16"), [(0.0, False), (0.3, False), (0.3, True)])
def test_cached_gradient_is_the_plain_one(dropout: float, bf16: bool) -> None:
    check_cached_gradient(dropout, bf16)


def test_cached_gradient_is_the_plain_one_in_two_processes() -> None:
    two_processes(check_cached_gradients)


# ---- the loop --------------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    """The tensors of the newest checkpoint, bit for bit: weights, moments, temperature, generators."""
    newest = checkpoint.list_checkpoints(folder / "checkpoints")[-1]
    return {name: (newest / name).read_bytes() for name in (checkpoint.TRAINED, checkpoint.LOOP)}


def position(folder: Path) -> tuple[int, int, int]:
    state = checkpoint.read_state(checkpoint.list_checkpoints(folder / "checkpoints")[-1])
    return state["step"], state["epoch"], state["taken"]


CHANGES: dict[str, Any] = {"accumulate": 2, "validate_every": 2, "bank": 37}


LEARNED = ("lora", "heads", "temperature")


def validate(model: nn.Module) -> float:
    """Draws random numbers, which must not matter, and is best at step 4."""
    torch.rand(3)
    assert not model.training
    return -abs(float(model.calls) - 4 * 20)


def terminate_at(step: int) -> Callable[[StepReport], None]:
    """A callback that ends this process, as an operator would, after a step."""

    def on_step(report: StepReport) -> None:
        if report.step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return on_step


def check_resume(folder: Path) -> None:
    straight = train_toy.trainer(folder / "straight", CHANGES, validate=validate).run()
    assert straight.finished
    first = train_toy.trainer(folder / "halves", CHANGES, validate=validate).run(until=5)
    assert (first.step, first.finished) == (5, False)
    second = train_toy.trainer(folder / "halves", CHANGES, validate=validate, resume=True).run()
    assert (second.step, second.best) == (10, straight.best)
    stopped = train_toy.trainer(folder / "stopped", CHANGES, on_step=terminate_at(3), validate=validate).run()
    assert (stopped.step, stopped.finished) == (4, False)  # in every process, although only the first got the signal
    train_toy.trainer(folder / "stopped", CHANGES, validate=validate, resume=True).run()
    for other in ("halves", "stopped"):
        assert contents(folder / other) == contents(folder / "straight")
        assert position(folder / other) == position(folder / "straight") == (10, 3, 5)
    newest = checkpoint.list_checkpoints(folder / "straight" / "checkpoints")[-1]
    bank = {
        name: tensor for name, tensor in checkpoint.read_tensors(newest, checkpoint.LOOP).items() if "bank/" in name
    }
    assert [bank[f"bank/{name}"].shape for name in ("text", "video", "groups")] == [(37, 8), (37, 8), (37,)]
    # Epoch 3 has 10, 10, 10, 10 and 8 pairs: the newest 37 are the last of them, those of all processes.
    batches = list(train_toy.ToySampler(10, 0, 1, epoch=3))
    order = [item for batch in batches for rank in range(distributed.world_size())
             for item in batch[rank :: distributed.world_size()]]  # fmt: skip
    assert bank["bank/groups"].tolist() == [item // train_toy.CAPTIONS for item in order[-37:]]


def test_ten_steps_are_five_and_five_more(tmp_path: Path) -> None:
    check_resume(tmp_path)
    lines = [(tmp_path / run / "metrics.jsonl").read_text().splitlines() for run in ("straight", "halves")]
    straight, halves = ([{**json.loads(line), "seconds": 0} for line in run] for run in lines)
    assert straight == halves
    assert [line["step"] for line in straight] == list(range(1, 11))


def test_ten_steps_are_five_and_five_more_with_muon(tmp_path: Path) -> None:
    changes = {**CHANGES, "muon": ["heads"], "bank": 0}
    train_toy.trainer(tmp_path / "straight", changes, validate=validate).run()
    train_toy.trainer(tmp_path / "halves", changes, validate=validate).run(until=5)
    train_toy.trainer(tmp_path / "halves", changes, validate=validate, resume=True).run()
    assert contents(tmp_path / "halves") == contents(tmp_path / "straight")


def test_ten_steps_are_five_and_five_more_in_two_processes(tmp_path: Path) -> None:
    two_processes(check_resume, tmp_path)
    assert {
        name.partition("/")[2][0]
        for name in checkpoint.read_tensors(
            checkpoint.list_checkpoints(tmp_path / "straight" / "checkpoints")[-1], checkpoint.LOOP
        )
        if name.startswith("rng/")
    } == {"0", "1"}


def test_torchrun_trains_the_script(tmp_path: Path) -> None:
    """As a person starts it; two processes see the batches that one process would, in halves."""
    script = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    command = [*script, train_toy.__file__, str(tmp_path / "run"), "--until", "2"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert position(tmp_path / "run") == (2, 0, 2)
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


def check_not_finite(folder: Path) -> None:
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
        assert contents(halves) == contents(tmp_path / "straight")
    assert run(tmp_path / "straight", resume=True).step == 8  # nothing is left to do
    with pytest.raises(UsageError, match="ends by the validation, and nothing is validated"):
        train_toy.trainer(tmp_path / "blind", {"stages": stages})


def test_a_run_of_before_the_later_options_goes_on(tmp_path: Path) -> None:
    """Its record knows neither these options nor the stages' lengths; at their defaults they are not recorded."""
    outcome = train_toy.trainer(tmp_path, {"chunk": 4}).run(until=2)
    state = json.loads((outcome.checkpoint / checkpoint.STATE).read_text())
    assert state["settings"]["train"].keys() & {"margin", "ranking_warmup", "bank"} == set()
    assert [stage.keys() for stage in state["settings"]["train"]["stages"]] == [{"name", "steps", "weights"}] * 2
    del state["lengths"]
    (outcome.checkpoint / checkpoint.STATE).write_text(json.dumps(state))
    assert train_toy.trainer(tmp_path, {"chunk": 4}, resume=True).run(until=3).step == 3
    with pytest.raises(UsageError, match=r"train.margin: None -> 0.5"):
        train_toy.trainer(tmp_path, {"chunk": 4, "margin": 0.5}, resume=True)


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
    check_not_finite(tmp_path)


def test_what_is_not_finite_stops_every_process(tmp_path: Path) -> None:
    two_processes(check_not_finite, tmp_path)


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


def test_a_kill_while_saving_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    train_toy.trainer(tmp_path).run(until=2)
    root = tmp_path / "checkpoints"
    half = root / ".step-00000003.99.tmp"
    half.mkdir()
    (half / checkpoint.TRAINED).write_bytes(b"half")
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "loss": 1.0}\n{"step": 4, "lo')  # logged, and lost with the process
    outcome = train_toy.trainer(tmp_path, resume=True).run(until=4)
    assert outcome.step == 4
    assert not half.exists()
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4]


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


def test_what_changes_no_number_may_change_on_resuming(tmp_path: Path) -> None:
    train_toy.trainer(tmp_path).run(until=2)
    changes = {"log_every": 2, "save_every": 1, "keep": 3, "trackers": []}
    assert train_toy.trainer(tmp_path, changes, resume=True).run(until=3).step == 3
    with pytest.raises(UsageError, match="train\\.clip"):
        train_toy.trainer(tmp_path, {"clip": 2.0}, resume=True)


def test_resuming_where_nothing_was_saved_begins_anew(tmp_path: Path) -> None:
    train_toy.trainer(tmp_path / "plain").run(until=2)
    train_toy.trainer(tmp_path / "resumed", resume=True).run(until=2)
    assert contents(tmp_path / "plain") == contents(tmp_path / "resumed")


def test_seeds_differ_by_more_than_there_are_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(rng, "seed", seeds.append)
    for seed in (0, 1):
        train_toy.trainer(tmp_path / str(seed), {"seed": seed})
    assert seeds[0] == 0
    assert seeds[1] >= 4096
    assert len(set(seeds)) == 2
