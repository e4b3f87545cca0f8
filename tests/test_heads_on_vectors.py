"""Moment and matching heads: trained beside weights that stay as they are, and put into the package's model; and how
that model itself is put together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from train_shapes import ROOT, SMALL

from mmi_tvr import models
from mmi_tvr.encoders import hub
from mmi_tvr.errors import UsageError
from mmi_tvr.evaluation import nothing_found
from mmi_tvr.evaluation.nothing_found import NothingToLose, Trials
from mmi_tvr.experiments.pretrain.bundle import bundle
from mmi_tvr.experiments.pretrain.matching import bundle_matching
from mmi_tvr.experiments.pretrain.moments import bundle_moments
from mmi_tvr.models._folder import keep_unchanged
from mmi_tvr.protocols import AnsweringModel, LocatingModel
from mmi_tvr.train.run import run
from mmi_tvr.train.settings import load
from mmi_tvr.types import MatchLaw


def test_a_moment_head_is_trained_beside_what_stays_as_it_is(training_cache: Path, tmp_path: Path) -> None:
    stages = "train.stages=[{name: moments, steps: 2, weights: {moments: 1.0}}]"
    settings = load(ROOT / "configs" / "moving_shapes_moments.yaml", (*SMALL, stages, "data.moments.sentences=64"))
    outcome = run(settings, tmp_path, cache=training_cache, cpu=True)
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
    bundled_model = models.make(models.trained_section("moving-shapes"), "cpu")
    assert isinstance(model, AnsweringModel)
    assert isinstance(bundled_model, AnsweringModel)
    assert model.fingerprint() == bundled_model.fingerprint()  # what was indexed with the one is found with the other
    assert model.language_fingerprint(adapted=True) == bundled_model.language_fingerprint(adapted=True)
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
    changed = {name: tensor + 1 for name, tensor in load_file(package / "heads.safetensors").items()}
    save_file(changed, package / "heads.safetensors")
    with pytest.raises(UsageError, match="trained beside other weights"):
        bundle_moments(tmp_path / "model", package, limit=2)


@pytest.mark.parametrize("change", [0.0, 1.0])
def test_a_file_has_its_former_bytes_where_no_number_changed(tmp_path: Path, change: float) -> None:
    source, folder = tmp_path / "read", tmp_path / "written"
    former, written = torch.ones(3, dtype=torch.float16), torch.ones(3) + change
    for place, tensor in ((source, former), (folder, written)):
        place.mkdir()
        save_file({"a": tensor}, place / "heads.safetensors")
        (place / "settings.json").write_text(place.name)
    keep_unchanged(source, folder, "heads.safetensors", "settings.json")
    expected = written if change else former
    kept = load_file(folder / "heads.safetensors")["a"]
    assert torch.equal(kept, expected)
    assert kept.dtype == expected.dtype
    assert (folder / "settings.json").read_text() == ("written" if change else "read")
    keep_unchanged(source, folder, "moments.safetensors")
    assert not (folder / "moments.safetensors").exists()


@pytest.fixture(scope="module")
def matching_run(training_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """Two steps of a matching head: the run's folder, and its best validation."""
    stages = "train.stages=[{name: matching, steps: 2, weights: {matching: 1.0}}]"
    settings = load(ROOT / "configs" / "moving_shapes_matching.yaml", (*SMALL, stages, "data.matching.candidates=3"))
    folder = tmp_path_factory.mktemp("matching")
    outcome = run(settings, folder, cache=training_cache, cpu=True)
    assert outcome.best is not None
    return folder, outcome.best.value


@pytest.fixture
def trained(matching_run: tuple[Path, float], tmp_path: Path) -> Path:
    """A copy of the trained model, which a test may change."""
    return shutil.copytree(matching_run[0] / "model", tmp_path / "trained")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return shutil.copytree(hub.BUNDLED / "moving-shapes", tmp_path / "package")


def test_a_matching_head_is_trained_beside_what_stays_as_it_is(matching_run: tuple[Path, float]) -> None:
    folder, best = matching_run
    for name in ("heads.safetensors", "moments.safetensors"):
        before, after = (load_file(model / name) for model in (hub.BUNDLED / "moving-shapes", folder / "model"))
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key].float(), after[key].float()) for key in before)
    numbers = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert numbers["loss/matching"] == numbers["loss"] > 0
    assert 0 < numbers["validation"] == best <= 100


def test_a_matching_head_is_bundled_with_its_law_and_its_measurements(trained: Path, package: Path) -> None:
    document = json.loads((trained / "model.json").read_text())
    document["options"]["match_law"] = {"middle": 0.25, "slope": 2.0}  # as scripts/nothing_found.py prints it
    (trained / "model.json").write_text(json.dumps(document))
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
    score_law = models.read(hub.BUNDLED / "moving-shapes").options["score_law"]
    assert options["score_law"] == score_law, "relevance stays as it was"
    model = models.make(models.trained_section(str(package)), "cpu")
    assert model.scoring.match_law == MatchLaw(0.25, 2.0)
    assert model.fingerprint() == models.make(models.trained_section("moving-shapes"), "cpu").fingerprint()


def test_a_size_in_which_nothing_is_found_first_has_no_row(
    trained: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = nothing_found.trials

    def trials(model: Any, videos: Any, queries: Any, size: int) -> Trials:
        if size == 3:
            raise NothingToLose("among 3 videos no caption finds its video first")
        return measure(model, videos, queries, size)

    monkeypatch.setattr("mmi_tvr.evaluation.nothing_found.trials", trials)
    measured = bundle_matching(trained, package, sizes=(3, 2), limit=4)
    assert [of_size.size for of_size in measured["captions"]] == [2]


def test_a_model_without_a_matching_head_is_not_bundled(trained: Path, package: Path) -> None:
    (trained / "matching.safetensors").unlink()
    with pytest.raises(UsageError, match=r"no matching head here \(matching\.safetensors is missing\)"):
        bundle_matching(trained, package, sizes=(2,), limit=4)


def test_a_base_and_a_trained_run_become_the_packages_model(tmp_path: Path) -> None:
    bundled, trained, target = hub.BUNDLED / "moving-shapes", tmp_path / "trained", tmp_path / "moving-shapes"
    shutil.copytree(bundled, trained)
    document = json.loads((trained / "model.json").read_text(encoding="utf-8"))
    document["origin"]["settings"] = {"train": document["origin"]["train"]}  # as a run has it
    document["options"]["llava"]["checkpoint"] = str(bundled / "base")
    (trained / "model.json").write_text(json.dumps(document))
    size = bundle(bundled / "base", trained, target, limit=2)
    assert size == sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    options = models.read(bundled).as_dict()["options"]
    models.set_option(options, "llava.checkpoint", "base")  # as it lies in the folder, which can be moved
    assert models.read(target).options == options
    moved = target.rename(tmp_path / "moved")
    assert models.read_resolved(moved).options["llava"]["checkpoint"] == str(moved / "base")
    models.write(moved, models.read(moved))
    assert models.read(moved).options == options
    moved.rename(target)
    for path in bundled.rglob("*.safetensors"):
        before, after = load_file(path), load_file(target / path.relative_to(bundled))
        assert all(torch.equal(before[name], after[name]) for name in before), path.name
    card = (target / "README.md").read_text(encoding="utf-8")
    assert "Test split, 2 videos" in card
    assert f"step {document['origin']['step']}, with" in card
