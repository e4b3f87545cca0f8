"""Chinese-CLIP from a checkpoint of its layout to hits: indexed and searched on the command line, in both languages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_towers
import torch
import typer
from fakes import COLOURS
from typer.testing import CliRunner

from mmi_tvr.cli import library, search
from mmi_tvr.encoders.clip import ClipTowers

WORDS = {"blue": "蓝", "green": "绿", "red": "红", "yellow": "黄"}  # the videos of the fixture `folder`
STEPS = 60


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Chinese-CLIP that has learned four colours by their English and by their Chinese names."""
    folder = tiny_towers.make("chinese_clip", tmp_path_factory.mktemp("chinese-clip"))
    words = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    places = [words.index(letter) for letter in "QXYZ"]  # as many characters as there are colours
    for place, character in zip(places, WORDS.values(), strict=True):
        words[place] = character
    words[words.index("红", places[-1])] = "Q"  # a word that is there twice would be found at its last place
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    towers = ClipTowers(folder, "cpu")
    pictures = [np.full((64, 64, 3), COLOURS[name], np.uint8) for name in WORDS]
    network = towers._model
    pixels = towers._processor(images=pictures, return_tensors="pt")
    texts = [towers._sentences([*WORDS]), towers._sentences([*WORDS.values()])]
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(STEPS):
        images = torch.nn.functional.normalize(network.get_image_features(**pixels).pooler_output, dim=-1)
        loss = torch.zeros(())
        for language in texts:
            sentences = torch.nn.functional.normalize(network.get_text_features(**language).pooler_output, dim=-1)
            loss = loss + torch.nn.functional.cross_entropy(20 * sentences @ images.T, torch.arange(len(WORDS)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    network.save_pretrained(folder)
    return folder


def call(*words: object) -> str:
    app = typer.Typer()
    library.register(app)
    search.register(app)
    return CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False, standalone_mode=False).stdout


def test_a_library_is_searched_in_chinese_and_in_english(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "library"
    call("index", folder, "--library", path, "--model", checkpoint)
    for name, character in WORDS.items():
        for sentence in (character, name):
            hits = json.loads(call("search", sentence, "--library", path, "--top", 1, "--json"))["hits"]
            assert Path(hits[0]["path"]).stem == name, sentence
