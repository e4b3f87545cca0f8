"""Where a run's numbers go, beyond files of ours (`test_train`, `test_train_resuming`)."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import train_toy
from pydantic import ValidationError

from mmi_tvr.errors import MissingExtra, MmiTvrError, UsageError
from mmi_tvr.train import trackers


class FakeRun:
    """What `wandb.init` returns, as far as it is used."""

    def __init__(self, **options: object) -> None:
        self.options, self.logged, self.finished = options, [], None

    def define_metric(self, name: str, step_metric: str) -> None:
        assert (name, step_metric) == ("*", "step")

    def log(self, values: dict[str, float]) -> None:
        self.logged.append(values)

    def finish(self, exit_code: int) -> None:
        self.finished = exit_code


def test_weights_and_biases_goes_on_in_the_run_that_was_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[FakeRun] = []
    module = SimpleNamespace(init=lambda **options: runs.append(FakeRun(**options)) or runs[-1], Error=RuntimeError)
    monkeypatch.setitem(sys.modules, "wandb", module)
    for step in (0, 4, 0):
        tracker = trackers.make("wandb", tmp_path, step)
        tracker.log(step + 1, {"loss": 0.5})
        tracker.close(failed=False)
    first, resumed, anew = runs
    assert first.logged == [{"step": 1, "loss": 0.5}]
    assert first.finished == 0
    assert first.options == {"dir": tmp_path, "id": first.options["id"], "name": tmp_path.name, "resume": "allow"}
    assert resumed.options["id"] == first.options["id"] != anew.options["id"]


def test_a_tracker_that_is_not_installed_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtra, match=r"\[wandb\]"):
        trackers.make("wandb", tmp_path, 0)
    with pytest.raises(MissingExtra, match=r"\[wandb\]"):
        trackers.check(["jsonl", "wandb"])


def refusing_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have wandb be there, and nobody be logged in."""

    def init(**_: object) -> None:
        raise RuntimeError("No API key configured. Use `wandb login` to log in.")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init, Error=RuntimeError))


def test_a_tracker_that_refuses_is_said_in_a_line_and_the_others_are_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = train_toy.trainer(tmp_path, {"trackers": ["jsonl", "wandb"]})
    refusing_wandb(monkeypatch)
    closed: list[dict[str, bool]] = []
    close = trackers.JsonLines.close
    monkeypatch.setattr(trackers.JsonLines, "close", lambda tracker, **how: closed.append(how) or close(tracker, **how))
    with pytest.raises(UsageError, match=r"wandb: No API key configured.*WANDB_MODE=offline"):
        trainer.run()
    assert closed == [{"failed": True}]


def assert_all_processes_end(folder: Path) -> None:
    trainer = train_toy.trainer(folder, {"trackers": ["wandb"]})
    with pytest.MonkeyPatch.context() as monkeypatch:
        refusing_wandb(monkeypatch)
        with pytest.raises(MmiTvrError, match="No API key configured"):
            trainer.run()


@pytest.mark.slow
def test_a_tracker_that_refuses_ends_every_process(tmp_path: Path) -> None:
    train_toy.run_in_two_processes(assert_all_processes_end, tmp_path)


@pytest.mark.parametrize("step", [0, 2])
def test_what_a_killed_run_logged_is_forgotten(tmp_path: Path, step: int) -> None:
    """Also where it was killed before its first checkpoint, and its successor begins from nothing."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for begin, steps, loss in ((0, range(1, 6), 0.5), (step, range(step + 1, 5), 0.25)):
        tracker = trackers.make("tensorboard", tmp_path, begin)
        for number in steps:
            tracker.log(number, {"loss": loss})
        tracker.close(failed=False)
    events = reader.EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("loss")
    assert [(event.step, event.value) for event in events] == [
        (number, 0.5 if number <= step else 0.25) for number in range(1, 5)
    ]


@pytest.mark.parametrize(("poisoned", "exit_code"), [((), 0), ((0,), 1)])
def test_a_run_that_an_error_ended_is_no_finished_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, poisoned: tuple[int, ...], exit_code: int
) -> None:
    run = FakeRun()
    module = SimpleNamespace(init=lambda **_: run, Error=RuntimeError)
    monkeypatch.setitem(sys.modules, "wandb", module)
    trainer = train_toy.trainer(tmp_path, {"trackers": ["wandb"]}, poisoned)
    with pytest.raises(MmiTvrError) if poisoned else nullcontext():
        trainer.run()
    assert run.finished == exit_code


def test_a_tracker_is_named_once() -> None:
    with pytest.raises(ValidationError, match="each tracker is named once, and not jsonl, jsonl"):
        train_toy.options(trackers=["jsonl", "jsonl"])


def test_muon_needs_a_torch_that_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.8.1+cpu")
    with pytest.raises(UsageError, match=r"train\.muon needs torch 2\.9 or newer, and this is 2\.8\.1\+cpu"):
        train_toy.trainer(tmp_path, {"muon": ["heads"]})
