"""Whole runs from settings files: checks before anything is loaded, features once, export, resuming."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from train_shapes import CONFIG, ROOT, SMALL
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from mmi_tvr import models
from mmi_tvr.cli import _console, training
from mmi_tvr.config import Section
from mmi_tvr.datasets.moving_shapes import MovingShapes
from mmi_tvr.encoders import lora
from mmi_tvr.encoders.options import LlavaOptions
from mmi_tvr.errors import ConfigError, MmiTvrError, UsageError
from mmi_tvr.train import checkpoint
from mmi_tvr.train.loop import Outcome
from mmi_tvr.train.run import SplitData, run
from mmi_tvr.train.settings import load
from mmi_tvr.types import Query

TRAINED = sorted(path for path in (ROOT / "configs").glob("*.yaml") if "\ntrain:" in path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def finished(training_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    outcome = run(load(CONFIG, SMALL), folder, cache=training_cache, cpu=True)
    assert outcome.finished
    return folder


@pytest.mark.parametrize("path", TRAINED, ids=lambda path: path.stem)
def test_every_training_config_is_valid_and_says_how_to_run_it(path: Path) -> None:
    settings = load(path)
    assert settings.data.validation != settings.data.train
    text = path.read_text(encoding="utf-8")
    assert re.search(r"# +accelerate launch .*scripts/train.py --config configs/" + path.name, text)
    assert "emory" in text


def test_the_published_setting_is_the_papers() -> None:
    settings = load(ROOT / "configs" / "paper.yaml")
    assert "13b" in settings.model.options["llava"]["checkpoint"]
    assert settings.data.batch == 512
    assert settings.train.learning_rates["lora"] == 3e-5
    assert settings.train.stages[-1].weights == {"contrastive": 0.6, "skeleton": 0.3}
    assert settings.model.options["llava"]["lora"]["dropout"] == 0.1


@pytest.mark.parametrize(
    ("name", "language", "adapter"),
    [
        ("llava7b-qlora", {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32}, 39_976_960),
        ("llava7b-8xgpu", {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32}, 39_976_960),
        ("paper", {"hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40}, 62_586_880),
    ],
)
def test_big_models_are_built_without_memory(name: str, language: dict[str, int], adapter: int) -> None:
    """LLaVA-1.5's sizes on the meta device: what is trained is the adapter and the projector, and no more."""
    options = LlavaOptions(**load(ROOT / "configs" / f"{name}.yaml").model.options["llava"])
    heads = language["hidden_size"] // 128
    text = LlamaConfig(**language, num_attention_heads=heads, vocab_size=32064)
    vision = CLIPVisionConfig(
        hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16,
        image_size=336, patch_size=14, projection_dim=768,
    )  # fmt: skip
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=text))
    assert options.lora is not None
    wide = language["hidden_size"]
    projector = 1024 * wide + wide + wide * wide + wide
    assert lora.trainable(lora.attach(model, options.lora)) == {"lora": adapter, "projector": projector}


