"""Towers of every layout read sentences and pictures as in their training; random weights cannot show it if not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import media_files
import numpy as np
import pytest
import tiny_towers
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_towers import SIZE
from transformers import AutoImageProcessor, AutoModel

from mmi_tvr import keyimages, models, plugins
from mmi_tvr.encoders import clip_settings
from mmi_tvr.encoders.clip import ClipTowers
from mmi_tvr.encoders.clip_vision import ClipPixels, ClipVisionTower
from mmi_tvr.errors import ModelNotFound, UsageError
from mmi_tvr.types import Features, Query, Video
from mmi_tvr.utils.installation import installed


def settings_of(folder: Path) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return settings


def change(path: Path, **changes: Any) -> None:
    """Set values of a file of settings; None: without."""
    settings = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in settings.items() if value is not None}))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {layout: tiny_towers.make(layout, tmp_path_factory.mktemp(layout)) for layout in tiny_towers.LAYOUTS}


@pytest.fixture(scope="module")
def towers(folders: dict[str, Path]) -> dict[str, ClipTowers]:
    return {layout: ClipTowers(folder, "cpu") for layout, folder in folders.items()}


def vocabulary(folder: Path) -> dict[str, int]:
    if (folder / "vocab.txt").is_file():
        return {token: row for row, token in enumerate((folder / "vocab.txt").read_text("utf-8").split("\n"))}
    model = json.loads((folder / "tokenizer.json").read_text("utf-8"))["model"]
    pieces = model["vocab"]
    return pieces if isinstance(pieces, dict) else {piece: row for row, (piece, _) in enumerate(pieces)}


def features(folder: Path, tokens: list[str], length: int, pad: int | None) -> np.ndarray:
    """What the text tower says of these tokens: padded to `length` and all of it read, or bare."""
    ids = [vocabulary(folder)[token] for token in tokens]
    if pad is not None:
        ids += [pad] * (length - len(ids))
    with torch.inference_mode():
        output = AutoModel.from_pretrained(folder).eval().get_text_features(input_ids=torch.tensor([ids])).pooler_output
    return torch.nn.functional.normalize(output, dim=-1).numpy()


@pytest.mark.parametrize(
    ("layout", "sentence", "tokens", "length", "pad"),
    [
        # CLIP: lower case by its tokenizer, words end in </w>, and what comes behind the end token changes nothing.
        ("clip", "A Dog", ["<|startoftext|>", "a</w>", "d", "o", "g</w>", "<|endoftext|>"], 77, None),
        ("metaclip2", "A Dog,  RED!", ["<s>", *"▁A▁Dog,▁RED!", "</s>"], 77, None),
        ("siglip", "A Dog,  isn't RED!", [*"▁a▁dog▁isnt▁red", "</s>"], 64, 1),
        ("siglip2", "A Dog,  isn't RED!", [*"a▁dog▁isnt▁red", "<eos>"], 64, 0),
        ("siglip2_naflex", "A Dog,  isn't RED!", [*"a▁dog▁isnt▁red", "<eos>"], 64, 0),
        ("siglip2", "一只 红狗.", [*"一只▁红狗", "<eos>"], 64, 0),
        ("chinese_clip", "“一只” A", ["[CLS]", '"', "一", "只", '"', "a", "[SEP]"], 52, None),
        # What is longer than the tower reads is cut in front of the end token.
        ("siglip2", "a" * 80, ["a"] * 63 + ["<eos>"], 64, 0),
        ("chinese_clip", "一" * 80, ["[CLS]", *["一"] * 50, "[SEP]"], 52, None),
        ("metaclip2", "a" * 80, ["<s>", "▁", *"a" * 74, "</s>"], 77, None),
    ],
)
def test_sentences_are_read_as_in_training(
    layout: str, sentence: str, tokens: list[str], length: int, pad: int | None, folders: dict[str, Path],
    towers: dict[str, ClipTowers],
) -> None:  # fmt: skip
    alone = towers[layout].embed_texts([sentence])
    np.testing.assert_allclose(alone, features(folders[layout], tokens, length, pad), atol=1e-5)
    beside_a_longer_one = towers[layout].embed_texts([sentence, "a dog " * 9])[:1]
    np.testing.assert_allclose(beside_a_longer_one, alone, atol=1e-5)


def test_a_siglip_that_knows_upper_case_keeps_it(folders: dict[str, Path], tmp_path: Path) -> None:
    cased = shutil.copytree(folders["siglip"], tmp_path / "cased")
    settings = json.loads((cased / "tokenizer_config.json").read_text())
    (cased / "tokenizer_config.json").write_text(json.dumps({**settings, "do_lower_case": False}))
    vectors = ClipTowers(cased, "cpu").embed_texts(["A Dog!"])
    np.testing.assert_allclose(vectors, features(cased, [*"▁A▁Dog", "</s>"], 64, 1), atol=1e-5)


def test_rules_that_change_sentences_are_part_of_the_fingerprint(folders: dict[str, Path]) -> None:
    """Vectors of background sentences are cached under it; those of videos are not touched."""
    by_layout = {layout: models.make(models.section(str(folder))) for layout, folder in folders.items()}
    assert {layout for layout, model in by_layout.items() if model._towers.text_version} == {
        "siglip", "siglip2", "siglip2_naflex", "chinese_clip"
    }  # fmt: skip
    siglip = by_layout["siglip"]
    before = siglip.fingerprint(), siglip.vision_fingerprint()
    siglip._towers.text_version = "otherwise"
    assert siglip.fingerprint() != before[0]
    assert siglip.vision_fingerprint() == before[1]


def test_a_tokenizer_that_its_tower_cannot_read_is_one_line(folders: dict[str, Path], tmp_path: Path) -> None:
    wrong_end = shutil.copytree(folders["metaclip2"], tmp_path / "end")
    settings = json.loads((wrong_end / "config.json").read_text())
    settings["text_config"]["eos_token_id"] = 7
    (wrong_end / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelNotFound, match="ends a sentence with token 2, its text tower looks for 7"):
        ClipTowers(wrong_end, "cpu")
    only_pieces = shutil.copytree(folders["siglip"], tmp_path / "pieces")
    (only_pieces / "tokenizer.json").rename(only_pieces / "spiece.model")
    if not installed("sentencepiece"):
        with pytest.raises(ModelNotFound, match="pip install sentencepiece protobuf"):
            ClipTowers(only_pieces, "cpu")


def test_a_checkpoint_with_code_of_its_own_is_refused_at_once(folders: dict[str, Path], tmp_path: Path) -> None:
    """transformers would ask on the terminal whether it may run it."""
    foreign = shutil.copytree(folders["clip"], tmp_path / "foreign")
    code = {"AutoConfig": "hacked.Config", "AutoModel": "hacked.Model"}
    settings = {**json.loads((foreign / "config.json").read_text()), "auto_map": code}
    (foreign / "hacked.py").write_text("raise SystemExit('ran')")
    (foreign / "config.json").write_text(json.dumps(settings))
    assert ClipTowers(foreign, "cpu").embed_texts(["a"]).shape == (1, 24), "a known layout is loaded without the code"
    (foreign / "config.json").write_text(json.dumps({**settings, "model_type": "foreign_clip"}))
    with pytest.raises(ModelNotFound, match="a foreign_clip checkpoint; this model loads: chinese_clip, clip"):
        ClipTowers(foreign, "cpu")


def reference_pixels(layout: str, picture: Image.Image) -> np.ndarray:
    """Pictures as the layouts' own code prepares them: CLIP crops the middle, the others squeeze the whole."""
    size = tiny_towers.SIZE
    clip_colours = layout in ("clip", "metaclip2", "chinese_clip")
    resample = Image.Resampling.BILINEAR if layout.startswith("siglip2") else Image.Resampling.BICUBIC
    if layout in ("clip", "metaclip2"):
        scale = size / min(picture.size)
        picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), resample)
        left, top = (picture.width - size) // 2, (picture.height - size) // 2
        picture = picture.crop((left, top, left + size, top + size))
    elif layout == "siglip2_naflex":  # 16 patches of 16 x 16: 5 x 3 of a 16:9 picture
        picture = picture.resize((5 * 16, 3 * 16), resample)
    else:
        picture = picture.resize((size, size), resample)
    values = np.asarray(picture, dtype=np.float64) / 255
    mean = np.array([0.48145466, 0.4578275, 0.40821073] if clip_colours else [0.5] * 3)
    std = np.array([0.26862954, 0.26130258, 0.27577711] if clip_colours else [0.5] * 3)
    return (values - mean) / std


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Image.Image, Path]:
    """A picture of coloured shades, and a video that shows nothing else."""
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 256, (9, 16, 3), dtype=np.uint8))
    picture = coarse.resize((640, 360), Image.Resampling.BICUBIC)
    path = tmp_path_factory.mktemp("filmed") / "shades.mp4"
    media_files.make_video(path, pictures=[np.asarray(picture)] * 12, options={"crf": "18"})
    return picture, path


