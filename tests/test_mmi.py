"""MMI-TVR on a small random LLaVA: identity at the start, switches, loss terms, training, saving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from mmi_tvr import models, plugins
from mmi_tvr.config import Section
from mmi_tvr.errors import ModelNotFound, UsageError
from mmi_tvr.models import mmi
from mmi_tvr.models.mmi import network as mmi_network
from mmi_tvr.models.mmi.network import pack
from mmi_tvr.nn.video import one_frame_per_segment
from mmi_tvr.protocols import Model
from mmi_tvr.types import Features, Query

HEADS = {"heads": 2, "layers": 1, "expansion": 2, "grid": 2, "dropout": 0.0}
TEXTS = ["a red circle moves left", "a blue square grows", "a red square moves right then grows"]


def options(checkpoint: Path, **changes: Any) -> mmi.Options:
    llava = {"checkpoint": str(checkpoint), "grid": 1, "lora": {"rank": 2, "alpha": 4, "dropout": 0.0}}
    values = {"llava": llava, "heads": HEADS, **changes}
    options = plugins.options("models", "mmi", values)
    assert isinstance(options, mmi.Options)
    return options


def trainable(checkpoint: Path, **changes: Any) -> mmi.Mmi:
    torch.manual_seed(0)
    model = mmi.Mmi(options(checkpoint, **changes), "cpu", trainable=True)
    model.network.train()
    return model


def pictures(count: int, seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, (32, 40, 3), dtype=np.uint8) for _ in range(count)]


def features(model: mmi.Mmi, counts: tuple[int, ...] = (3, 1, 4)) -> list[Features]:
    videos = []
    for seed, count in enumerate(counts):
        edges = np.arange(count + 1.0)
        segments = np.stack([edges[:-1], edges[1:], edges[:-1]], axis=1)
        videos.append(Features(segments, model.encode_images(pictures(count, seed))))
    return videos


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
    videos = features(model)
    for ours, theirs in zip(model.embed_videos(videos), clip.embed_videos(videos), strict=True):
        np.testing.assert_allclose(ours.video, theirs.video, atol=1e-6)
        np.testing.assert_allclose(ours.moments, theirs.moments, atol=1e-6)
        np.testing.assert_array_equal(ours.segments, theirs.segments)
    queries = [Query(text) for text in TEXTS]
    np.testing.assert_allclose(model.embed_queries(queries), clip.embed_queries(queries), atol=1e-6)


def test_a_video_does_not_depend_on_its_batch(checkpoint: Path) -> None:
    model = stirred(trainable(checkpoint))
    model.network.eval()
    together = model.embed_videos(features(model))
    for video, whole in zip(features(model), together, strict=True):
        alone = model.embed_videos([video])[0]
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
    ("changes", "removed", "remaining"),
    [
        ({"lvlm": False}, ("llava", "text_residual", "video_residual"), ("head.temporal", "head.spatial")),
        ({"inductive": False}, ("head.temporal", "head.spatial", "head.fusion"), ("llava", "text_residual")),
        ({"heads": {**HEADS, "temporal": False}}, ("head.temporal",), ("head.spatial", "head.fusion", "llava")),
        ({"heads": {**HEADS, "spatial": False}}, ("head.spatial",), ("head.temporal", "head.fusion", "llava")),
    ],
)
def test_switches_take_their_own_parts_away_and_no_others(
    checkpoint: Path, changes: dict[str, Any], removed: tuple[str, ...], remaining: tuple[str, ...]
) -> None:
    model = trainable(checkpoint, **changes)
    names = [name for name, _ in model.network.named_parameters()]
    assert not [name for name in names if name.startswith(removed)]
    assert all(any(name.startswith(part) for name in names) for part in remaining)
    assert model.fingerprint() != trainable(checkpoint).fingerprint()
    assert model.embed_videos(features(model))[0].video.shape == (24,)


def test_plain_attention_leaves_out_the_learned_relation(checkpoint: Path) -> None:
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


def test_masked_loss_is_the_prediction_of_masked_key_images_from_the_states_in_their_places(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One video at a time, the masked picture replaced by hand; two of three videos have several key images."""
    model = stirred(trainable(checkpoint))
    model.network.eval()
    network, data = model.network, batch(model)
    llava, mask, images = network.llava, data["video"]["mask"], data["video"]["image"]
    masked = torch.zeros_like(mask)
    masked[0, 1] = masked[1, 0] = masked[2, 3] = True
    monkeypatch.setattr(mmi_network, "_random_mask", lambda mask: masked)
    candidates = normalize(images[mask], dim=-1)
    expected = []
    for row, text in enumerate(TEXTS):
        count = int(mask[row].sum())
        visual = llava.project(data["video"]["patches"][row, :count]).detach().clone()
        place = int(masked[row].nonzero())
        visual[place] = network.masked_image
        inputs = llava.inputs([f"Text: {text} Video: {'<image>' * count}"], visual)
        state = llava.states(inputs)[inputs.ids == llava.base.config.image_token_id][place]
        scores = network.temperature() * normalize(network.guess(state), dim=-1) @ candidates.T
        target = int(mask[:row].sum()) + place
        expected.append(-scores.log_softmax(-1)[target])
    torch.testing.assert_close(network.masked_loss(data), torch.stack(expected).mean(), atol=1e-4, rtol=0)


