"""The judge's adapter: the pairs that it learns from, noise, and its way into the package."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_llava
import torch
from safetensors.torch import load_file

from mmi_tvr import models, plugins
from mmi_tvr.datasets.moving_shapes import MovingShapes
from mmi_tvr.encoders import hub, llava
from mmi_tvr.encoders.options import LlavaOptions, LoraOptions
from mmi_tvr.errors import UsageError
from mmi_tvr.experiments.pretrain import judge
from mmi_tvr.experiments.pretrain.judge import RECORD, JudgeStage, right_judgements, train_judge
from mmi_tvr.experiments.pretrain.judge_bundle import bundle_judge
from mmi_tvr.experiments.pretrain.judge_pairs import JudgePairs, true_skeleton
from mmi_tvr.experiments.pretrain.noise import LEARNED, UNSEEN, draw_noise, shuffled_words
from mmi_tvr.experiments.pretrain.options import JudgeTrainingOptions
from mmi_tvr.utils.interruption import Interrupted
from mmi_tvr.utils.progress import Silent

BUNDLED = hub.BUNDLED / "moving-shapes"


@pytest.fixture(scope="module")
def dataset() -> MovingShapes:
    split = plugins.build("datasets", "moving_shapes", {"split": "train", "count": 60})
    assert isinstance(split, MovingShapes)
    return split


def test_noise_is_drawn_anew_and_what_is_measured_was_not_all_learned() -> None:
    assert not LEARNED.keys() & UNSEEN.keys()
    for name, draw in {**LEARNED, **UNSEEN}.items():
        texts = [draw(np.random.default_rng(seed)) for seed in range(40)]
        assert all(text.strip() and len(text) <= 400 for text in texts), name
        assert len(set(texts)) > 5, name
        assert texts[0] == draw(np.random.default_rng(0)), name
    drawn = {draw_noise(np.random.default_rng(seed)) for seed in range(50)}
    assert len(drawn) > 30
    assert sorted(shuffled_words("a red circle", np.random.default_rng(1)).split()) == ["a", "circle", "red"]


def test_pairs_are_own_videos_others_and_noise(dataset: MovingShapes) -> None:
    pairs = JudgePairs(dataset, 8, seed=0)
    batch = pairs.draw(600, np.random.default_rng(0))
    match = batch["match"].numpy()
    assert 0.3 < match.mean() < 0.6
    answers = {true_skeleton(spec, "video") for spec in dataset.specs()}
    whole = {true_skeleton(spec, "text") for spec in dataset.specs()}
    assert sum(video in answers for video in batch["video"]) > 100  # as searches ask, nothing mistaken or left out
    texts = np.array([text in whole for text in batch["text"]])
    assert 0.15 < texts.mean() < 0.8  # others say a part of a video, or were asked something else
    fitting = {(true_skeleton(spec, "text"), true_skeleton(spec, "video")) for spec in dataset.specs()}
    triples = zip(batch["text"], batch["video"], match, strict=True)
    verdicts = [fits for text, video, fits in triples if (text, video) in fitting]
    assert len(verdicts) > 30
    assert np.mean(verdicts) > 0.95  # of two scenes that differ in what nobody asks, one may not fit
    ordered = [video for video in batch["video"] if video.endswith(("answer yes", "answer no", "say yes", "say no"))]
    assert ordered


def test_batches_hang_on_seed_epoch_and_number_alone(dataset: MovingShapes) -> None:
    first, again = (list(JudgePairs(dataset, 16, seed=3).epoch(1)) for _ in range(2))
    assert [batch["video"] for batch in first] == [batch["video"] for batch in again]
    skipped = list(JudgePairs(dataset, 16, seed=3).epoch(1, skip=2))
    assert [batch["text"] for batch in skipped] == [batch["text"] for batch in first[2:]]
    assert next(iter(JudgePairs(dataset, 16, seed=4).epoch(1)))["text"] != first[0]["text"]


def test_the_adapter_learns_and_nothing_else_does(tmp_path: Path) -> None:
    options = LlavaOptions(
        checkpoint=str(tiny_llava.make(tmp_path)), grid=1, lora=LoraOptions(rank=4, dropout=0.0, projector=False)
    )
    stage = JudgeStage(llava.load(options, device="cpu", trainable=True))
    trained = list(stage.parameter_groups()["lora"])
    names = {name for name, parameter in stage.named_parameters() if parameter.requires_grad}
    assert names
    assert all("lora_" in name for name in names)
    fits = [("red circle", "red circle"), ("blue square", "blue square"), ("red circle", "left"), ("blue square", "a")]
    batch = {
        "ids": [0, 1, 2, 3],
        "text": [text for text, _ in fits],
        "video": [video for _, video in fits],
        "match": torch.tensor([True, True, False, False]),
    }
    optimizer = torch.optim.AdamW(trained, lr=0.02)
    losses = []
    for _ in range(25):
        loss = stage.loss_terms(batch, ["judged"])["judged"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert stage.read(batch)[2].tolist() == [False, False, True, True]  # the shortest first, as the logits are


def test_an_adapter_is_trained_from_the_one_that_searches_and_a_finished_run_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "_VALIDATION_BATCHES", 1)
    options = JudgeTrainingOptions(videos=8, steps=2, batch=2, precision="float32")
    right = train_judge("moving-shapes", tmp_path, options, cpu=True)
    record = json.loads((tmp_path / RECORD).read_text(encoding="utf-8"))
    assert 0 < record["right"] == right < 100
    assert record["options"] == options.model_dump(mode="json")
    searching, judging = (
        load_file(folder / "adapter_model.safetensors") for folder in (BUNDLED / "adapter", tmp_path / "judge")
    )
    assert judging.keys() <= searching.keys()
    largest = max(float((judging[name] - searching[name].float()).abs().max()) for name in judging)
    assert 0 < largest < 3 * options.rate * options.steps
    assert train_judge("moving-shapes", tmp_path, options, cpu=True) == right


@pytest.mark.parametrize("last", [1, 4])
def test_a_run_that_is_asked_to_stop_makes_no_judge_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    """Before the first validation, and behind it."""

    class Stopping(Silent):
        steps = 0

        def advance(self, steps: int = 1) -> None:
            self.steps += steps
            if self.steps == last:
                os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(judge, "_VALIDATION_BATCHES", 1)
    monkeypatch.setattr(judge, "_VALIDATIONS", 2)
    options = JudgeTrainingOptions(videos=8, steps=6, batch=2, precision="float32")
    with pytest.raises(Interrupted):
        train_judge("moving-shapes", tmp_path, options, progress=Stopping(), cpu=True)
    assert not (tmp_path / RECORD).exists()
    assert not (tmp_path / "judge").exists()
    train_judge("moving-shapes", tmp_path, options, cpu=True)
    assert (tmp_path / RECORD).exists()


def test_right_judgements_are_counted_over_all_batches() -> None:
    class Stage:
        def read(self, batch: tuple[list[float], list[bool]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            yes, match = batch
            return torch.tensor(yes), torch.zeros(len(yes)), torch.tensor(match)

    batches: Any = [([1.0, -1.0, 1.0], [True, True, False]), ([-1.0], [False])]
    assert right_judgements(Stage(), batches) == 50  # type: ignore[arg-type]


def test_a_judge_is_bundled_when_it_is_measured_or_not_at_all(tmp_path: Path) -> None:
    folder, run = tmp_path / "moving-shapes", tmp_path / "run"
    shutil.copytree(BUNDLED, folder)
    before = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=r"no finished training of a judge \(judge.json is missing\)"):
        bundle_judge(run, folder)
    shutil.copytree(BUNDLED / "judge", run / "judge")
    origin = models.read(BUNDLED).as_dict()["origin"]["judge"]
    (run / RECORD).write_text(json.dumps({**origin, "step": 7}), encoding="utf-8")
    (run / "judge" / "adapter_model.safetensors").rename(run / "away")
    with pytest.raises(OSError, match="adapter_model"):
        bundle_judge(run, folder, limit=1)
    assert {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    (run / "away").rename(run / "judge" / "adapter_model.safetensors")
    table = bundle_judge(run, folder, limit=2)
    assert "| the own video | 2 |" in "\n".join(table)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "step 7 of" in card
    assert card.count("## Judge") == card.count("## Moments") == 1
    changed = {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and before[path.relative_to(folder)] != path.read_bytes()
    }
    assert changed <= {"README.md", "model.json"}  # its settings name the base as the model's do
