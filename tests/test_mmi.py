"""MMI-TVR on a small random LLaVA: identity at the start, switches, loss terms, training, saving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_llava
import torch
from torch.nn.functional import normalize

from mmi_tvr import models, plugins
from mmi_tvr.config import Section
from mmi_tvr.errors import ModelNotFound, UsageError
from mmi_tvr.models import mmi
from mmi_tvr.models.mmi.network import pack
from mmi_tvr.protocols import Model
from mmi_tvr.types import Features, Query

HEADS = {"heads": 2, "layers": 1, "expansion": 2, "grid": 2, "dropout": 0.0}
TEXTS = ["a red circle moves left", "a blue square grows", "a red square moves right then grows"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava.make(tmp_path_factory.mktemp("llava"))


def options(checkpoint: Path, **changes: Any) -> mmi.Options:
    llava = {"checkpoint": str(checkpoint), "grid": 1, "lora": {"rank": 2, "alpha": 4, "dropout": 0.0}}
    values = {"llava": llava, "heads": HEADS, **changes}
    found = plugins.options("models", "mmi", values)
    assert isinstance(found, mmi.Options)
    return found


def trainable(checkpoint: Path, **changes: Any) -> mmi.Mmi:
    torch.manual_seed(0)
    model = mmi.Mmi(options(checkpoint, **changes), "cpu", trainable=True)
    model.network.train()
    return model


def pictures(count: int, seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, (32, 40, 3), dtype=np.uint8) for _ in range(count)]


def features(model: mmi.Mmi, counts: tuple[int, ...] = (3, 1, 4)) -> list[Features]:
    found = []
    for seed, count in enumerate(counts):
        edges = np.arange(count + 1.0)
        segments = np.stack([edges[:-1], edges[1:], edges[:-1]], axis=1)
        found.append(Features(segments, model.encode_images(pictures(count, seed))))
    return found


def batch(model: mmi.Mmi) -> dict[str, Any]:
    return {
        "ids": ["a", "b", "c"],
        "texts": TEXTS,
        "clip": torch.from_numpy(model.towers.embed_texts(TEXTS)),
        "video": pack(features(model)),
        "groups": torch.arange(3),
        "skeletons": {
            "text": ["a red circle", "a blue square"],
            "video": ["a red circle", "a red square"],
            "match": torch.tensor([True, False]),
        },
    }


def stirred(model: mmi.Mmi) -> mmi.Mmi:
    """The same model as if it had been trained: every part has a say."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.network.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


def test_the_untrained_model_is_the_mean_of_key_images(checkpoint: Path) -> None:
    model = models.make(Section(name="mmi", llava=options(checkpoint).llava.model_dump(), heads=HEADS), "cpu")
    assert isinstance(model, Model)
    clip = models.make(Section(name="clip4clip", checkpoint=str(checkpoint / "clip")), "cpu")
    seen = features(model)
    for ours, theirs in zip(model.embed_videos(seen), clip.embed_videos(seen), strict=True):
        np.testing.assert_allclose(ours.video, theirs.video, atol=1e-6)
        np.testing.assert_allclose(ours.moments, theirs.moments, atol=1e-6)
        np.testing.assert_array_equal(ours.segments, theirs.segments)
    queries = [Query(text) for text in TEXTS]
    np.testing.assert_allclose(model.embed_queries(queries), clip.embed_queries(queries), atol=1e-6)


def test_a_video_does_not_depend_on_its_batch(checkpoint: Path) -> None:
    model = stirred(trainable(checkpoint))
    model.network.eval()
    together = model.embed_videos(features(model))
    for seen, whole in zip(features(model), together, strict=True):
        alone = model.embed_videos([seen])[0]
        np.testing.assert_allclose(alone.video, whole.video, atol=1e-5)
        np.testing.assert_allclose(alone.moments, whole.moments, atol=1e-5)
    np.testing.assert_allclose(
        model.embed_queries([Query(TEXTS[0])])[0], model.embed_queries([Query(text) for text in TEXTS])[0], atol=1e-5
    )


def test_order_tells_only_the_trained_model(checkpoint: Path) -> None:
    """Mean pooling cannot tell "first A, then B" from "first B, then A"; temporal attention can."""
    model = trainable(checkpoint, lvlm=False)
    model.network.eval()
    forth = features(model, (4,))[0]
    back = Features(forth.segments, {name: array[::-1].copy() for name, array in forth.arrays.items()})
    one, other = (each.video for each in model.embed_videos([forth, back]))
    np.testing.assert_allclose(one, other, atol=1e-6)
    one, other = (each.video for each in stirred(model).embed_videos([forth, back]))
    assert np.abs(one - other).max() > 1e-3


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ({"lvlm": False}, ("llava", "text_residual")),
        ({"inductive": False}, ("head.temporal", "head.spatial", "head.fusion")),
        ({"heads": {**HEADS, "temporal": False}}, ("head.temporal",)),
        ({"heads": {**HEADS, "spatial": False}}, ("head.spatial",)),
    ],
)
def test_switches_take_parts_away(checkpoint: Path, changes: dict[str, Any], gone: tuple[str, ...]) -> None:
    model = trainable(checkpoint, **changes)
    names = [name for name, _ in model.network.named_parameters()]
    assert not [name for name in names if name.startswith(gone)]
    assert model.fingerprint() != trainable(checkpoint).fingerprint()
    assert model.embed_videos(features(model))[0].video.shape == (24,)


def test_plain_attention_leaves_out_the_learned_nearness(checkpoint: Path) -> None:
    plain = stirred(trainable(checkpoint, heads={**HEADS, "plain": True}))
    count = sum(parameter.numel() for parameter in plain.network.head.parameters())
    full = sum(parameter.numel() for parameter in trainable(checkpoint).network.head.parameters())
    assert count < full


