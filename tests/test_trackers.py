"""Where a run's numbers go, beyond files of ours (`test_train`, `test_train_resuming`)."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import train_toy

from mmi_tvr.errors import MissingExtra, UsageError
from mmi_tvr.train import trackers


class FakeRun:
    """What `wandb.init` returns, as far as it is used."""

    def __init__(self, **options: object) -> None:
        self.options, self.logged, self.finished = options, [], False

    def define_metric(self, name: str, step_metric: str) -> None:
        assert (name, step_metric) == ("*", "step")

    def log(self, values: dict[str, float]) -> None:
        self.logged.append(values)

    def finish(self) -> None:
        self.finished = True


def test_weights_and_biases_goes_on_in_the_run_that_was_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[FakeRun] = []
    monkeypatch.setitem(
        sys.modules, "wandb", SimpleNamespace(init=lambda **options: runs.append(FakeRun(**options)) or runs[-1])
    )
    for step in (0, 4, 0):
        tracker = trackers.make("wandb", tmp_path, step)
        tracker.log(step + 1, {"loss": 0.5})
        tracker.close()
    first, resumed, anew = runs
    assert first.logged == [{"step": 1, "loss": 0.5}]
    assert first.finished
    assert first.options == {"dir": tmp_path, "id": first.options["id"], "name": tmp_path.name, "resume": "allow"}
    assert resumed.options["id"] == first.options["id"] != anew.options["id"]


def test_a_tracker_that_is_not_installed_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtra, match=r"\[wandb\]"):
        trackers.make("wandb", tmp_path, 0)


def test_muon_needs_a_torch_that_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.8.1+cpu")
    with pytest.raises(UsageError, match=r"train\.muon needs torch 2\.9 or newer, and this is 2\.8\.1\+cpu"):
        train_toy.trainer(tmp_path, {"muon": ["heads"]})
