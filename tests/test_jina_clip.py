"""Jina-CLIP v2: checkpoints of the published layout against the published equations (plain_jina)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_jina
import torch
from PIL import Image
from plain_jina import PlainEva, PlainRoberta
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoTokenizer

from mmi_tvr import models
from mmi_tvr.encoders import hub
from mmi_tvr.encoders.clip import ClipTowers
from mmi_tvr.encoders.clip_tokens import ClipTokenTowers
from mmi_tvr.errors import ModelNotFound
from mmi_tvr.models import clip4clip
from mmi_tvr.types import Features, Query

SENTENCES = ["a red dog", "A", "一只红狗 runs, and runs again"]


def pictures(count: int = 2) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, 45, 60, 3), dtype=np.uint8))


def pixels(folder: Path, picture: np.ndarray) -> Tensor:
    """A picture as the authors' processor prepares it: its shorter side becomes the square's, the middle is cut out."""
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    side = settings["size"]
    image = Image.fromarray(picture).resize((side * 60 // 45, side), Image.Resampling.BICUBIC)
    left = (image.width - side) // 2
    values = np.asarray(image.crop((left, 0, left + side, side)), np.float32) / 255
    return torch.from_numpy((values - settings["mean"]) / settings["std"]).float().permute(2, 0, 1)


VARIANTS: dict[str, dict[str, Any]] = {
    "as published": {},
    "another adapter, and its instruction": {
        "text": {"default_lora_task": "text-matching", "default_instruction_task": "text-matching"}
    },
    "no adapter, matrices behind the towers": {
        "text": {"default_lora_task": None, "embed_dim": 10, "proj_type": "linear", "proj_bias": True},
        "vision": {"embed_dim": 10, "proj_type": "linear"},
    },
    "the block of EVA01": {"vision": {"naive_swiglu": False, "subln": False, "intp_freq": False, "qkv_bias": False}},
    "norms behind, scaled": {"vision": {"post_norm": True, "ls_init_value": 0.1, "rope_embeddings": False}},
    "projections": {
        "text": {"embed_dim": 14, "proj_type": "mlp"}, "add_projections": True, "projection_dim": 9,
    },
}  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_both_towers_are_the_published_equations(variant: str, tmp_path: Path) -> None:
    folder = tiny_jina.make(tmp_path / "jina", **VARIANTS[variant])
    towers = ClipTowers(folder, "cpu", batch=2)
    expected = torch.stack([PlainEva(folder).vector(pixels(folder, picture)) for picture in pictures()])
    np.testing.assert_allclose(towers.embed_images(pictures()), expected, atol=2e-5)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    before = "compare: " if "instruction" in variant else ""
    ids = [tokenizer(before + sentence)["input_ids"] for sentence in SENTENCES]
    assert len({len(one) for one in ids}) == len(SENTENCES), "padding is in play"
    expected = torch.stack([PlainRoberta(folder).vector(one) for one in ids])
    np.testing.assert_allclose(towers.embed_texts(SENTENCES), expected, atol=2e-5)
    assert bool(towers.text_version) == bool(before), "an instruction is part of the fingerprint"


def test_a_search_loads_the_text_tower_alone(tmp_path: Path) -> None:
    folder = tiny_jina.make(tmp_path / "jina")
    both, first = ClipTowers(folder, "cpu"), ClipTowers(folder, "cpu", text_first=True)
    np.testing.assert_array_equal(first.embed_texts(SENTENCES), both.embed_texts(SENTENCES))
    assert "_model" not in vars(first)
    np.testing.assert_array_equal(first.embed_images(pictures()), both.embed_images(pictures()))


def test_clip4clip_stands_on_it(tmp_path: Path) -> None:
    folder = tiny_jina.make(tmp_path / "jina")
    model = models.make(models.section(str(folder)))
    assert (model.name, model.image_size) == ("clip4clip", tiny_jina.SIZE)
    arrays = model.encode_images(pictures(3))
    times = np.array([[0.0, 1.0, 0.5], [1.0, 2.0, 1.5], [2.0, 3.0, 2.5]])
    (video,) = model.embed_videos([Features(times, arrays)])
    mean = arrays["image"].mean(axis=0)
    np.testing.assert_allclose(video.video, mean / np.linalg.norm(mean), atol=1e-6)
    assert model.embed_queries([Query("a dog")]).shape == (1, tiny_jina.WIDTH)
    assert model.characters_read("a " * 600) == len("a " * 600) - 690  # of 510 tokens, <s> and </s> stand around them


def test_models_that_look_inside_the_towers_refuse_it(tmp_path: Path) -> None:
    folder = tiny_jina.make(tmp_path / "jina")
    with pytest.raises(ModelNotFound, match="a jina_clip checkpoint; this model loads: chinese_clip, clip, metaclip_2"):
        ClipTokenTowers(folder, "cpu")


def test_code_that_a_checkpoint_names_is_never_run(tmp_path: Path) -> None:
    folder = tiny_jina.make(tmp_path / "jina", auto_map={"AutoConfig": "own.Config", "AutoModel": "own.Model"})
    (folder / "own.py").write_text("raise SystemExit('ran')")
    assert ClipTowers(folder, "cpu").embed_texts(["a"]).shape == (1, tiny_jina.WIDTH)


def test_version_1_in_the_cache_is_no_model_to_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_jina.make(tmp_path / "v2")
    first = changed(folder, "v1", "text_config", hf_model_name_or_path="jinaai/jina-bert-flash-implementation")
    both = [hub.Cached(one.name, "jina_clip", one, 1) for one in (first, folder)]
    monkeypatch.setattr(hub, "cached", lambda kinds: both if "jina_clip" in kinds else [])
    assert clip4clip.automatic() == {"checkpoint": "v2"}


def changed(folder: Path, name: str, section: str | None = None, **values: Any) -> Path:
    """A copy of a checkpoint with other settings."""
    copy = shutil.copytree(folder, folder.with_name(name))
    settings = json.loads((copy / "config.json").read_text())
    (settings if section is None else settings[section]).update(values)
    (copy / "config.json").write_text(json.dumps(settings))
    return copy


def test_what_is_no_version_2_is_one_line(tmp_path: Path) -> None:
    folder = tiny_jina.make(tmp_path / "jina")
    first = changed(folder, "v1", "text_config", hf_model_name_or_path="jinaai/jina-bert-flash-implementation")
    with pytest.raises(
        ModelNotFound, match="text tower is jinaai/jina-bert-flash-implementation; this model loads versi"
    ):
        ClipTowers(first, "cpu")
    for name, section, values, says in (
        ("task", "text_config", {"default_lora_task": "poetry"}, "'poetry' is not in list"),
        ("instruction", "text_config", {"default_instruction_task": "poetry"}, "poetry"),
        ("head", "vision_config", {"proj_type": "mlp"}, "proj_type 'mlp' of the vision tower is not known"),
        ("width", "vision_config", {"embed_dim": 7}, "gives no vectors of 7"),
        ("zero", "vision_config", {"head_width": 0}, "zero"),
        ("list", "vision_config", {"layers": [1]}, "int"),
    ):
        with pytest.raises(ModelNotFound, match=says):
            ClipTowers(changed(folder, name, section, **values), "cpu")
    tensors = load_file(folder / "model.safetensors")
    for name, lost, says in (
        ("patches", "vision_model.pos_embed", "lacks 1 weight of its layout: pos_embed"),
        ("words", "text_model.transformer.roberta.encoder.layers.1.mixer.Wqkv.bias", "lacks 3 weights"),
        (
            "adapter",
            "text_model.transformer.roberta.encoder.layers.0.mlp.fc1.parametrizations.weight.0.lora_A",
            "lora_A",
        ),
    ):
        copy = shutil.copytree(folder, tmp_path / name)
        rest = {key: tensor for key, tensor in tensors.items() if key != lost}
        save_file(rest, copy / "model.safetensors")
        with pytest.raises(ModelNotFound, match=says):
            ClipTowers(copy, "cpu")
    cut = shutil.copytree(folder, tmp_path / "cut")
    (cut / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-100])
    with pytest.raises(ModelNotFound, match="cannot be read"):
        ClipTowers(cut, "cpu")


@pytest.mark.parametrize(
    ("mode", "size", "expected"),
    [
        # (width, height) of the picture; then the box of the square in which it lies, and what is cut off of it.
        ("squash", (50, 20), (0, 0, 36, 36)),
        ("longest", (72, 36), (0, 9, 36, 27)),
        ("longest", (36, 73), (9, 0, 27, 36)),
        ("shortest", (72, 36), (0, 0, 36, 36)),
    ],
)
def test_pictures_lie_in_their_square_as_the_settings_say(
    mode: str, size: tuple[int, int], expected: tuple[int, int, int, int], tmp_path: Path
) -> None:
    folder = tiny_jina.make(tmp_path / "jina")
    path = folder / "preprocessor_config.json"
    settings = {**json.loads(path.read_text()), "resize_mode": mode, "mean": [0.0] * 3, "std": [1.0] * 3}
    path.write_text(json.dumps(settings))
    white = np.full((size[1], size[0], 3), 255, np.uint8)
    values = ClipTowers(folder, "cpu")._processor(images=[white])["pixel_values"][0, 0]
    box = torch.zeros(36, 36)
    left, top, right, bottom = expected
    box[top:bottom, left:right] = 1
    assert torch.equal(values, box)


def test_pictures_of_unknown_settings_are_one_line(tmp_path: Path) -> None:
    folder = tiny_jina.make(tmp_path / "jina")
    path = folder / "preprocessor_config.json"
    known = json.loads(path.read_text())
    for values, says in (
        ({"resize_mode": "fold"}, "known are 36 pixels by shortest, longest or squash"),
        ({"size": 40}, "makes pictures of 40 pixels"),
        ({"interpolation": "magic"}, "MAGIC"),
        ({"size": {"shortest_edge": 36}}, "pictures of size .'shortest_edge"),
    ):
        path.write_text(json.dumps({**known, **values}))
        with pytest.raises(ModelNotFound, match=says):
            ClipTowers(folder, "cpu")