@pytest.mark.parametrize("term", ["caption", "masked", "skeleton"])
def test_each_term_reaches_the_adapter(checkpoint: Path, term: str) -> None:
    model = trainable(checkpoint)
    value = model.network.loss_terms(batch(model), [term])[term]
    assert value.isfinite()
    assert value.ndim == 0
    value.backward()
    groups = model.network.parameter_groups()
    assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in groups["lora"])


def test_parameter_groups_hold_every_trained_parameter_once(checkpoint: Path) -> None:
    network = trainable(checkpoint).network
    grouped = [id(parameter) for group in network.parameter_groups().values() for parameter in group]
    trained = [id(parameter) for parameter in network.parameters() if parameter.requires_grad]
    assert sorted(grouped) == sorted(trained)
    assert len(set(grouped)) == len(grouped)
    assert not any(parameter.requires_grad for parameter in network.llava.base.model.vision_tower.parameters())


def test_caption_loss_is_the_mean_over_the_captions_own_tokens(checkpoint: Path) -> None:
    """Against transformers' own loss, one caption at a time, prompt and pictures masked by hand."""
    model = stirred(trainable(checkpoint))
    model.network.eval()
    llava, data = model.network.llava, batch(model)
    summed, count = 0.0, 0
    for row, text in enumerate(TEXTS):
        pictures_of = int(data["video"]["mask"][row].sum())
        start = f"{'<image>' * pictures_of} Describe this video:"
        visual = llava.project(data["video"]["patches"][row, :pictures_of])
        inputs = llava.inputs([f"{start} {text}"], visual)
        before = llava.inputs([start], visual).ids.shape[1]
        logits = llava.logits(llava.states(inputs))[0]
        for place in range(before, inputs.ids.shape[1]):
            summed -= logits[place - 1].log_softmax(-1)[inputs.ids[0, place]].item()
            count += 1
    assert model.network.caption_loss(data).item() == pytest.approx(summed / count, rel=1e-4)


def test_training_brings_pairs_together(checkpoint: Path) -> None:
    model = trainable(checkpoint)
    data = batch(model)
    optimiser = torch.optim.AdamW(
        [parameter for parameter in model.network.parameters() if parameter.requires_grad], lr=3e-3
    )

    def loss() -> torch.Tensor:
        text, video, _ = model.network.embed_batch(data)
        return torch.nn.functional.cross_entropy(10 * normalize(text) @ normalize(video).T, torch.arange(3))

    first = loss().item()
    for _ in range(30):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    assert loss().item() < first / 2


def test_saved_weights_come_back_exactly(checkpoint: Path, tmp_path: Path) -> None:
    model = stirred(trainable(checkpoint))
    model.network.eval()
    model.save(tmp_path / "run")
    again = mmi.Mmi(options(checkpoint, weights=str(tmp_path / "run")), "cpu")
    queries = [Query(text) for text in TEXTS]
    np.testing.assert_allclose(again.embed_queries(queries), model.embed_queries(queries), atol=1e-6)
    for one, other in zip(again.embed_videos(features(again)), model.embed_videos(features(model)), strict=True):
        np.testing.assert_allclose(one.video, other.video, atol=1e-6)
    assert again.fingerprint() != mmi.Mmi(options(checkpoint), "cpu").fingerprint()


def test_weights_of_other_switches_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    trainable(checkpoint, inductive=False).save(tmp_path / "run")
    with pytest.raises(ModelNotFound, match="other switches"):
        _ = mmi.Mmi(options(checkpoint, weights=str(tmp_path / "run"), inductive=True), "cpu").network
    with pytest.raises(ModelNotFound, match="no trained model here"):
        options(checkpoint, weights=str(tmp_path))
    (tmp_path / "run" / mmi.HEADS).unlink()
    with pytest.raises(ModelNotFound, match="no trained heads"):
        _ = mmi.Mmi(options(checkpoint, weights=str(tmp_path / "run")), "cpu").network


def test_weights_alone_say_everything(checkpoint: Path, tmp_path: Path) -> None:
    """All that is not said with `weights` is as it was trained; key images and re-ranking travel along."""
    images, rerank = {"name": "uniform", "count": 3}, {"name": "skeleton", "lambda_s": 0.05}
    model = stirred(trainable(checkpoint, inductive=False))
    model.network.eval()
    model.save(tmp_path / "run", images, {"step": 3}, rerank)
    section = Section(name="mmi", weights=str(tmp_path / "run"))
    again = models.make(section, "cpu")
    assert isinstance(again, mmi.Mmi)
    assert not again.options.inductive
    assert models.key_images(section) == Section(**images)
    assert again.key_image_section() == images
    assert again.rerank_section() == rerank
    assert model.rerank_section() is None  # it was not loaded from there
    query = [Query(TEXTS[0])]
    np.testing.assert_allclose(again.embed_queries(query), model.embed_queries(query), atol=1e-6)


def test_wrong_options_say_what_is_wrong(checkpoint: Path) -> None:
    with pytest.raises(UsageError, match="llava"):
        plugins.options("models", "mmi", {})
    with pytest.raises(UsageError, match=r"unknown option 'heads.temporall' \(there are: temporal, spatial"):
        options(checkpoint, heads={"temporall": False})


def test_words_of_a_query_cannot_be_pictures(checkpoint: Path) -> None:
    """Special tokens written by a person are words: no picture is expected for them, and none of them ends a prompt."""
    model = trainable(checkpoint)
    found = model.embed_queries([Query("<image> a red circle </s> <image>"), Query("x " * 500)])
    assert np.isfinite(found).all()
