"""Checkpoints of Frozen in Time: what is read, what is refused, and whether the result is Frozen's own forward pass."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_towers
import torch
import typer
from plain_space_time import plain
from torch import Tensor
from transformers import DistilBertModel
from typer.testing import CliRunner

from mmi_tvr import models, plugins
from mmi_tvr.cli import data
from mmi_tvr.config import Section
from mmi_tvr.encoders.frozen_in_time import convert
from mmi_tvr.errors import ModelNotFound, UsageError
from mmi_tvr.models import lat
from mmi_tvr.scoring.blocks import similarities
from mmi_tvr.types import Features, Query

TEXTS = ["a red dog", "red"]
WIDTH, PATCH, PLACES, LAYERS, FRAMES = 64, 4, 9, 2, 4  # one attention head, pictures of 12 pixels


@pytest.fixture(scope="module")
def distilbert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_towers.make("distilbert", tmp_path_factory.mktemp("distilbert"))


@pytest.fixture(scope="module")
def state(distilbert: Path) -> dict[str, Tensor]:
    """The tensors of a small model, under the names and in the shapes of the published files."""
    torch.manual_seed(0)
    shapes = {"cls_token": (1, 1, WIDTH), "pos_embed": (1, 1 + PLACES, WIDTH), "temporal_embed": (1, FRAMES, WIDTH)}
    shapes |= {"patch_embed.proj.weight": (WIDTH, 3, PATCH, PATCH), "patch_embed.proj.bias": (WIDTH,)}
    linear = {f"{part}.qkv": (3 * WIDTH, WIDTH) for part in ("attn", "timeattn")}
    linear |= {f"{part}.proj": (WIDTH, WIDTH) for part in ("attn", "timeattn")}
    linear |= {"mlp.fc1": (4 * WIDTH, WIDTH), "mlp.fc2": (WIDTH, 4 * WIDTH)}
    for block in range(LAYERS):
        for name, shape in linear.items():
            shapes |= {f"blocks.{block}.{name}.weight": shape, f"blocks.{block}.{name}.bias": shape[:1]}
        for norm in ("norm1", "norm2", "norm3"):
            shapes |= {f"blocks.{block}.{norm}.{part}": (WIDTH,) for part in ("weight", "bias")}
    shapes |= {f"norm.{part}": (WIDTH,) for part in ("weight", "bias")}
    tensors = {f"video_model.{name}": torch.randn(shape) * 0.2 for name, shape in shapes.items()}
    text = DistilBertModel.from_pretrained(distilbert).state_dict()
    tensors |= {f"text_model.{name}": tensor for name, tensor in text.items()}
    tensors |= {"vid_proj.0.weight": torch.randn(16, WIDTH), "vid_proj.0.bias": torch.randn(16)}
    tensors |= {"txt_proj.1.weight": torch.randn(16, 24), "txt_proj.1.bias": torch.randn(16)}
    return tensors


def call(*words: object) -> str:
    """What a command prints; what goes wrong is raised."""
    app = typer.Typer()
    data.register(app)
    result = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False, standalone_mode=False)
    return " ".join(result.output.split())


def saved(path: Path, state: dict[str, Tensor], **more: Any) -> Path:
    torch.save({"arch": "FrozenInTime", "epoch": 3, "state_dict": state, "monitor_best": 1.5, **more}, path)
    return path


def frozen(folder: Path, **changes: Any) -> lat.Lat:
    values = {"checkpoint": str(folder), "translator": {"kind": "none"}, "space": "joint", **changes}
    model = models.make(Section(name="lat", **values), "cpu")
    assert isinstance(model, lat.Lat)
    return model


def video(model: lat.Lat, count: int) -> Features:
    random = np.random.default_rng(count)
    pictures = [random.integers(0, 256, (12, 12, 3), dtype=np.uint8) for _ in range(count)]
    edges = np.arange(count + 1.0)
    return Features(np.stack([edges[:-1], edges[1:], edges[:-1]], axis=1), model.encode_images(pictures))


@pytest.mark.parametrize("prefix", ["", "module.", "module.module."])
def test_without_a_translator_it_is_frozens_own_forward_pass(
    state: dict[str, Tensor], distilbert: Path, tmp_path: Path, prefix: str
) -> None:
    """Loops over pictures and patches, a DistilBERT, the two projections of the published code, and their cosine."""
    old = {"text_model.embeddings.position_ids": torch.arange(32)[None]}
    file = saved(tmp_path / "f.pth.tar", {prefix + name: tensor for name, tensor in {**state, **old}.items()})
    conversion = convert(file, tmp_path / "out", distilbert)
    assert (conversion.sizes.projection, conversion.sizes.video.frames, list(conversion.left_out)) == (16, 4, [])
    model = frozen(tmp_path / "out")
    videos = [video(model, count) for count in (4, 2)]
    tower = {name.removeprefix("video_model."): tensor.double() for name, tensor in state.items()}
    expected_videos = []
    for one in videos:
        pixels = torch.from_numpy(one.arrays["pixels"])
        first = plain(tower, pixels, patch_size=PATCH, layers=LAYERS, heads=1)[0]
        expected_videos.append(state["vid_proj.0.weight"].double() @ first + state["vid_proj.0.bias"].double())
    text = DistilBertModel.from_pretrained(distilbert).eval()
    expected_texts = []
    for words in TEXTS:
        ids = model.towers.text_inputs([words])["ids"]
        with torch.no_grad():
            first = text(input_ids=ids).last_hidden_state[0, 0]
        expected_texts.append((state["txt_proj.1.weight"] @ first.clamp(min=0) + state["txt_proj.1.bias"]).double())
    cosines = torch.cosine_similarity(torch.stack(expected_texts)[:, None], torch.stack(expected_videos)[None], dim=-1)
    vectors = np.stack([embedding.video for embedding in model.embed_videos(videos)])
    scores = similarities(model.embed_queries([Query(words) for words in TEXTS]), vectors, model.scoring)
    np.testing.assert_allclose(scores, cosines.numpy(), atol=1e-5)


def test_the_command_says_what_it_wrote_and_what_it_left_out(
    state: dict[str, Tensor], distilbert: Path, tmp_path: Path
) -> None:
    file = saved(tmp_path / "f.pth", {**state, "video_model.head.weight": torch.zeros(2), "other.x": torch.zeros(1)})
    out = tmp_path / "out"
    text = call("data", "convert-frozen", file, out, "--tokenizer", distilbert)
    assert "video tower of 2 x 64, 4 pictures of 12 pixels" in text
    assert "left out, 2 entries" in text
    assert sorted(path.name for path in out.iterdir() if path.suffix == ".safetensors") == ["model.safetensors"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    with pytest.raises(UsageError, match="not an empty folder"):
        call("data", "convert-frozen", file, out, "--tokenizer", distilbert)


def test_towers_of_a_checkpoint_are_trained_further(state: dict[str, Tensor], distilbert: Path, tmp_path: Path) -> None:
    """Weights in half precision are read, too, and a checkpoint without projections has no common space."""
    halves = {name: tensor.half() for name, tensor in state.items() if "_proj" not in name or "patch" in name}
    halves |= {name: tensor.half() for name, tensor in state.items() if ".proj." in name}
    torch.save(halves, tmp_path / "bare.pt")
    convert(tmp_path / "bare.pt", tmp_path / "out", distilbert)
    values = {"checkpoint": str(tmp_path / "out"), "towers": "all", "translator": {"width": 8, "heads": 1}}
    model = lat.trainable(plugins.options("models", "lat", values), device="cpu")  # type: ignore[arg-type]
    assert set(model.network.parameter_groups()) == {"translators", "towers"}
    assert model.towers.widths == (64, 24)
    with pytest.raises(UsageError, match="no common space"):
        _ = frozen(tmp_path / "out").network
    (tmp_path / "out" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelNotFound, match="cannot be read"):
        _ = frozen(tmp_path / "out", space="hidden", translator={"width": 8, "heads": 1}).network
    (tmp_path / "out" / "config.json").write_text('{"model_type": "frozen_in_time"}')
    with pytest.raises(ModelNotFound, match="convert it once more"):
        _ = frozen(tmp_path / "out").image_size


class _Config:
    """Stands for the object with which the published files carry their settings."""


class _Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


def _changed(name: str, change: Callable[[Tensor], Tensor | None]) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    def change_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
        value = change(state[name])
        rest = {key: tensor for key, tensor in state.items() if key != name}
        return rest if value is None else {**rest, name: value}

    return change_state


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_changed("video_model.blocks.1.timeattn.qkv.bias", lambda _: None), "1 tensor .*: .*timeattn.qkv.bias"),
        (_changed("video_model.temporal_embed", lambda _: None), "missing: video_model.temporal_embed"),
        (_changed("txt_proj.1.bias", lambda _: None), "missing: txt_proj.1.bias"),
        (_changed("video_model.norm.bias", lambda tensor: tensor[:3]), r"video_model.norm.bias is \[3\], and \[64\]"),
        (_changed("vid_proj.0.weight", lambda tensor: tensor[:, :5]), r"vid_proj.0.weight is \[16, 5\]"),
        (_changed("video_model.pos_embed", lambda tensor: tensor.flatten()), "is no ViT"),
        (_changed("video_model.cls_token", lambda tensor: tensor * torch.nan), "cls_token has .* not finite"),
        (lambda state: {**state, "module.vid_proj.0.bias": torch.zeros(16)}, "two tensors called vid_proj.0.bias"),
        (lambda state: {name: tensor for name, tensor in state.items() if "text" not in name}, "3 tensors .* missing"),
        (lambda state: state | {"video_model.blocks.99999999.mlp.fc1.weight": torch.zeros(1)}, "missing: .*blocks.2"),
        (_changed("text_model.embeddings.word_embeddings.weight", lambda tensor: tensor[:, 0]), "has to be a matrix"),
        (_changed("text_model.embeddings.position_embeddings.weight", lambda tensor: tensor[:0]), "has to be a matrix"),
        (_changed("text_model.transformer.layer.0.ffn.lin1.weight", torch.sum), r"is \[\], and has to be a matrix"),
        (_changed("vid_proj.0.weight", torch.sum), r"vid_proj.0.weight is \[\], and has to be a matrix"),
        (_changed("text_model.embeddings.word_embeddings.weight", lambda tensor: torch.zeros(9, 200)), "of such sizes"),
        (_changed("text_model.embeddings.word_embeddings.weight", lambda tensor: tensor.to_sparse()), "save it dense"),
        (_changed("video_model.cls_token", lambda tensor: tensor.to("meta")), "cls_token is .* without its numbers"),
        (lambda state: {}, "holds no state_dict of tensors"),
        (lambda state: {"state": 3}, "holds no state_dict of tensors"),
    ],
)  # fmt: skip
def test_what_is_no_frozen_model_is_one_line(
    state: dict[str, Tensor], distilbert: Path, tmp_path: Path, change: Callable[[Any], Any], words: str
) -> None:
    with pytest.raises(ModelNotFound, match=words):
        convert(saved(tmp_path / "f.pth", change(state)), tmp_path / "out", distilbert)
    assert [path.name for path in tmp_path.iterdir()] == ["f.pth"]


def test_what_would_run_code_is_refused_and_not_run(
    state: dict[str, Tensor], distilbert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, extra in enumerate((_Config(), _Payload())):
        file = saved(tmp_path / f"{number}.pth", state, config=extra)
        with pytest.raises(ModelNotFound, match=r"holds more than tensors .*Strip it") as error:
            convert(file, tmp_path / "out", distilbert)
        assert "\n" not in str(error.value)
    stripped = re.search(r'python -c "(.*)"', str(error.value))
    assert stripped is not None
    compile(stripped[1], "command", "exec")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(_Payload()))
    (tmp_path / "text.pth").write_text("<html>404</html>")
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "0.pth").read_bytes()[:-2000])
    for name in ("plain", "text", "empty", "cut"):
        with pytest.raises(ModelNotFound, match=f"{name}.pth: (?!.*weights_only)"):
            convert(tmp_path / f"{name}.pth", tmp_path / "out", distilbert)
    with pytest.raises(ModelNotFound, match="no such file"):
        convert(tmp_path / "missing.pth", tmp_path / "out", distilbert)
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "out").exists()


def test_the_tokenizer_must_be_that_of_the_text_tower(state: dict[str, Tensor], tmp_path: Path) -> None:
    other = tiny_towers.make("clip", tmp_path / "clip")
    with pytest.raises(ModelNotFound, match="name the tokenizer that it was trained with"):
        convert(saved(tmp_path / "f.pth", state), tmp_path / "out", other)
