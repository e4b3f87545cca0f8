"""Towers that have seen drawn people, and the encoder of their faces: data, parts, and both runs from end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mmi_tvr import plugins
from mmi_tvr.datasets.moving_faces import TEST, Dice, differences, held_out, render_frames, scenes
from mmi_tvr.encoders import hub
from mmi_tvr.encoders.clip import ClipTowers
from mmi_tvr.errors import UsageError
from mmi_tvr.experiments.pretrain import face_encoder, face_run, layout
from mmi_tvr.experiments.pretrain.face_encoder import FacePictures, pretrain_encoder, verification
from mmi_tvr.experiments.pretrain.face_run import pretrain_towers, take_on_vision
from mmi_tvr.experiments.pretrain.faces import CLASSES, FaceBatches, draw_face
from mmi_tvr.experiments.pretrain.options import FaceStageOptions
from mmi_tvr.nn.drawn_faces import SIDE, DrawnFaceNetworks, crops
from mmi_tvr.nn.losses import IGNORE_INDEX, info_nce
from mmi_tvr.protocols import FaceEncoder


def test_batches_are_drawn_anew_and_the_same_again() -> None:
    first, again, other = (FaceBatches(3, 0).batch(number) for number in (0, 0, 1))
    assert first["texts"] == again["texts"] != other["texts"]
    assert torch.equal(first["pixels"], again["pixels"])
    resumed = next(FaceBatches(3, 0).epoch(0, skip=1))
    assert resumed["texts"] == other["texts"]


def test_a_text_states_what_its_own_picture_shows() -> None:
    batch = FaceBatches(40, 0).batch(0)
    shown, stated = batch["shown"], batch["stated"]
    assert shown.shape == (40, len(CLASSES))
    assert ((stated == shown) | (stated == IGNORE_INDEX)).all()
    assert (stated[["stripes" in text for text in batch["texts"]]][:, -1] == 2).all()
    assert 0 < (stated == IGNORE_INDEX).float().mean() < 1


def test_nobody_like_the_people_of_validation_and_test_is_trained_on() -> None:
    people = held_out()
    dice = Dice(1)
    for _ in range(20):
        _, looks = draw_face(dice)
        assert min(differences(looks, other) for other in people) >= 3
    assert draw_face(dice, held_out_people=True)[1] in people


def test_a_text_is_no_negative_of_a_picture_that_it_is_true_of() -> None:
    torch.manual_seed(0)
    text, video, scale = torch.randn(3, 8), torch.randn(3, 8), torch.tensor(5.0)
    rows, true = torch.arange(3), torch.eye(3, dtype=torch.bool)
    plain = info_nce(text, video, scale)
    torch.testing.assert_close(plain, info_nce(text, video, scale, rows, true_of=lambda t, v: true[t][:, v]))
    true[0, 1] = True  # text 0 is true of picture 1
    logits = scale * torch.nn.functional.normalize(text, dim=-1) @ torch.nn.functional.normalize(video, dim=-1).T
    masked = logits.masked_fill(true & ~torch.eye(3, dtype=torch.bool), -torch.inf)
    expected = (torch.nn.functional.cross_entropy(masked, rows) + torch.nn.functional.cross_entropy(masked.T, rows)) / 2
    torch.testing.assert_close(info_nce(text, video, scale, rows, true_of=lambda t, v: true[t][:, v]), expected)


def test_a_vision_tower_is_taken_on_for_larger_pictures() -> None:
    tensors = hub.checkpoint_tensors(hub.locate("moving-shapes/base/clip"))
    tokenizer = layout.clip_tokenizer(["a person"])
    clip = layout.new_clip(tokenizer, 64)
    take_on_vision(clip, tensors)
    positions = clip.vision_model.embeddings.position_embedding.weight
    assert positions.shape == (65, layout.WIDTH)
    name = "vision_model.embeddings.position_embedding.weight"
    torch.testing.assert_close(positions[0], tensors[name][0].float())
    same = layout.new_clip(tokenizer)
    take_on_vision(same, tensors)
    torch.testing.assert_close(same.vision_model.embeddings.position_embedding.weight, tensors[name].float())


def test_towers_are_made_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for constant in ("_VALIDATION", "_TOKENIZER_NAMES"):
        monkeypatch.setattr(face_run, constant, 12)
    monkeypatch.setattr(face_run, "_TOKENIZER_BATCHES", 1)
    options = FaceStageOptions(steps=2, batch=4, precision="float32")
    recall = pretrain_towers(tmp_path, options, cpu=True)
    assert 0 <= recall <= 100
    towers = ClipTowers(tmp_path / "clip", "cpu")
    assert towers.image_size == 64
    picture = render_frames(scenes("test", "videos", 1)[0], [0.0], 64)
    assert towers.embed_images(list(picture)).shape == (1, layout.WIDTH)
    assert towers.embed_texts(["a person with red hair"]).shape == (1, layout.WIDTH)


def test_the_encoder_is_made_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face_encoder, "_PAIRS_PICTURES", 2)
    figures = pretrain_encoder(tmp_path, FaceStageOptions(steps=2, batch=4, precision="float32"), cpu=True)
    assert {name: one.pairs for name, one in figures.items()} == {"val": 199 * 100, "test": 199 * 100}
    assert 0 < figures["test"].error_rate <= 60
    encoder = plugins.build("people.faces", "drawn", {"weights": str(tmp_path / face_encoder.FILE), "confidence": 0.01})
    assert isinstance(encoder, FaceEncoder)
    picture = render_frames(scenes("test", "videos", 1)[0], [0.0], 64)[0]
    assert encoder.describe(picture, []).shape == (0, 128)
    faces = encoder.detect(picture)
    for face in faces:
        left, top, right, bottom = face.box
        assert 0 <= left <= right <= 64
        assert 0 <= top <= bottom <= 64
    np.testing.assert_allclose(np.linalg.norm(encoder.describe(picture, faces), axis=1), 1, rtol=1e-5)


def test_a_detector_says_where_a_face_is() -> None:
    """Weights by hand: one cell is certain, and its box is the usual one around the middle of the cell."""
    networks = DrawnFaceNetworks().eval()
    last: Any = networks.detector[-1]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    logits, boxes = networks.cells(torch.zeros(1, 3, 64, 48))
    assert logits.shape == (1, 16, 12)
    assert boxes[0, 2, 5].tolist() == [22 - 13, 10 - 13, 22 + 13, 10 + 13]


def test_crops_show_the_box_and_a_margin() -> None:
    picture = torch.zeros(1, 3, 64, 64)
    picture[:, 0, 20:40, 10:30] = 1
    crop = crops(picture, torch.tensor([[10.0, 20.0, 30.0, 40.0]]))[0, 0]
    inside = round(SIDE / 1.3)
    assert crop.shape == (SIDE, SIDE)
    assert abs(float(crop.mean()) - (inside / SIDE) ** 2) < 0.03
    assert crop[SIDE // 2, SIDE // 2] == 1
    assert crop[0, 0] == 0


def test_verification_counts_both_errors() -> None:
    cosines = np.array([0.9, 0.8, 0.7, 0.2, 0.75, 0.1, 0.0, -0.5])
    same = np.array([True, True, True, True, False, False, False, False])
    figures = verification(cosines, same, 100.0)
    assert (figures.error_rate, figures.threshold, figures.pairs) == (25.0, 0.7, 8)
    perfect = verification(np.array([0.9, 0.1]), np.array([True, False]), 100.0)
    assert (perfect.error_rate, perfect.threshold) == (0.0, 0.9)


def test_jittered_boxes_are_near_the_true_ones() -> None:
    batch = FacePictures(TEST, 4, 0).batch([500, 501, 502, 503], Dice(0))
    sides = batch["boxes"][:, 2] - batch["boxes"][:, 0]
    moved = (batch["jittered"] - batch["boxes"]).abs() / sides[:, None]
    assert 0 < float(moved.max()) < 0.17
    assert batch["people"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("damage", ["missing", "text", "other tensors"])
def test_other_weights_are_one_line(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "faces.safetensors"
    if damage == "text":
        path.write_text("no tensors")
    elif damage == "other tensors":
        save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(UsageError, match=r"faces\.safetensors: not the face networks"):
        plugins.build("people.faces", "drawn", {"weights": str(path)})
