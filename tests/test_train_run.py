"""Whole runs from settings files: checks before anything is loaded, features once, export, resuming, the ablation."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from mmi_tvr import models, plugins
from mmi_tvr.config import Section
from mmi_tvr.datasets.moving_shapes import MovingShapes
from mmi_tvr.encoders import hub, lora
from mmi_tvr.encoders.options import LlavaOptions
from mmi_tvr.errors import ConfigError, UsageError
from mmi_tvr.experiments import component_ablation
from mmi_tvr.experiments.pretrain.matching import bundle_matching
from mmi_tvr.experiments.pretrain.moments import bundle_moments
from mmi_tvr.experiments.pretrain.on_towers import bundle_on_towers
from mmi_tvr.protocols import LocatingModel
from mmi_tvr.train import checkpoint
from mmi_tvr.train.run import SplitData, run
from mmi_tvr.train.settings import load
from mmi_tvr.types import MatchLaw, Query

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "configs" / "moving_shapes.yaml"
LAT_ROWS = ("paper-retrieval", "none", "pairs-5-unpaired")
TRAINED = sorted(path for path in (ROOT / "configs").glob("*.yaml") if "\ntrain:" in path.read_text(encoding="utf-8"))
STAGES = (
    "[{name: masked, steps: 1, weights: {caption: 1.0, masked: 1.0}}, "
    "{name: joint, steps: 3, weights: {contrastive: 1.0}}]"
)
SMALL = (
    "data.train.count=16",
    "data.validation.count=8",
    "data.batch=8",
    f"train.stages={STAGES}",
    "train.validate_every=2",
    "train.precision=float32",
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="module")
def finished(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    outcome = run(load(CONFIG, SMALL), folder, cache=cache, cpu=True)
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
        load(CONFIG, ["data.validation={name: moving_shapes, split: train}"])
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


def test_a_run_leaves_a_model_that_loads_by_its_folder(finished: Path, cache: Path) -> None:
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
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
        run(load(CONFIG, options), tmp_path / "run", cache=cache, cpu=True)
    settings = load(CONFIG, [*options, "data.captions=all"])
    assert run(settings, tmp_path / "run", cache=cache, cpu=True).finished
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert 0 < line["loss/ranking"] < 2 * 1.25
    assert len(pairs) > 8 * 8  # the data set is asked which captions are true of which videos
    state = checkpoint.read_state(checkpoint.list_checkpoints(tmp_path / "run" / "checkpoints")[-1])
    assert (state["epoch"], state["taken"]) == (0, 3)  # of 16 videos with two captions, in batches of 8


def test_skeletons_join_the_training(cache: Path, tmp_path: Path) -> None:
    """L_s beside L_r: pairs from the run's own answers, hard negatives from its own search."""
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
    assert (tmp_path / "run" / "skeletons.sqlite").is_file()
    trained = models.make(models.section(str(tmp_path / "run" / "model")), "cpu")
    assert trained.rerank_section() == {"name": "skeleton", "answerer": {"name": "fake"}, "lambda_s": 0.05}


