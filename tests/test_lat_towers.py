"""LaT on towers that read pixels: what they start from, what learns, training, saving."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_towers
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, DistilBertConfig, DistilBertModel, ViTModel

from mmi_tvr import models, plugins
from mmi_tvr.encoders.options import VideoTowerOptions
from mmi_tvr.encoders.video_text import TowerSizes, VideoTextTowers
from mmi_tvr.errors import ModelNotFound, UsageError
from mmi_tvr.hub.folder import prepare
from mmi_tvr.models import lat
from mmi_tvr.models.lat.network import LatNetwork
from mmi_tvr.nn.losses import Temperature
from mmi_tvr.nn.options import TranslatorOptions
from mmi_tvr.train.objective import Objective
from mmi_tvr.train.run import run
from mmi_tvr.train.settings import load
from mmi_tvr.types import Features, Query

ROOT = Path(__file__).parent.parent
SMALL = {"depth": 1, "width": 16, "heads": 2, "feed_forward": 16, "dropout": 0.0}
TEXTS = ["a red dog", "a blue square grows", "red"]
COUNTS = (3, 1, 4)


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: tiny_towers.make(name, tmp_path_factory.mktemp(name)) for name in tiny_towers.PARTS}


@pytest.fixture(scope="module")
def new_towers(starts: dict[str, Path]) -> dict[str, Any]:
    return {name: str(folder) for name, folder in starts.items()}


def trainable(new_towers: dict[str, Any], **changes: Any) -> lat.Lat:
    torch.manual_seed(3)
    translator = {**SMALL, **changes.pop("translator", {})}
    values = {"new_towers": new_towers, "translator": translator, "text_queries": 6, "video_queries": 4, **changes}
    return lat.trainable(plugins.options("models", "lat", values), device="cpu")  # type: ignore[arg-type]


def pictures(seed: int, count: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, (80, 100, 3), dtype=np.uint8) for _ in range(count)]


def features(model: lat.Lat) -> list[Features]:
    videos = []
    for seed, count in enumerate(COUNTS):
        edges = np.arange(count + 1.0)
        segments = np.stack([edges[:-1], edges[1:], edges[:-1]], axis=1)
        videos.append(Features(segments, model.encode_images(pictures(seed, count))))
    return videos


def batch(model: lat.Lat) -> dict[str, Any]:
    return {"ids": ["a", "b", "c"], **model.batch(TEXTS, features(model), [0, 1, 2])}


def towers_of(model: lat.Lat) -> VideoTextTowers:
    towers = model.network.towers
    assert towers is not None
    return towers.eval()


def test_towers_begin_as_the_vit_and_the_distilbert(new_towers: dict[str, Any], starts: dict[str, Path]) -> None:
    """One picture through the video tower is a ViT's, and sentences through the text tower a DistilBERT's."""
    model = trainable(new_towers, towers="all")
    data, towers = batch(model), towers_of(model)
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    image = Image.fromarray(pictures(1, 1)[0]).crop((10, 0, 90, 80)).resize((64, 64), Image.Resampling.BILINEAR)
    values = torch.from_numpy((np.asarray(image) / 255 - mean) / deviation).permute(2, 0, 1).float()[None]
    with torch.no_grad():
        expected = ViTModel.from_pretrained(starts["vit"]).eval()(pixel_values=values).last_hidden_state[0]
        states, mask = towers.video_states(**data["video"])
        torch.testing.assert_close(states[1, :17], expected, atol=1e-4, rtol=1e-4)
        assert mask.sum(1).tolist() == [1 + count * 16 for count in COUNTS]
        for row, text in enumerate(TEXTS):
            inputs = AutoTokenizer.from_pretrained(starts["distilbert"])(text, return_tensors="pt")
            inputs.pop("token_type_ids", None)
            expected = DistilBertModel.from_pretrained(starts["distilbert"]).eval()(**inputs).last_hidden_state[0]
            read, read_mask = towers.text_states(**data["text"])
            assert read_mask[row].sum() == len(expected)
            torch.testing.assert_close(read[row, : len(expected)], expected, atol=1e-5, rtol=1e-4)


def test_timm_names_are_the_same_tensors(new_towers: dict[str, Any], starts: dict[str, Path], tmp_path: Path) -> None:
    from mmi_tvr.encoders import vit

    weights = vit.read(starts["vit"])
    save_file(
        {**weights, "head.weight": torch.zeros(3, 32), "fc_norm.bias": torch.zeros(3)}, tmp_path / "model.safetensors"
    )
    assert vit.read(tmp_path).keys() == weights.keys()
    assert all(torch.equal(vit.read(tmp_path)[name], weights[name]) for name in weights)
    (tmp_path / "config.json").write_text('{"architecture": "vit_tiny", "num_features": 32}')
    assert vit.sizes(weights, tmp_path, vit.heads(tmp_path), {"frames": 2}).heads == 1
    assert vit.sizes(weights, tmp_path, vit.heads(starts["vit"]), {"frames": 2}).heads == 2
    save_file({"head.weight": torch.zeros(3, 32)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelNotFound, match="not a ViT of transformers' or timm's layout"):
        vit.read(tmp_path)


def test_features_are_centre_squares_and_a_video_is_read_whole(new_towers: dict[str, Any]) -> None:
    model = trainable(new_towers)
    videos = features(model)
    assert videos[2].arrays["pixels"].shape == (4, 64, 64, 3)
    assert videos[2].arrays["pixels"].dtype == np.uint8
    assert model.image_size == 64
    together = model.embed_videos(videos)
    for video, count, embedding in zip(videos, COUNTS, together, strict=True):
        assert embedding.moments.shape[0] == count
        np.testing.assert_allclose(model.embed_videos([video])[0].video, embedding.video, atol=1e-5)
        first = Features(video.segments[:1], {"pixels": video.arrays["pixels"][:1]})
        np.testing.assert_allclose(model.embed_videos([first])[0].video, embedding.moments[0], atol=1e-5)
    data = batch(model)
    rows = [model.network.video_tokens(part["video"]) for part in (data, model.batch(TEXTS[:1], videos[:1], [0]))]
    torch.testing.assert_close(rows[0].states[0, : 1 + 3 * 16], rows[1].states[0], atol=1e-5, rtol=1e-4)
    assert model.vision_fingerprint() == trainable(new_towers, space="hidden", towers="all").vision_fingerprint()


@pytest.mark.parametrize("towers", ["frozen", "tokenizers", "all"])
def test_what_learns_is_what_the_option_says(new_towers: dict[str, Any], towers: str) -> None:
    model = trainable(new_towers, towers=towers)
    network = model.network
    before = {name: parameter.clone() for name, parameter in network.named_parameters()}
    groups = network.parameter_groups()
    assert set(groups) == ({"translators"} if towers == "frozen" else {"translators", "towers"})
    objective = Objective(network.train(), Temperature(0.1), chunk=None, bf16=False, device=torch.device("cpu"))
    optimiser = torch.optim.SGD([parameter for group in groups.values() for parameter in group], lr=1.0)
    objective.backward(batch(model), {"contrastive": 1.0, "cycle": 1.0})
    optimiser.step()
    changed = {name for name, parameter in network.named_parameters() if not torch.equal(parameter, before[name])}
    in_towers = {name for name in changed if name.startswith("towers.")}
    tokenizers = {f"towers.video.patch_embed.proj.{part}" for part in ("weight", "bias")}
    tokenizers |= {"towers.text.embeddings.word_embeddings.weight"}
    if towers == "all":
        assert {"towers.video.temporal_embed", "towers.video.blocks.0.timeattn.qkv.weight", *tokenizers} <= in_towers
        assert "towers.text.transformer.layer.1.ffn.lin2.weight" in in_towers
    else:
        assert in_towers == (tokenizers if towers == "tokenizers" else set())
    assert "to_video.body.queries" in changed
    assert network.towers.text.training == (towers == "all")


@pytest.mark.parametrize("towers", ["tokenizers", "all"])
def test_training_in_chunks_has_the_gradient_of_the_whole_batch(new_towers: dict[str, Any], towers: str) -> None:
    gradients = []
    for chunk in (None, 1, 2):
        model = trainable(new_towers, towers=towers)
        objective = Objective(model.network, Temperature(0.1), chunk=chunk, bf16=False, device=torch.device("cpu"))
        objective.backward(batch(model), {"contrastive": 1.0, "cycle": 0.5})
        gradients.append({name: p.grad for name, p in model.network.named_parameters() if p.requires_grad})
    plain, *chunked = gradients
    assert len(chunked) == 2
    for other in chunked:
        assert all(gradient is not None for gradient in other.values())
        one, two = (torch.cat([part.flatten() for part in parts.values()]) for parts in (plain, other))
        assert (one - two).norm() / one.norm() < 1e-5


def test_saved_towers_come_back_exactly_and_a_second_stage_goes_on_from_them(
    new_towers: dict[str, Any], tmp_path: Path
) -> None:
    model = trainable(new_towers, towers="all", retrieval="paper")
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save(tmp_path / "run", {"name": "uniform", "count": 3}, {"step": 1})
    files = [path.name for path in models.trained_files("lat", tmp_path / "run")]
    assert files == [lat.TOWERS, lat.TRANSLATORS]
    again = models.make(models.section(str(tmp_path / "run")), "cpu")
    assert isinstance(again, lat.Lat)
    queries = [Query(text) for text in TEXTS]
    np.testing.assert_array_equal(again.embed_queries(queries), model.embed_queries(queries))
    for one, other in zip(again.embed_videos(features(again)), model.embed_videos(features(model)), strict=True):
        np.testing.assert_array_equal(one.video, other.video)
    assert again.fingerprint() != lat.Lat(model.options, "cpu").fingerprint()
    prepared = prepare(tmp_path / "run", "owner/lat", tmp_path / "hub")  # with all that it needs
    assert "- `vit/`: what a tower, or its tokenizer, was made from." in prepared.card
    pulled = models.make(models.section(str(tmp_path / "hub")), "cpu")
    np.testing.assert_array_equal(pulled.embed_queries(queries), model.embed_queries(queries))
    section = {"weights": str(tmp_path / "run"), "new_towers": {"video": {"frames": 6}}}
    longer = lat.trainable(plugins.options("models", "lat", section), device="cpu")  # type: ignore[arg-type]
    table, trained = (one.network.towers.video.temporal_embed[0] for one in (longer, model))
    assert torch.equal(table[:4], trained)
    assert not table[4:].any()
    path = tmp_path / "run" / lat.TOWERS
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ModelNotFound, match="damaged"):
        _ = models.make(models.section(str(tmp_path / "run")), "cpu").embed_queries(queries)


def test_two_stages_are_two_runs_and_each_is_resumed_bit_for_bit(tmp_path: Path) -> None:
    """From nothing on pixels: pictures, then videos from the weights of the first run, dropout and chunks included."""
    changes = [
        "data.train.count=6", "data.validation.count=3", "data.batch=3", "train.chunk=2", "train.precision=float32",
        "train.stages=[{name: a, steps: 4, weights: {contrastive: 1.0, cycle: 1.0}}]", "train.validate_every=2",
        "train.save_every=2", "train.keep=2", "model.new_towers.text.dropout=0.1", "model.new_towers.video.layers=1",
    ]  # fmt: skip
    config = ROOT / "configs" / "lat-pixels-moving-shapes.yaml"
    stages = {"image": ["keyimages.count=1"]}
    stages["video"] = ["keyimages.count=4", f"model.weights={tmp_path / 'image' / 'model'}"]
    for stage, more in stages.items():
        settings, whole, resumed = load(config, changes + more), tmp_path / stage, tmp_path / f"{stage} again"
        assert run(settings, whole, cache=tmp_path / "features", cpu=True).finished
        shutil.copytree(whole, resumed)
        shutil.rmtree(resumed / "model")
        shutil.rmtree(resumed / "checkpoints" / "step-00000004")
        assert run(settings, resumed, cache=tmp_path / "features", cpu=True, resume=True).finished
        for file in (lat.TOWERS, lat.TRANSLATORS):
            state, again = (load_file(folder / "model" / file) for folder in (whole, resumed))
            assert state
            assert all(torch.equal(state[name], again[name]) for name in state)
    images, videos = (models.make(models.section(str(tmp_path / stage / "model")), "cpu") for stage in stages)
    assert images.fingerprint() != videos.fingerprint()
    section = models.key_images(models.section(str(tmp_path / "video" / "model")))
    assert section is not None
    assert section.options["count"] == 4


@pytest.mark.parametrize("name", ["msrvtt", "msvd", "didemo"])
def test_the_published_setting_has_the_size_that_its_config_says(name: str) -> None:
    """Built without memory: Frozen's ViT-B/16 and DistilBERT, and translators of the paper's."""
    path = ROOT / "configs" / f"lat-{name}.yaml"
    settings = load(path)
    options = plugins.options("models", "lat", settings.model.options)
    assert isinstance(options, lat.Options)
    assert (options.towers, options.translator, options.text_queries) == ("all", TranslatorOptions(), 30)
    with torch.device("meta"):
        towers = VideoTextTowers(TowerSizes(VideoTowerOptions(), DistilBertConfig(), 256), joint=False, trained="all")
        network = LatNetwork(
            768, 768, text_queries=options.text_queries, video_queries=options.video_queries,
            translator=options.translator, towers=towers,
        )  # fmt: skip
    assert set(network.parameter_groups()) == set(settings.train.learning_rates) - {"temperature"}
    parameters = sum(parameter.numel() for parameter in network.parameters())
    text = " ".join(path.read_text(encoding="utf-8").replace("#", " ").split())
    assert f"{parameters / 1e6:.0f} million parameters, so {parameters * 16 / 1e9:.1f} GB" in text


def test_what_cannot_be_is_one_line(new_towers: dict[str, Any], starts: dict[str, Path], tmp_path: Path) -> None:
    clip = str(tiny_towers.make("clip", tmp_path / "clip"))
    with pytest.raises(UsageError, match="name a checkpoint, or new_towers"):
        trainable(new_towers, checkpoint=clip)
    with pytest.raises(UsageError, match="CLIP layout stay frozen"):
        _ = trainable(None, checkpoint=clip, towers="all").network  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="nothing to train"):
        trainable(new_towers, translator={"kind": "none"})
    with pytest.raises(UsageError, match="set towers: all"):
        _ = trainable({"distilbert": new_towers["distilbert"]}, towers="tokenizers").network
    with pytest.raises(UsageError, match="no common space"):
        _ = trainable(new_towers, space="joint").network
    with pytest.raises(UsageError, match="Name a tokenizer"):
        trainable({"vit": new_towers["vit"]})
    with pytest.raises(ModelNotFound, match="not a DistilBERT"):
        _ = trainable({**new_towers, "distilbert": new_towers["vit"], "tokenizer": clip}).network
    with pytest.raises(ModelNotFound, match="not a ViT"):
        _ = trainable({**new_towers, "vit": new_towers["distilbert"]}).network
    partial = shutil.copytree(starts["vit"], tmp_path / "partial")
    whole = load_file(partial / "model.safetensors")
    for part, message in (
        ("attention.value.bias", "query, key and value do not go together"),
        ("0.intermediate.dense.weight", "no ViT"),
        ("0.output.dense.weight", r"not the weights of these towers: .*blocks\.0\.mlp\.fc2\.weight"),
    ):
        save_file({name: value for name, value in whole.items() if part not in name}, partial / "model.safetensors")
        with pytest.raises(ModelNotFound, match=message):
            _ = trainable({**new_towers, "vit": str(partial)}).network
    damaged = shutil.copytree(starts["distilbert"], tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ModelNotFound, match="cannot be read"):
        _ = trainable({**new_towers, "distilbert": str(damaged)}).network
