"""A checkpoint that lacks weights is refused: transformers would draw them at random, and go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import tiny_llava
import tiny_multimodal
import tiny_towers
from safetensors.torch import load_file, save_file
from transformers import ConvNextImageProcessor, ResNetConfig, ResNetModel

from mmi_tvr import plugins
from mmi_tvr.encoders import llava
from mmi_tvr.encoders.clip import ClipTowers
from mmi_tvr.encoders.multimodal import MultimodalEncoder
from mmi_tvr.encoders.options import LlavaOptions
from mmi_tvr.encoders.resnet import ResNetTower
from mmi_tvr.errors import ModelNotFound


def resnet(folder: Path) -> Path:
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="bottleneck")
    ResNetModel(config).save_pretrained(folder)
    ConvNextImageProcessor(size={"shortest_edge": 56}, crop_pct=0.875).save_pretrained(folder)
    return folder


def load_llava(folder: Path) -> object:
    return llava.load(LlavaOptions(checkpoint=str(folder), lora=None), device="cpu")


def load_judge(folder: Path) -> object:
    return plugins.build("judges", "transformers", {"checkpoint": str(folder)}, device="cpu")._model


def load_towers(folder: Path) -> object:
    return ClipTowers(folder, "cpu")


CASES: dict[str, tuple[Callable[[Path], Path], Callable[[Path], object]]] = {
    **{layout: (partial(tiny_towers.make, layout), load_towers) for layout in tiny_towers.LAYOUTS},
    "qwen3_vl": (partial(tiny_multimodal.make, "qwen3_vl"), lambda folder: MultimodalEncoder(folder, "cpu")),
    "resnet": (resnet, lambda folder: ResNetTower(folder, "cpu")),
    "llava": (tiny_llava.make, load_llava),
    "judge": (tiny_llava.make, load_judge),
}


@pytest.mark.parametrize("case", CASES)
def test_weights_that_are_missing_are_not_drawn_at_random(case: str, tmp_path: Path) -> None:
    make, load = CASES[case]
    folder = make(tmp_path / "checkpoint")
    load(folder)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name, tensor in reversed(tensors.items()) if tensor.ndim > 1 and "lm_head" not in name)
    del tensors[name]
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(ModelNotFound, match=r"checkpoint: lacks 1 weight of its layout: "):
        load(folder)


@pytest.mark.parametrize("case", CASES)
def test_settings_that_are_no_settings_are_one_line(case: str, tmp_path: Path) -> None:
    """transformers raises what is no ValueError of a setting of another kind, and a TypeError of some."""
    make, load = CASES[case]
    folder = make(tmp_path / "checkpoint")
    settings = json.loads((folder / "config.json").read_text())
    if case == "resnet":
        settings["hidden_sizes"] = "wide"
    else:
        settings["text_config"] = 7
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelNotFound):
        load(folder)


def test_names_of_another_layout_are_missing_weights(tmp_path: Path) -> None:
    folder = tiny_towers.make("clip", tmp_path / "checkpoint")
    path = folder / "model.safetensors"
    save_file({f"clipmodel.{name}": tensor for name, tensor in load_file(path).items()}, path, {"format": "pt"})
    with pytest.raises(ModelNotFound, match=r"lacks \d+ weights of its layout: .*, \.\.\.$"):
        ClipTowers(folder, "cpu")
