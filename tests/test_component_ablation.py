"""Ablation tables: rows trained alike, pooled over seeds, and a row's run as a model of the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from train_shapes import CONFIG, ROOT, SMALL

from mmi_tvr import models, plugins
from mmi_tvr.errors import UsageError
from mmi_tvr.experiments import component_ablation
from mmi_tvr.experiments.pretrain.on_towers import bundle_on_towers
from mmi_tvr.train import checkpoint
from mmi_tvr.train.settings import load
from mmi_tvr.types import Query

LAT_ROWS = ("paper-retrieval", "none", "pairs-5-unpaired")


def test_ablation_trains_every_variant_alike(training_cache: Path, tmp_path: Path) -> None:
    markdown = component_ablation.ablate(
        CONFIG, tmp_path, seeds=1, variants=("full", "no-lvlm", "clip4clip"), overrides=SMALL, limit=6,
        cache=training_cache, cpu=True,
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
        CONFIG, tmp_path, seeds=1, variants=("full", "no-lvlm", "clip4clip"), overrides=SMALL, limit=6,
        cache=training_cache, cpu=True,
    ) == markdown  # fmt: skip
    assert (tmp_path / "full" / "seed-0" / "result.json").stat().st_mtime_ns == stamp
    with pytest.raises(UsageError, match="no variant"):
        component_ablation.ablate(CONFIG, tmp_path, variants=("nothing",), cache=training_cache)
    with pytest.raises(UsageError, match="no contrast set"):
        component_ablation.ablate(CONFIG, tmp_path, contrasts=("nothing",), cache=training_cache)


@pytest.fixture(scope="module")
def ablated(training_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and the table of some rows of LaT's ablation."""
    folder = tmp_path_factory.mktemp("ablation")
    config = ROOT / "configs" / "lat-moving-shapes.yaml"
    small = ["data.train.count=40", "data.validation.count=4", "data.batch=2", "train.validate_every=2",
             "model.translator={depth: 1, width: 16, heads: 2, feed_forward: 16}",
             "train.stages=[{name: a, steps: 2, weights: {contrastive: 1.0, cycle: 1.0}}]"]  # fmt: skip
    markdown = component_ablation.ablate(
        config,
        folder,
        seeds=1,
        variants=LAT_ROWS,
        overrides=small,
        limit=4,
        contrasts=["role"],
        cache=training_cache,
        cpu=True,
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


def test_rows_of_labels_and_of_other_data(training_cache: Path, tmp_path: Path) -> None:
    config = ROOT / "configs" / "mcsan-moving-shapes.yaml"
    weights = "{contrastive: 1, attributes: 0.1, distribution: 0.001}"
    small = ["data.train.count=40", "data.validation.count=4", "data.batch=2", "train.validate_every=2",
             "model.width=8", "model.heads=2",
             f"train.stages=[{{name: a, steps: 2, weights: {weights}}}]"]  # fmt: skip
    names = ("no-relation", "ranking", "clip4clip")
    markdown = component_ablation.ablate(
        config, tmp_path, seeds=1, variants=names, overrides=small, limit=4, cache=training_cache, cpu=True
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
    if name.startswith("pairs-"):  # these rows are of other data
        assert settings.data.paired == int(name.split("-")[1]) / 100
        assert settings.model == component_ablation.variant_settings(base, rows["full"], 2).model
        return
    assert settings.data == base.data
    full, other = (
        plugins.options("models", "mmi", variant.model.options).model_dump()
        for variant in (component_ablation.variant_settings(base, rows["full"], 2), settings)
    )
    changed = checkpoint.differences(full, other)
    assert len(changed) == 1