def test_skeleton_loss_is_cross_entropy_of_the_judges_yes_and_no(checkpoint: Path) -> None:
    model = stirred(trainable(checkpoint))
    model.network.eval()
    network, data = model.network, batch(model)
    pairs = data["skeletons"]
    losses = []
    for text, video, match in zip(pairs["text"], pairs["video"], pairs["match"], strict=True):
        yes, no = network.judge_logits([text], [video])
        p = yes.exp() / (yes.exp() + no.exp())
        losses.append(-(p if match else 1 - p).log())
    torch.testing.assert_close(network.skeleton_loss(data), torch.cat(losses).mean(), atol=1e-5, rtol=0)


def test_key_images_are_masked_with_a_chance_of_15_percent_and_at_least_one_a_video() -> None:
    torch.manual_seed(0)
    mask = torch.arange(40) < torch.tensor([40] * 200 + [1])[:, None]
    masked = mmi_network._random_mask(mask)
    assert not (masked & ~mask).any()
    assert masked.any(dim=1).all()
    assert masked[:200].float().mean() == pytest.approx(0.15, abs=0.02)


def test_residuals_of_the_large_model_read_unit_vectors(checkpoint: Path) -> None:
    """h_v = heads + W_V LVLM_last / |LVLM_last|, h_T = CLIP + W_T LVLM_last / |LVLM_last|."""
    model = stirred(trainable(checkpoint))
    model.network.eval()
    network, data = model.network, batch(model)
    llava, video = network.llava, data["video"]
    head = network.head(video["image"], video["regions"], one_frame_per_segment(video["mask"])).video
    for row, text in enumerate(TEXTS):
        count = int(video["mask"][row].sum())
        visual = llava.project(video["patches"][row, :count])
        state = llava(llava.inputs([f"{'<image>' * count} Represent this video in detail."], visual))[0]
        expected = head[row] + network.video_residual(normalize(state, dim=-1))
        torch.testing.assert_close(network.videos(video).video[row], expected, atol=1e-5, rtol=0)
        state = llava(llava.inputs([f"Represent this text in detail: {text}"]))[0]
        expected = data["clip"][row] + network.text_residual(normalize(state, dim=-1))
        torch.testing.assert_close(network.texts(data["clip"], TEXTS)[row], expected, atol=1e-5, rtol=0)


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
    with pytest.raises(ModelNotFound, match="no trained weights"):
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
    vectors = model.embed_queries([Query("<image> a red circle </s> <image>"), Query("x " * 500)])
    assert np.isfinite(vectors).all()