def test_a_moment_head_is_trained_beside_what_stays_as_it_is(cache: Path, tmp_path: Path) -> None:
    stages = "train.stages=[{name: moments, steps: 2, weights: {moments: 1.0}}]"
    settings = load(ROOT / "configs" / "moving_shapes_moments.yaml", (*SMALL, stages, "data.moments.sentences=64"))
    outcome = run(settings, tmp_path, cache=cache, cpu=True)
    assert outcome.best is not None
    bundled = hub.BUNDLED / "moving-shapes"
    before, after = (load_file(folder / "heads.safetensors") for folder in (bundled, tmp_path / "model"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name].float(), after[name].float()) for name in before)
    former, head = (load_file(folder / "moments.safetensors") for folder in (bundled, tmp_path / "model"))
    assert former.keys() == head.keys()
    assert not any(torch.allclose(former[name].float(), head[name], atol=0.02) for name in head if "linear" in name)
    model = models.make(models.trained_section(str(tmp_path / "model")), "cpu")
    assert isinstance(model, LocatingModel)
    numbers = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert numbers["loss/moments"] == numbers["loss"] > 0
    assert 0 < numbers["validation"] == outcome.best.value < 100
    package = tmp_path / "package"
    shutil.copytree(bundled, package)
    report = bundle_moments(tmp_path / "model", package, limit=2)
    assert report.sets["captions"].n == 2
    card = (package / "README.md").read_text(encoding="utf-8")
    assert card.count("## Moments") == card.count("## Limits") == 1
    assert "step 2 of 2, with an mIoU of" in card
    halved = load_file(package / "moments.safetensors")
    assert all(torch.equal(halved[name], head[name].half()) for name in head)
    assert models.read(package).origin["moments"]["data"]["moments"]["sentences"] == 64
    before = {path: path.read_bytes() for path in package.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="count"):
        bundle_moments(tmp_path / "model", package, limit=0)
    silent = tmp_path / "silent"
    shutil.copytree(tmp_path / "model", silent)
    settings_file = silent / "model.json"
    document = json.loads(settings_file.read_text())
    document["origin"]["validation"] = None  # what a run without validation data writes
    settings_file.write_text(json.dumps(document))
    with pytest.raises(UsageError, match="no run with validation data wrote it"):
        bundle_moments(silent, package, limit=2)
    assert before == {path: path.read_bytes() for path in before}, "what was refused changes nothing"
    (package / "heads.safetensors").write_bytes((tmp_path / "model" / "heads.safetensors").read_bytes())
    with pytest.raises(UsageError, match="trained beside other weights"):
        bundle_moments(tmp_path / "model", package, limit=2)


def test_a_matching_head_is_trained_beside_what_stays_as_it_is(cache: Path, tmp_path: Path) -> None:
    stages = "train.stages=[{name: matching, steps: 2, weights: {matching: 1.0}}]"
    settings = load(ROOT / "configs" / "moving_shapes_matching.yaml", (*SMALL, stages, "data.matching.candidates=3"))
    outcome = run(settings, tmp_path, cache=cache, cpu=True)
    assert outcome.best is not None
    bundled, trained = hub.BUNDLED / "moving-shapes", tmp_path / "model"
    for name in ("heads.safetensors", "moments.safetensors"):
        before, after = (load_file(folder / name) for folder in (bundled, trained))
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key].float(), after[key].float()) for key in before)
    numbers = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert numbers["loss/matching"] == numbers["loss"] > 0
    assert 0 < numbers["validation"] == outcome.best.value <= 100
    document = json.loads((trained / "model.json").read_text())
    document["options"]["match_law"] = {"middle": 0.25, "slope": 2.0}  # as scripts/nothing_found.py prints it
    (trained / "model.json").write_text(json.dumps(document))
    package = tmp_path / "package"
    shutil.copytree(bundled, package)
    measured = bundle_matching(trained, package, sizes=(2,), limit=4)
    assert set(measured) == {"captions", "events", "short"}
    assert measured["captions"][0].size == 2
    card = (package / "README.md").read_text(encoding="utf-8")
    assert [line for line in card.splitlines() if line.startswith("## ")][-2:] == [
        "## Whether anything matches",
        "## Limits",
    ]
    assert "| captions | 2 |" in card
    assert "step 2 of 2, with an\narea of" in card
    head, halved = load_file(trained / "matching.safetensors"), load_file(package / "matching.safetensors")
    assert all(torch.equal(halved[name], head[name].half()) for name in head)
    options = models.read(package).options
    assert options["match_law"]["middle"] == 0.25
    assert options["score_law"] == models.read(bundled).options["score_law"], "relevance stays as it was"
    model = models.make(models.trained_section(str(package)), "cpu")
    assert model.scoring.match_law == MatchLaw(0.25, 2.0)
    assert model.fingerprint() == models.make(models.trained_section("moving-shapes"), "cpu").fingerprint()
    (trained / "matching.safetensors").unlink()
    with pytest.raises(UsageError, match=r"no matching head here \(matching\.safetensors is missing\)"):
        bundle_matching(trained, package, sizes=(2,), limit=4)


