"""ResNets of Hugging Face's layout: the vectors are transformers' own, and MCSAN stands on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import ConvNextImageProcessor, ResNetConfig, ResNetModel

from mmi_tvr.encoders.resnet import ResNetTower
from mmi_tvr.errors import ModelNotFound
from mmi_tvr.models.mcsan.model import Mcsan
from mmi_tvr.models.mcsan.options import Options
from mmi_tvr.types import Features, Labels, Query


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resnet")
    torch.manual_seed(0)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="bottleneck")
    ResNetModel(config).save_pretrained(folder)
    ConvNextImageProcessor(size={"shortest_edge": 56}, crop_pct=0.875).save_pretrained(folder)
    return folder


def pictures(count: int = 3) -> list[np.ndarray]:
    dice = np.random.default_rng(0)
    return [dice.integers(0, 256, (64, 80, 3), dtype=np.uint8) for _ in range(count)]


def test_a_vector_is_the_mean_over_places_of_the_last_stage(checkpoint: Path) -> None:
    tower = ResNetTower(checkpoint, "cpu", batch=2)
    assert (tower.width, tower.image_size) == (16, 64)
    inputs = ConvNextImageProcessor.from_pretrained(checkpoint)(images=pictures(), return_tensors="pt")
    with torch.inference_mode():
        expected = ResNetModel.from_pretrained(checkpoint).eval()(**inputs).last_hidden_state.mean(dim=(2, 3))
    np.testing.assert_allclose(tower.embed_images(pictures()), expected.numpy(), rtol=1e-4, atol=1e-6)
    assert tower.embed_images([]).shape == (0, 16)


def test_what_is_no_resnet_is_one_line(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="no checkpoint, not a ResNet"):
        ResNetTower(tmp_path, "cpu")
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(ModelNotFound, match="a clip checkpoint, not a ResNet"):
        ResNetTower(tmp_path, "cpu")
    (tmp_path / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    with pytest.raises(ModelNotFound, match="not a ResNet of Hugging Face's layout"):
        ResNetTower(tmp_path, "cpu")
    weights = (checkpoint / "model.safetensors").read_bytes()
    settings = (checkpoint / "preprocessor_config.json").read_text()
    for content, processor in ((weights[:-50], settings), (weights, '{"image_processor_type": "ViTImageProcessor"}')):
        (tmp_path / "model.safetensors").write_bytes(content)
        (tmp_path / "preprocessor_config.json").write_text(processor)
        with pytest.raises(ModelNotFound, match="not a ResNet of Hugging Face's layout"):
            ResNetTower(tmp_path, "cpu")


def test_mcsan_stands_on_a_resnet_and_reads_its_vectors_as_they_are(checkpoint: Path) -> None:
    options = {"width": 8, "heads": 2, "word_width": 6, "graph": "attention", "labels": "exact", "dropout": 0.0}
    model = Mcsan(Options(vision=str(checkpoint), **options), "cpu")
    model.prepare(["a dog runs"], [Labels(("dog",), ("run",))])
    assert (model.reads_pictures, model.image_size) == (True, 64)
    images = model.encode_images(pictures())["image"]
    np.testing.assert_array_equal(images, ResNetTower(checkpoint, "cpu").embed_images(pictures()))
    seen = []
    model.network.video_levels.attention.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    (embedded,) = model.embed_videos([Features(np.zeros((3, 3)), {"image": images})])
    np.testing.assert_array_equal(seen[-1][0].numpy(), images)  # unit vectors would be scaled
    assert embedded.video.shape == (32,)
    assert model.embed_queries([Query("a dog")]).shape == (1, 32)
    brought = Mcsan(Options(vision="precomputed", precomputed={"width": 16}, **options), "cpu")
    assert len({model.vision_fingerprint(), brought.vision_fingerprint()}) == 2
    assert (brought.reads_pictures, brought.image_size) == (False, 0)
