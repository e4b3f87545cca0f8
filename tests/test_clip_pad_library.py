"""A library whose model reads faces itself: from films and a photo to hits, as the command line does it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_towers
import torch
import typer
from people_media import drawn, film
from PIL import Image
from typer.testing import CliRunner

from mmi_tvr import models
from mmi_tvr.cli import library as cli_library
from mmi_tvr.cli import people, search
from mmi_tvr.config import Section
from mmi_tvr.library import Library
from mmi_tvr.models.clip_pad import ClipPad
from mmi_tvr.types import Person, Query


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder on small towers, whose words for faces are random."""
    folder = tmp_path_factory.mktemp("model")
    towers = tiny_towers.make("clip", folder / "towers")
    model = models.make(
        Section(name="clip_pad", checkpoint=str(towers), faces={"name": "fake"}, hidden=8, word="shape"), "cpu"
    )
    assert isinstance(model, ClipPad)
    with torch.no_grad():
        model.network.mlp[2].weight.normal_(generator=torch.Generator().manual_seed(1))
    model.save(folder / "trained", keyimages={"name": "uniform", "count": 2})
    return folder / "trained"


def test_a_face_is_read_by_the_model_and_a_name_otherwise(trained: Path, tmp_path: Path) -> None:
    film(tmp_path / "clips" / "anna.mp4", ["anna"])
    film(tmp_path / "clips" / "ben.mp4", ["ben"])
    Image.fromarray(drawn("anna")).save(tmp_path / "anna.png")
    library = str(tmp_path / "library")

    app = typer.Typer()
    for commands in (cli_library, people, search):
        commands.register(app)

    def run(*words: str) -> dict[str, Any]:
        done = CliRunner().invoke(app, [*words, "--library", library, "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    run("index", str(tmp_path / "clips"), "--model", str(trained), "--people", "--set", "faces.name=fake")
    run("people", "add", "anna", str(tmp_path / "anna.png"))
    result = run("search", "[anna] waves", "--min-relevance", "0")
    assert {Path(hit["path"]).stem for hit in result["hits"]} == {"anna", "ben"}
    assert [person["name"] for hit in result["hits"] for person in hit.get("people", [])] == ["anna"]
    only = run("search", "[anna] waves", "--min-relevance", "0", "--only")
    assert [Path(hit["path"]).stem for hit in only["hits"]] == ["anna"]

    model = models.make(models.trained_section(str(trained)), "cpu")
    assert isinstance(model, ClipPad)
    encoder = model.face_encoder()
    picture = drawn("anna")
    anna = Person(encoder.describe(picture, encoder.detect(picture)), encoder.fingerprint())
    with Library(library) as opened:
        [hit] = opened.search("[anna] waves", min_relevance=0, only=True)
        [by_vector] = opened.search(Query("[a] waves", persons={"a": anna}), min_relevance=0, only=True)
        named = {one.path.stem: one for one in opened.search("anna waves", literal=True, min_relevance=0)}
    assert hit.score == pytest.approx(by_vector.score, abs=1e-5)
    assert abs(hit.score - named["anna"].score) > 1e-3