def test_a_stopped_run_goes_on_to_the_same_weights(finished: Path, cache: Path, tmp_path: Path) -> None:
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
        f"outcome = run.run(loaded, Path({str(tmp_path / 'run')!r}), cache=Path({str(cache)!r}), cpu=True)\n"
        "print(outcome.step, outcome.finished)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.split() == ["2", "False"], done.stderr
    with pytest.raises(UsageError, match="resume it"):
        run(settings, tmp_path / "run", cache=cache, cpu=True)
    assert run(settings, tmp_path / "run", cache=cache, cpu=True, resume=True).finished
    # To rounding: two processes may lay their memory out differently, and Adam moves a weight whose gradient is next to
    # nothing either way, so tensors are compared as wholes. tests/test_train_resuming.py holds the loop to the bit.
    for name in ("heads.safetensors", "adapter/adapter_model.safetensors"):
        once, twice = (load_file(folder / "model" / name) for folder in (finished, tmp_path / "run"))
        assert once.keys() == twice.keys()
        for key, tensor in once.items():
            assert (twice[key] - tensor).norm() <= 2e-3 * tensor.norm() + 1e-6, key


def test_accelerate_launches_the_script_in_two_processes(cache: Path, tmp_path: Path) -> None:
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
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MMI_TVR_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert "4 steps" in done.stdout
    assert (tmp_path / "run" / "model" / "model.json").is_file()
    state = checkpoint.read_state(checkpoint.list_checkpoints(tmp_path / "run" / "checkpoints")[-1])
    assert state["settings"]["processes"] == 2


def test_too_many_unreadable_videos_stop_a_run(cache: Path, tmp_path: Path) -> None:
    table = ["file\tcaption"]
    for number in range(3):
        (tmp_path / f"{number}.mp4").write_bytes(b"nothing")
        table.append(f"{number}.mp4\ta red ring {number}")
    (tmp_path / "captions.tsv").write_text("\n".join([*table, ""]))
    overrides = [f"data.train={{name: folder, root: {tmp_path}}}", "data.validation=null", *SMALL[2:]]
    with pytest.raises(UsageError, match=r"3 of 3 videos cannot be used.*0\.mp4"):
        run(load(CONFIG, overrides), tmp_path / "run", cache=cache, cpu=True)


def test_ablation_trains_every_variant_alike(cache: Path, tmp_path: Path) -> None:
    markdown = component_ablation.ablate(
        CONFIG, tmp_path, seeds=1, variants=("full", "no-lvlm", "clip4clip"), overrides=SMALL, limit=6, cache=cache,
        cpu=True,
    )  # fmt: skip
    rows = markdown.splitlines()
    assert rows[0].count("|") == rows[1].count("|") == rows[2].count("|") == 26
    assert [row.split(" | ")[0].strip("| ") for row in rows[2:5]] == [
        models.variants("mmi")[name].title for name in ("full", "no-lvlm", "clip4clip")
    ]
    assert "joint: 3 steps of 8 pairs (contrastive)" in rows[-1]
    assert "Tested on 6 queries" in rows[-1]
    assert (tmp_path / "ablation.md").read_text() == markdown + "\n"
    steps = {
        name: checkpoint.list_checkpoints(tmp_path / name / "seed-0" / "checkpoints")[-1].name
        for name in ("full", "no-lvlm")
    }
    assert steps == {"full": "step-00000004", "no-lvlm": "step-00000003"}  # L_m is the large model's own
    stamp = (tmp_path / "full" / "seed-0" / "result.json").stat().st_mtime_ns
    assert component_ablation.ablate(
        CONFIG, tmp_path, seeds=1, variants=("full", "no-lvlm", "clip4clip"), overrides=SMALL, limit=6, cache=cache,
        cpu=True,
    ) == markdown  # fmt: skip
    assert (tmp_path / "full" / "seed-0" / "result.json").stat().st_mtime_ns == stamp
    with pytest.raises(UsageError, match="no variant"):
        component_ablation.ablate(CONFIG, tmp_path, variants=("nothing",), cache=cache)
    with pytest.raises(UsageError, match="no contrast set"):
        component_ablation.ablate(CONFIG, tmp_path, contrasts=("nothing",), cache=cache)