@pytest.mark.parametrize("layout", tiny_towers.LAYOUTS)
def test_pictures_from_the_decoder_are_as_the_layouts_own_code_prepares_them(
    layout: str, towers: dict[str, ClipTowers], filmed: tuple[Image.Image, Path]
) -> None:
    picture, path = filmed
    _, images = keyimages.from_video(Video(path), plugins.build("keyimages", "uniform"), towers[layout].image_size)
    inputs: dict[str, Any] = towers[layout]._processor(images=[images[0].pixels], return_tensors="pt")
    pixels = inputs["pixel_values"][0].numpy()
    reference = reference_pixels(layout, picture)
    if layout == "siglip2_naflex":
        rows, columns = inputs["spatial_shapes"][0].tolist()
        assert (rows, columns) == (3, 5)
        patches = pixels[: rows * columns].reshape(rows, columns, 16, 16, 3)
        pixels = patches.transpose(0, 2, 1, 3, 4).reshape(rows * 16, columns * 16, 3)
    else:
        pixels = pixels.transpose(1, 2, 0)
    assert pixels.shape == reference.shape
    assert np.corrcoef(pixels.ravel(), reference.ravel())[0, 1] > 0.99
    np.testing.assert_allclose(pixels.mean(axis=(0, 1)), reference.mean(axis=(0, 1)), atol=0.05)
    assert towers[layout].embed_images([images[0].pixels]).shape[0] == 1


