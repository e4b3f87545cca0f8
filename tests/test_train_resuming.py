"""The train room: a run that was stopped goes on as if it never had been."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import train_toy
from torch import nn

from mmi_tvr.errors import UsageError
from mmi_tvr.train import checkpoint
from mmi_tvr.train.loop import StepReport
from mmi_tvr.utils import distributed

pytestmark = pytest.mark.usefixtures("one_process")

CHANGES: dict[str, Any] = {"accumulate": 2, "validate_every": 2, "bank": 37}


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


def assert_resuming_changes_nothing(folder: Path) -> None:
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
        assert train_toy.contents(folder / other) == train_toy.contents(folder / "straight")
        assert train_toy.position(folder / other) == train_toy.position(folder / "straight") == (10, 3, 5)
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
    assert_resuming_changes_nothing(tmp_path)
    lines = [(tmp_path / run / "metrics.jsonl").read_text().splitlines() for run in ("straight", "halves")]
    straight, halves = ([{**json.loads(line), "seconds": 0} for line in run] for run in lines)
    assert straight == halves
    assert [line["step"] for line in straight] == list(range(1, 11))


def test_ten_steps_are_five_and_five_more_with_muon(tmp_path: Path) -> None:
    changes = {**CHANGES, "muon": ["heads"], "bank": 0}
    train_toy.trainer(tmp_path / "straight", changes, validate=validate).run()
    train_toy.trainer(tmp_path / "halves", changes, validate=validate).run(until=5)
    train_toy.trainer(tmp_path / "halves", changes, validate=validate, resume=True).run()
    assert train_toy.contents(tmp_path / "halves") == train_toy.contents(tmp_path / "straight")


@pytest.mark.slow
def test_ten_steps_are_five_and_five_more_in_two_processes(tmp_path: Path) -> None:
    train_toy.run_in_two_processes(assert_resuming_changes_nothing, tmp_path)
    assert {
        name.partition("/")[2][0]
        for name in checkpoint.read_tensors(
            checkpoint.list_checkpoints(tmp_path / "straight" / "checkpoints")[-1], checkpoint.LOOP
        )
        if name.startswith("rng/")
    } == {"0", "1"}


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


def test_a_kill_right_after_saving_leaves_no_gap_in_what_was_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "prune", killed)
        with pytest.raises(KeyboardInterrupt):
            train_toy.trainer(tmp_path, {"save_every": 3}).run()
    resumed = train_toy.trainer(tmp_path, {"save_every": 3}, resume=True)
    assert resumed.step == 3
    resumed.run(until=5)
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5]


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", [checkpoint.TRAINED, checkpoint.LOOP])
def test_a_checkpoint_that_lost_a_file_is_not_resumed_and_the_one_before_it_is(tmp_path: Path, name: str) -> None:
    train_toy.trainer(tmp_path, {"save_every": 2}).run(until=4)
    former, newest = checkpoint.list_checkpoints(tmp_path / "checkpoints")
    content = (newest / name).read_bytes()
    for spoil, message in (
        (lambda path: path.unlink(), "missing or damaged"),
        (lambda path: path.write_bytes(content[:-9]), "missing or damaged"),
        (_flip, "not what was saved"),
        (lambda path: path.write_bytes((former / name).read_bytes()), "not what was saved"),
    ):
        spoil(newest / name)
        with pytest.raises(UsageError, match=f"{name}: {message}.*move its folder away"):
            train_toy.trainer(tmp_path, {"save_every": 2}, resume=True)
        (newest / name).write_bytes(content)
    newest.rename(tmp_path / "away")
    assert train_toy.trainer(tmp_path, {"save_every": 2}, resume=True).step == 2


def test_a_best_checkpoint_that_is_gone_is_not_the_best(tmp_path: Path) -> None:
    """Its weights could not be exported at the end."""
    values = {2: 1.0, 4: 5.0, 6: 4.0, 8: 2.0, 10: 3.0}

    def trainer(resume: bool) -> Any:
        changes = {"save_every": 2, "validate_every": 2, "accumulate": 1, "keep": 1}
        run = train_toy.trainer(tmp_path, changes, validate=lambda _: values[run.step], resume=resume)
        return run

    assert trainer(resume=False).run(until=6).best.step == 4
    checkpoint.folder_of(tmp_path / "checkpoints", 4).rename(tmp_path / "away")
    best = trainer(resume=True).run().best
    assert (best.step, best.value) == (10, 3.0)
    assert checkpoint.folder_of(tmp_path / "checkpoints", 10).is_dir()


def test_what_changes_no_number_may_change_on_resuming(tmp_path: Path) -> None:
    train_toy.trainer(tmp_path).run(until=2)
    changes = {"log_every": 2, "save_every": 1, "keep": 3, "trackers": []}
    assert train_toy.trainer(tmp_path, changes, resume=True).run(until=3).step == 3
    with pytest.raises(UsageError, match=r"train\.clip: 1\.0 -> 2\.0; resume it with those of before"):
        train_toy.trainer(tmp_path, {"clip": 2.0}, resume=True)


def test_resuming_where_nothing_was_saved_begins_anew(tmp_path: Path) -> None:
    train_toy.trainer(tmp_path / "plain").run(until=2)
    train_toy.trainer(tmp_path / "resumed", resume=True).run(until=2)
    assert train_toy.contents(tmp_path / "plain") == train_toy.contents(tmp_path / "resumed")