@pytest.fixture(scope="module")
def ablated(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and the table of some rows of LaT's ablation."""
    folder = tmp_path_factory.mktemp("ablation")
    config = ROOT / "configs" / "lat-moving-shapes.yaml"
    small = ["data.train.count=40", "data.validation.count=4", "data.batch=2", "train.validate_every=2",
             "model.translator={depth: 1, width: 16, heads: 2, feed_forward: 16}",
             "train.stages=[{name: a, steps: 2, weights: {contrastive: 1.0, cycle: 1.0}}]"]  # fmt: skip
    markdown = component_ablation.ablate(
        config, folder, seeds=1, variants=LAT_ROWS, overrides=small, limit=4, contrasts=["role"], cache=cache, cpu=True
    )
    return folder, markdown


def test_a_row_that_is_searched_otherwise_is_trained_once(ablated: tuple[Path, str]) -> None:
    folder, markdown = ablated
    header, _, *rows = (row.split(" | ") for row in markdown.splitlines() if row.startswith("|"))
    assert len(rows) == len(LAT_ROWS)  # the row that it is trained as is trained, and not shown until it is measured
    assert (folder / "full" / "seed-0" / "model").is_dir()
    assert not (folder / "paper-retrieval" / "seed-0" / "model").exists()
    result = json.loads((folder / "paper-retrieval" / "seed-0" / "result.json").read_text())
    assert result["settings"]["model"]["retrieval"] == "paper"
    assert {name: len(values) for name, values in result["translation"].items()} == {
        "pairs": 2,
        "others": 2,
        "cycle": 2,
    }
    logged = (folder / "pairs-5-unpaired" / "seed-0" / "metrics.jsonl").read_text()
    assert "loss/unpaired" in logged
    assert "role" in header
    assert "order" not in header
    paper = header.index("paper: T2V")
    assert [row[paper] for row in rows] == ["-", "19.4 [17.1, 22.0] / 38.6 / 48.4 / 11.5", "-"]


def test_a_run_on_the_bundled_towers_becomes_a_model_of_the_package(ablated: tuple[Path, str], tmp_path: Path) -> None:
    trained, target = ablated[0] / "full" / "seed-0" / "model", tmp_path / "lat-small"
    assert bundle_on_towers(trained, target, limit=2, note="A test.") < 1e-3
    (tensors,) = (load_file(path) for path in target.glob("*.safetensors"))
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    card = (target / "README.md").read_text(encoding="utf-8")
    for words in ("# lat-small", "40 training videos", "2 steps of 2 pairs", "T2V R@1", "A test.", "| order |"):
        assert words in card
    settings = json.loads((target / "model.json").read_text(encoding="utf-8"))
    assert settings["options"]["checkpoint"] == "moving-shapes/base/clip"
    assert str(trained.parent) not in json.dumps(settings)
    model = models.make(models.trained_section(str(target)), "cpu")
    assert model.embed_queries([Query("a red circle grows")]).shape == (1, 544)
    (target / "model.json").write_text(json.dumps({**settings, "origin": {}}))
    with pytest.raises(UsageError, match="validation data"):
        bundle_on_towers(target, tmp_path / "other")
    of_run = json.loads((trained / "model.json").read_text(encoding="utf-8"))
    of_run["options"]["checkpoint"] = str(tmp_path)
    (target / "model.json").write_text(json.dumps(of_run))
    with pytest.raises(UsageError, match="not bundled"):
        bundle_on_towers(target, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_rows_of_labels_and_of_other_data(cache: Path, tmp_path: Path) -> None:
    config = ROOT / "configs" / "mcsan-moving-shapes.yaml"
    weights = "{contrastive: 1, attributes: 0.1, distribution: 0.001}"
    small = ["data.train.count=40", "data.validation.count=4", "data.batch=2", "train.validate_every=2",
             "model.width=8", "model.heads=2",
             f"train.stages=[{{name: a, steps: 2, weights: {weights}}}]"]  # fmt: skip
    names = ("no-relation", "ranking", "clip4clip")
    markdown = component_ablation.ablate(
        config, tmp_path, seeds=1, variants=names, overrides=small, limit=4, cache=cache, cpu=True
    )
    header, _, *rows = ([cell.strip() for cell in row.strip("|").split("|")] for row in markdown.splitlines()[:5])
    precision, printed = header.index("of the rare half"), header.index("paper: T2V")
    cells = {row[0]: row for row in rows}
    assert list(cells) == [models.variants("mcsan")[name].title for name in names]
    titles = {name: models.variants("mcsan")[name].title for name in names}
    assert cells[titles["no-relation"]][printed:] == ["9.4 / 27.1 / 37.9", "17.2 / 42.3 / 54.7", "195.8, 188.6"]
    assert "relation" not in cells[titles["no-relation"]][precision]
    assert "relation" in cells[titles["ranking"]][precision]
    assert cells[titles["clip4clip"]][precision] == "-"
    skewed = component_ablation.variant_settings(load(config), models.variants("mcsan")["skew-bce"], 0)
    assert skewed.data.train.options["skew"] == 1.5
    assert skewed.data.validation is not None
    assert "skew" not in skewed.data.validation.options
    assert skewed.model.options["focal"] is False
    logged = (tmp_path / "ranking" / "seed-0" / "metrics.jsonl").read_text()
    assert "loss/ranking" in logged
    assert "loss/contrastive" not in logged


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


def test_ablation_rows_pool_seeds_by_video() -> None:
    def result(ranks: list[int], seed: int | None) -> dict[str, Any]:
        return {
            "seed": seed,
            "t2v": ranks,
            "v2t": ranks,
            "videos": ["a", "b", "c", "d"],
            "contrast": dict.fromkeys(component_ablation.CONTRASTS, 50.0),
        }

    variants = {name: models.variants("mmi")[name] for name in ("full", "no-lvlm", "clip4clip")}
    results = {
        "full": [result([1, 1, 1, 2], 0), result([1, 1, 2, 2], 1)],
        "no-lvlm": [result([2, 2, 2, 2], 0), result([1, 2, 2, 12], 1), result([9, 9, 9, 9], 2)],
        "clip4clip": [result([1, 2, 2, 2], None)],
    }
    header, full, trained, untrained = (
        [cell.strip() for cell in row.strip("|").split("|")]
        for number, row in enumerate(component_ablation.table(variants, results, "full").splitlines())
        if number != 1
    )
    assert header[:8] == ["variant", "seeds", "T2V R@1", "sd", "minus full", "T2V R@5", "T2V R@10", "T2V MdR"]
    assert full[1:3] == ["2", full[2]]
    assert full[2].startswith("62.5 [")
    assert full[4] == "-"
    assert full[3] == f"{np.std([75, 50], ddof=1):.1f}"
    assert trained[2].startswith("8.3 [")
    assert trained[5:8] == ["58.3", "91.7", "2"]
    assert trained[4].startswith("-50.0 [")  # of the seeds that both have
    assert untrained[4].startswith("-37.5 [")
    assert full[-3].startswith("52.4 [49.3")
    sums = header.index("SumR")
    assert full[sums].startswith("525.0 [")  # 62.5 + 100 + 100, both ways
    assert full[sums + 1] == "-"
    assert trained[sums + 1].startswith("-150.0 [")
    assert untrained[sums + 1].startswith("-75.0 [")
    assert full[-2].startswith("51.2 [")


@pytest.mark.parametrize("name", [name for name in models.variants("mmi") if name not in ("full", "clip4clip")])
def test_each_variant_is_one_switch(name: str) -> None:
    base, rows = load(CONFIG), models.variants("mmi")
    settings = component_ablation.variant_settings(base, rows[name], 2)
    assert settings.train.seed == 2
    assert settings.data == base.data
    full, other = (
        plugins.options("models", "mmi", variant.model.options).model_dump()
        for variant in (component_ablation.variant_settings(base, rows["full"], 2), settings)
    )
    changed = checkpoint.differences(full, other)
    assert len(changed) == 1