def test_what_is_wrong_is_said_at_once_and_together(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(
        "model: {name: mmi, llava: {checkpoint: x, gird: 2}}\n"
        "data: {train: {name: moving_shapes, split: trian}, validation: {name: nothing}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(file)
    text = str(caught.value)
    assert "trian" in text
    assert "no dataset is called 'nothing'" in text
    with pytest.raises(ConfigError, match="another split"):
        load(CONFIG, [f"data.validation={json.dumps(load(CONFIG).data.train.model_dump())}"])
    with pytest.raises(ConfigError, match=r"unknown option 'train\.stepps'"):
        load(CONFIG, ["train.stepps=3"])
    mixed = "train.stages=[{name: joint, steps: 2, weights: {contrastive: 1.0, moments: 1.0}}]"
    with pytest.raises(ConfigError, match="a run of its own"):
        load(CONFIG, [mixed])
    stages = "[{name: a, steps: 2, weights: {ranking: 1.0}, until: 500}]"
    with pytest.raises(ConfigError, match=r"`until` ends a stage by the validation; name data\.validation"):
        load(CONFIG, ["data.validation=null", f"train.stages={stages}"])
    with pytest.raises(UsageError, match="nothing to train"):
        run(load(CONFIG, [*SMALL, "model={name: label_bridge}"]), tmp_path / "run", cache=tmp_path, cpu=True)


def test_what_the_loop_would_refuse_is_said_before_videos_are_decoded(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr("mmi_tvr.train.optimizer._MUON_SINCE", "99")
    monkeypatch.setattr("mmi_tvr.train.run.split_data", lambda *_: pytest.fail("features were made"))
    for folder, changes, message in (
        (finished, [], "holds a run's checkpoints: resume it"),
        (tmp_path / "run", ["train.trackers=[wandb]"], r"\[wandb\]"),
        (tmp_path / "run", ["train.shard=true", "model.lvlm=false"], r"train\.shard: this model has no language model"),
        (tmp_path / "run", ["train.muon=[heads]"], r"train\.muon needs torch 99"),
    ):
        with pytest.raises(MmiTvrError, match=message):
            run(load(CONFIG, [*SMALL, *changes]), folder, cache=tmp_path, cpu=True)


def test_a_run_leaves_a_model_that_loads_by_its_folder(finished: Path, training_cache: Path) -> None:
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]  # where it was validated
    assert all("loss/contrastive" in line and "validation" in line for line in lines)
    best = json.loads((finished / "best.json").read_text())
    known = json.loads((finished / "model" / "model.json").read_text())
    assert known["origin"]["step"] == best["step"]
    assert known["keyimages"]["fps"] == 4
    section = models.section(str(finished / "model"))
    assert section == Section(name="mmi", weights=str(finished / "model"))
    images = models.key_images(section)
    assert images is not None
    assert images.options["floor"] == 0.001
    model = models.make(section, "cpu")
    trained = checkpoint.read_tensors(finished / best["checkpoint"], checkpoint.TRAINED)
    state = model.network.state_dict()  # type: ignore[attr-defined]
    for name, tensor in trained.items():
        torch.testing.assert_close(state[name], tensor)
    assert model.embed_queries([Query("a red ring")]).shape == (1, 192)


def test_a_model_is_trained_by_ranking_on_all_captions(
    training_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a bank that an epoch of all captions can fill, and one of one caption a video cannot."""
    pairs: set[tuple[int, int]] = set()
    describes = MovingShapes.describes
    monkeypatch.setattr(
        MovingShapes, "describes", lambda data, of, video: pairs.add((of, video)) or describes(data, of, video)
    )
    stages = "[{name: rank, steps: 3, weights: {ranking: 1.0, contrastive: 0.1}}]"
    options = [*SMALL, f"train.stages={stages}", "data.train.captions=2", "train.bank=17"]
    with pytest.raises(UsageError, match=r"train\.bank: 17 pairs, and an epoch of the training data has 16: "):
        run(load(CONFIG, options), tmp_path / "run", cache=training_cache, cpu=True)
    settings = load(CONFIG, [*options, "data.captions=all"])
    assert run(settings, tmp_path / "run", cache=training_cache, cpu=True).finished
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert 0 < line["loss/ranking"] < 2 * 1.25
    assert len(pairs) > 8 * 8  # the data set is asked which captions are true of which videos
    state = checkpoint.read_state(checkpoint.list_checkpoints(tmp_path / "run" / "checkpoints")[-1])
    assert (state["epoch"], state["taken"]) == (0, 3)  # of 16 videos with two captions, in batches of 8


def test_skeletons_join_the_training(training_cache: Path, tmp_path: Path) -> None:
    """L_s beside L_r: pairs from the model's own answers, hard negatives from its own search."""
    cache = tmp_path / "cache"
    shutil.copytree(training_cache, cache, ignore=shutil.ignore_patterns("skeletons.sqlite*"))
    stages = "[{name: joint, steps: 2, weights: {contrastive: 0.6, skeleton: 0.3}}]"
    answerer = "{name: fake}"
    options = [
        *SMALL,
        f"train.stages={stages}",
        f"rerank={{answerer: {answerer}, lambda_s: 0.05}}",
        "data.skeletons={videos: 8, near: 3}",
    ]
    outcome = run(load(CONFIG, options), tmp_path / "run", cache=cache, cpu=True)
    assert outcome.finished
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(line["loss/skeleton"] > 0 for line in lines)
    assert (cache / "skeletons.sqlite").is_file(), "where another run of the same answerer finds the answers"
    trained = models.make(models.section(str(tmp_path / "run" / "model")), "cpu")
    assert trained.rerank_section() == {"name": "skeleton", "answerer": {"name": "fake"}, "lambda_s": 0.05}


def test_a_stopped_run_goes_on_to_the_same_weights(finished: Path, training_cache: Path, tmp_path: Path) -> None:
    settings = load(CONFIG, SMALL)
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from mmi_tvr.train import loop, run, settings\n"
        "plain = loop.Trainer._after_step\n"
        "def after(self, *rest, **named):\n"
        "    plain(self, *rest, **named)\n"
        "    os.kill(os.getpid(), signal.SIGTERM) if self.step == 1 else None\n"
        "loop.Trainer._after_step = after\n"
        f"loaded = settings.load({str(CONFIG)!r}, {SMALL!r})\n"
        f"outcome = run.run(loaded, Path({str(tmp_path / 'run')!r}), cache=Path({str(training_cache)!r}), cpu=True)\n"
        "print(outcome.step, outcome.finished)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.split() == ["2", "False"], done.stderr
    with pytest.raises(UsageError, match="resume it"):
        run(settings, tmp_path / "run", cache=training_cache, cpu=True)
    assert run(settings, tmp_path / "run", cache=training_cache, cpu=True, resume=True).finished
    # To rounding: two processes may lay their memory out differently, and Adam moves a weight whose gradient is next to
    # nothing either way, so tensors are compared as wholes. tests/test_train_resuming.py holds the loop to the bit.
    for name in ("heads.safetensors", "adapter/adapter_model.safetensors"):
        once, twice = (load_file(folder / "model" / name) for folder in (finished, tmp_path / "run"))
        assert once.keys() == twice.keys()
        for key, tensor in once.items():
            assert (twice[key] - tensor).norm() <= 2e-3 * tensor.norm() + 1e-6, key


@pytest.mark.slow
def test_accelerate_launches_the_script_in_two_processes(finished: Path, tmp_path: Path) -> None:
    """Which have a share of the frozen layers each; a checkpoint is as that of one process."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    changes = [word for change in SMALL for word in ("--set", change)]
    words = [
        *launcher,
        "scripts/train.py",
        "--cpu",
        "--config",
        str(CONFIG),
        "--output",
        str(tmp_path / "run"),
        *changes,
        "--set",
        "train.shard=true",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MMI_TVR_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert "4 steps" in done.stdout
    assert (tmp_path / "run" / "model" / "model.json").is_file()
    state = checkpoint.read_state(checkpoint.list_checkpoints(tmp_path / "run" / "checkpoints")[-1])
    assert state["settings"]["processes"] == 2
    weights = load_file(tmp_path / "run" / "model" / "adapter" / "adapter_model.safetensors")
    assert {name: value.shape for name, value in weights.items()} == {
        name: value.shape
        for name, value in load_file(finished / "model" / "adapter" / "adapter_model.safetensors").items()
    }


def test_ctrl_c_says_how_a_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same command again would be refused, because there are checkpoints."""

    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mmi_tvr.train.run.run", interrupted)
    with pytest.raises(SystemExit) as raised, _console.command():
        training.train(CONFIG, tmp_path / "run", list(SMALL))
    assert raised.value.code == 130
    assert capsys.readouterr().err == (
        f"interrupted: with --resume it goes on from the newest checkpoint: {tmp_path / 'run'}\n"
    )


def test_a_training_that_was_stopped_does_not_end_as_a_finished_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What stands behind it in a script would evaluate a model that is not there."""
    stopped = Outcome(3, finished=False, checkpoint=tmp_path, best=None)
    monkeypatch.setattr("mmi_tvr.train.run.run", lambda *arguments, **options: stopped)
    with pytest.raises(SystemExit) as raised, _console.command():
        training.train(CONFIG, tmp_path / "run", list(SMALL))
    assert raised.value.code == 130
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"stopped at step 3; go on with --resume: {tmp_path / 'run'}\n")


def test_too_many_unreadable_videos_stop_a_run(training_cache: Path, tmp_path: Path) -> None:
    table = ["file\tcaption"]
    for number in range(3):
        (tmp_path / f"{number}.mp4").write_bytes(b"nothing")
        table.append(f"{number}.mp4\ta red ring {number}")
    (tmp_path / "captions.tsv").write_text("\n".join([*table, ""]))
    overrides = [f"data.train={{name: folder, root: {tmp_path}}}", "data.validation=null", *SMALL[2:]]
    with pytest.raises(UsageError, match=r"3 of 3 videos cannot be used.*0\.mp4"):
        run(load(CONFIG, overrides), tmp_path / "run", cache=training_cache, cpu=True)


def test_a_share_of_the_pairs_keeps_twins_together() -> None:
    groups = [[0, 1], [2, 3], [4, 5], [6, 7]]
    data: Any = SplitData(None, [], [], [0, 1, 2, 3, 4, 6, 7], groups, None, None)  # type: ignore[arg-type]
    assert data.divided(1.0) == ([0, 1, 2, 3, 4, 6, 7], ())
    assert data.divided(0.4) == ([0, 1, 2, 3], [4, 6, 7])
    assert data.divided(0.01) == ([0, 1], [2, 3, 4, 6, 7])


def test_unpaired_data_are_named_where_all_are_pairs() -> None:
    stages = "train.stages=[{name: a, steps: 2, weights: {contrastive: 1.0, unpaired: 1.0}}]"
    config = ROOT / "configs" / "lat-moving-shapes.yaml"
    with pytest.raises(ConfigError, match=r"data\.paired"):
        load(config, [stages])
    assert load(config, [stages, "data.paired=0.1"]).data.paired == 0.1