@pytest.mark.parametrize("legacy_end", [False, True])
@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_the_text_tower_alone_says_what_transformers_says(tmp_path: Path, activation: str, legacy_end: bool) -> None:
    folder = tiny_towers.make("clip", tmp_path / "clip")
    settings = json.loads((folder / "config.json").read_text())
    settings["text_config"]["hidden_act"] = activation
    if legacy_end:  # the end token has the largest number in any case
        settings["text_config"]["eos_token_id"] = 2
    (folder / "config.json").write_text(json.dumps(settings))
    first, both = ClipTowers(folder, "cpu", text_first=True), ClipTowers(folder, "cpu")
    assert "_model" not in vars(first)
    sentences = ["a red dog", "a", "the dog runs " * 40, "一只红狗"]
    np.testing.assert_allclose(first.embed_texts(sentences), both.embed_texts(sentences), atol=1e-6)
    assert "_model" not in vars(first)
    assert first.image_size == both.image_size


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_the_vision_tower_alone_says_what_transformers_says(tmp_path: Path, activation: str) -> None:
    folder = tiny_towers.make("clip", tmp_path / "clip")
    change(folder / "config.json", vision_config={**settings_of(folder)["vision_config"], "hidden_act": activation})
    first, both = ClipTowers(folder, "cpu", text_first=True), ClipTowers(folder, "cpu")
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (*size, 3), np.uint8) for size in ((64, 64), (97, 211), (300, 65), (7, 5))]
    np.testing.assert_allclose(first.embed_images(pictures), both.embed_images(pictures), atol=1e-6)
    assert {"_model", "_processor"}.isdisjoint(vars(first))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "size": SIZE,
            "crop_size": SIZE,
            "image_processor_type": None,
            "feature_extractor_type": "CLIPFeatureExtractor",
        },
        {"size": {"shortest_edge": SIZE + 7}},
        {"resample": 2, "rescale_factor": 1 / 127},
    ],
)
def test_pictures_are_prepared_as_by_transformers(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = tiny_towers.make("clip", tmp_path / "clip")
    change(folder / "preprocessor_config.json", **changes)
    pixels = ClipPixels.read(folder)
    assert pixels is not None
    random = np.random.default_rng(0)
    for size in ((64, 64), (65, 99), (480, 270), (20, 8)):
        picture = random.integers(0, 256, (*size, 3), np.uint8)
        theirs = AutoImageProcessor.from_pretrained(folder)(images=[picture], return_tensors="pt")["pixel_values"]
        torch.testing.assert_close(pixels([picture])["pixel_values"], theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"image_processor_type": "SiglipImageProcessor"},
        {"do_center_crop": False},
        {"size": {"height": SIZE, "width": SIZE}},
        {"crop_size": SIZE + 1},
        {"crop_size": {"height": SIZE, "width": SIZE - 1}},
        {"image_mean": 0.5},
        {"do_pad": True},
    ],
)
def test_other_preparations_are_left_to_transformers(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = tiny_towers.make("clip", tmp_path / "clip")
    change(folder / "preprocessor_config.json", **changes)
    assert ClipPixels.read(folder) is None


def test_a_tower_alone_reads_what_transformers_prepares(tmp_path: Path) -> None:
    folder = tiny_towers.make("clip", tmp_path / "clip")
    change(folder / "preprocessor_config.json", image_mean=0.5)
    first, both = ClipTowers(folder, "cpu", text_first=True), ClipTowers(folder, "cpu")
    picture = [np.full((80, 70, 3), 90, np.uint8)]
    np.testing.assert_allclose(first.embed_images(picture), both.embed_images(picture), atol=1e-6)
    assert "_model" not in vars(first)


@pytest.mark.parametrize(
    "damage",
    [
        lambda tensors: tensors.pop("vision_model.post_layernorm.weight"),
        lambda tensors: tensors.update({"visual_projection.weight": torch.zeros(24, 31)}),
        lambda tensors: tensors.update({"vision_model.encoder.layers.1.mlp.fc1.weight": torch.zeros(63, 32)}),
    ],
)
def test_a_vision_tower_of_other_weights_is_left_to_transformers(tmp_path: Path, damage: Callable[..., Any]) -> None:
    folder = tiny_towers.make("clip", tmp_path / "clip")
    tensors = load_file(folder / "model.safetensors")
    damage(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert ClipVisionTower.read(folder, clip_settings.read(folder), torch.device("cpu")) is None


def test_other_layouts_are_read_whole(folders: dict[str, Path]) -> None:
    assert "_model" in vars(ClipTowers(folders["siglip"], "cpu", text_first=True))


def test_cut_weights_are_one_line(tmp_path: Path) -> None:
    folder = tiny_towers.make("clip", tmp_path / "clip")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelNotFound, match="not a checkpoint of the CLIP layout"):
        ClipTowers(folder, "cpu")


@pytest.mark.parametrize("layout", tiny_towers.LAYOUTS)
def test_a_checkpoint_without_its_tokenizer_is_one_line(layout: str, folders: dict[str, Path], tmp_path: Path) -> None:
    """transformers makes a tokenizer that knows no word, and every sentence is the same then."""
    folder = Path(shutil.copytree(folders[layout], tmp_path / layout))
    for name in ("tokenizer.json", "vocab.json", "merges.txt", "vocab.txt"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(ModelNotFound, match="its tokenizer"):
        ClipTowers(folder, "cpu", text_first=True).embed_texts(["a red dog"])


@pytest.mark.parametrize("text_first", [True, False])
@pytest.mark.parametrize("layout", ["clip", "siglip", "metaclip2", "chinese_clip"])
def test_pictures_of_another_size_than_the_tower_reads_are_one_line(
    layout: str, text_first: bool, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(folders[layout], tmp_path / layout))
    settings = folder / "preprocessor_config.json"
    picture = np.zeros((80, 80, 3), np.uint8)
    change(settings, size=None, crop_size=None)  # those of the class: 224
    with pytest.raises(ModelNotFound, match=f"makes pictures of 224 x 224, and its tower reads {SIZE} x {SIZE}"):
        ClipTowers(folder, "cpu", text_first=text_first).embed_images([picture])
    settings.unlink()
    with pytest.raises(ModelNotFound, match=r"not a checkpoint of the CLIP layout: .*image processor"):
        ClipTowers(folder, "cpu", text_first=text_first).embed_images([picture])


@pytest.mark.parametrize("side", ["text", "visual"])
def test_damaged_weights_make_no_vectors(side: str, folders: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders["clip"], tmp_path / "clip"))
    tensors = load_file(folder / "model.safetensors")
    tensors[f"{side}_projection.weight"][0, 0] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    towers = ClipTowers(folder, "cpu", text_first=True)
    with pytest.raises(ModelNotFound, match="its vectors are no numbers"):
        towers.embed_texts(["a dog"]) if side == "text" else towers.embed_images([np.ones((9, 9, 3), np.uint8)])


def test_narrower_vectors_are_the_beginning_of_the_whole(folders: dict[str, Path]) -> None:
    whole, narrow = (
        plugins.build("models", "clip4clip", {"checkpoint": str(folders["clip"]), "width": width}, device="cpu")
        for width in (None, 8)
    )
    arrays = whole.encode_images(list(np.random.default_rng(0).integers(0, 256, (3, 70, 80, 3), dtype=np.uint8)))
    features = Features(np.array([[0.0, 1, 0], [1, 2, 1], [2, 3, 2]]), arrays)
    (video,), (cut,) = whole.embed_videos([features]), narrow.embed_videos([features])
    moments = video.moments[:, :8] / np.linalg.norm(video.moments[:, :8], axis=1, keepdims=True)
    np.testing.assert_allclose(cut.moments, moments, atol=1e-6)
    mean = moments.mean(axis=0)
    np.testing.assert_allclose(cut.video, mean / np.linalg.norm(mean), atol=1e-6)
    start = whole.embed_queries([Query("a dog")])[:, :8]
    np.testing.assert_allclose(narrow.embed_queries([Query("a dog")]), start / np.linalg.norm(start), atol=1e-6)
    assert whole.vision_fingerprint() == narrow.vision_fingerprint()  # what is cached serves both
    assert whole.fingerprint() != narrow.fingerprint()
    wide = plugins.build("models", "clip4clip", {"checkpoint": str(folders["clip"]), "width": 25}, device="cpu")
    with pytest.raises(UsageError, match="vectors of 24 numbers, not 25"):
        wide.embed_queries([Query("a dog")])
