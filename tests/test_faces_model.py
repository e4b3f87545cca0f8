"""The model that goes with moving faces: put together in one folder, and what an evaluation takes by its name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_towers
import typer
from safetensors.torch import save_file
from typer.testing import CliRunner

from mmi_tvr import models
from mmi_tvr.cli import evaluation
from mmi_tvr.cli._evaluation_data import default_model
from mmi_tvr.config import Section
from mmi_tvr.errors import ModelNotFound, UsageError
from mmi_tvr.experiments.pretrain import faces_model
from mmi_tvr.models.clip_pad import ClipPad
from mmi_tvr.nn.drawn_faces import DrawnFaceNetworks
from mmi_tvr.types import Query


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """What `make_faces_model.py` has before its last step, untrained, with small towers."""
    folder = tmp_path / "run"
    tiny_towers.make("clip", folder / "clip")
    save_file(DrawnFaceNetworks().state_dict(), folder / "faces.safetensors")
    faces = {"name": "drawn", "weights": str(folder / "faces.safetensors")}
    options = {"checkpoint": str(folder / "clip"), "faces": faces, "hidden": 4, "word": "somebody"}
    model = models.make(Section(name="clip_pad", **options), "cpu")
    assert isinstance(model, ClipPad)
    model.save(folder / "training" / "model", {"name": "uniform", "count": 3})
    return folder


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where models are looked for."""
    monkeypatch.setenv("MMI_TVR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MMI_TVR_MODEL", raising=False)
    return models.local_folder() / faces_model.NAME


def test_it_is_put_together_in_one_folder_that_needs_the_run_no_more(run: Path, local: Path) -> None:
    trained = models.make(models.section(str(run / "training" / "model")), "cpu")
    vectors, fingerprint = trained.embed_queries([Query("a dog")]), trained.fingerprint()
    local.mkdir(parents=True)
    (local / "notes.txt").touch()
    with pytest.raises(UsageError, match="not a model"):
        faces_model.install(run, run / "training" / "model", local)
    shutil.rmtree(local)
    for _ in range(2):  # the second one takes the place of the first
        faces_model.install(run, run / "training" / "model", local)
    shutil.rmtree(run)
    model = models.make(models.section("moving-faces"), "cpu")
    assert isinstance(model, ClipPad)
    assert model.options.word == "somebody"
    np.testing.assert_array_equal(model.embed_queries([Query("a dog")]), vectors)
    assert model.fingerprint() == fingerprint
    assert model.face_encoder().name == "drawn"
    assert models.spelled(models.section("moving-faces")) == "moving-faces"
    assert list(models.checkpoints(models.section("moving-faces"))) == []  # nothing to fetch
    assert [path.name for path in models.local_folder().iterdir()] == ["moving-faces"]
    [line] = [line for name, line in models.availability() if name == "moving-faces"]
    assert (line.ready, line.detail) == (True, "made on this machine; drawn people, by their faces (moving_faces)")
    (local / models.SETTINGS).write_text("{")
    [line] = [line for name, line in models.availability() if name == "moving-faces"]
    assert not line.ready


def test_an_evaluation_takes_it_or_says_what_makes_it(run: Path, local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer()
    evaluation.register(app)
    words = ["evaluate", "moving_faces", "--limit", "2", "-o", "kind=pictures", "--json"]

    def result() -> str:
        return CliRunner().invoke(app, words, catch_exceptions=False, standalone_mode=False).stdout

    with pytest.raises(ModelNotFound, match=r"`python scripts/make_faces_model.py` makes it.*--model"):
        result()
    monkeypatch.setenv("MMI_TVR_MODEL", "moving-shapes")
    assert default_model("moving_faces") is None
    faces_model.install(run, run / "training" / "model", local)
    assert default_model("moving_shapes") is None
    document = json.loads(result())
    assert document["config"]["model"] == {"name": "clip_pad", "weights": "moving-faces"}
    assert document["config"]["keyimages"]["name"] == "uniform"
    assert document["persons"].keys() >= {"by_face"}
