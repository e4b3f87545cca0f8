"""CLIP-ViP: published pickles as folders, and the vision tower against the published equations (plain_clip_vip)."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import media_files
import numpy as np
import pytest
import tiny_towers
import torch
from PIL import Image
from plain_clip_vip import video_vector
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

from mmi_tvr import Library, models
from mmi_tvr.cli import app
from mmi_tvr.encoders.clip import ClipTowers
from mmi_tvr.encoders.clip_vip_file import convert
from mmi_tvr.errors import ModelNotFound, UsageError
from mmi_tvr.models._clip_vip import ClipVip
from mmi_tvr.types import Features, Query

EMBEDDINGS = "clipmodel.vision_model.embeddings"
TIMES = np.array([[0.0, 1.0, 0.5], [1.0, 2.0, 1.5], [2.0, 3.0, 2.5]])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CLIP that it begins as."""
    folder = tiny_towers.make("clip", tmp_path_factory.mktemp("base") / "clip")
    settings = json.loads((folder / "config.json").read_text())
    assert settings["vision_config"]["hidden_act"] == "quick_gelu"
    return folder


def published(clip: Path, file: Path, **changes: Tensor | None) -> Path:
    """Write what the authors publish: names of VidCLIP's state, with the buffers of former versions of transformers."""
    torch.manual_seed(1)
    state = {f"clipmodel.{name}": tensor for name, tensor in load_file(clip / "model.safetensors").items()}
    state |= {f"{EMBEDDINGS}.added_cls": torch.randn(3, 32), f"{EMBEDDINGS}.temporal_embedding": torch.randn(1, 4, 32)}
    state |= {f"{EMBEDDINGS}.position_ids": torch.arange(17)[None]}
    state |= {"clipmodel.text_model.embeddings.position_ids": torch.arange(77)[None]}
    for name, tensor in changes.items():
        key = f"{EMBEDDINGS}.{name}"
        state = {one: value for one, value in state.items() if one != key} | ({} if tensor is None else {key: tensor})
    torch.save(state, file)
    return file


@pytest.fixture(scope="module")
def folder(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("vip")
    convert(published(clip, home / "pretrain_clipvip_base_32.pt"), home / "vip", clip)
    return home / "vip"


@pytest.fixture(scope="module")
def model(folder: Path) -> ClipVip:
    built = models.make(models.section(str(folder)))
    assert isinstance(built, ClipVip)
    return built


def pictures(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, 48, 80, 3), dtype=np.uint8))


def test_a_converted_folder_has_the_published_names_and_settings(folder: Path, clip: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    assert {name for name in tensors if not name.startswith("clipmodel.")} == set()
    assert tensors[f"{EMBEDDINGS}.added_cls"].shape == (3, 32)
    settings = json.loads((folder / "config.json").read_text())
    assert settings["vision_additional_config"] == {
        "type": "ViP", "temporal_size": 4, "if_use_temporal_embed": 1, "add_cls_num": 3
    }  # fmt: skip
    assert settings["model_type"] == "clip_vip"
    assert settings["text_config"] == json.loads((clip / "config.json").read_text())["text_config"]


@pytest.mark.parametrize("frames", [1, 3, 4, 6])
def test_a_video_is_read_by_the_published_equations(frames: int, folder: Path, model: ClipVip) -> None:
    """Of as many frames as there are places in time, of fewer and of more."""
    arrays = model.encode_images(pictures(frames))
    size = (tiny_towers.SIZE, tiny_towers.SIZE)
    squeezed = [np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BICUBIC)) for one in pictures(frames)]
    np.testing.assert_array_equal(arrays["pixels"], squeezed)
    times = np.array([[one, one + 1, one + 0.5] for one in range(frames)])
    (video,) = model.embed_videos([Features(times, arrays)])
    tensors, settings = load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())
    np.testing.assert_allclose(video.video, video_vector(tensors, settings, arrays["pixels"]), atol=2e-5)
    alone = torch.stack([video_vector(tensors, settings, one[None]) for one in arrays["pixels"]])
    np.testing.assert_allclose(video.moments, alone, atol=2e-5)


def test_order_counts(model: ClipVip) -> None:
    arrays = model.encode_images(pictures(3))
    turned = {"pixels": arrays["pixels"][::-1].copy()}
    there, back = model.embed_videos([Features(TIMES, arrays), Features(TIMES, turned)])
    assert not np.allclose(there.video, back.video, atol=1e-4)
    np.testing.assert_allclose(there.moments, back.moments[::-1], atol=1e-6)


def test_a_tower_without_places_in_time(clip: Path, tmp_path: Path) -> None:
    file = published(clip, tmp_path / "plain.pt", temporal_embedding=None)
    additions = convert(file, tmp_path / "vip", clip)
    assert (additions["if_use_temporal_embed"], additions["temporal_size"]) == (0, 0)
    model = models.make(models.section(str(tmp_path / "vip")))
    arrays = model.encode_images(pictures(2))
    (video,) = model.embed_videos([Features(TIMES[:2], arrays)])
    tensors = load_file(tmp_path / "vip" / "model.safetensors")
    settings = json.loads((tmp_path / "vip" / "config.json").read_text())
    np.testing.assert_allclose(video.video, video_vector(tensors, settings, arrays["pixels"]), atol=2e-5)


def test_sentences_are_read_as_by_its_clip(model: ClipVip, clip: Path) -> None:
    """Whose text tower it has: here with the same weights."""
    sentences = ["a red dog", "a", "the dog runs " * 40]
    vectors = model.embed_queries([Query(sentence) for sentence in sentences])
    np.testing.assert_allclose(vectors, ClipTowers(clip, "cpu").embed_texts(sentences), atol=1e-5)
    assert model.characters_read("a " * 90) < 180


def test_pixels_serve_every_checkpoint_and_vectors_one(clip: Path, model: ClipVip, tmp_path: Path) -> None:
    convert(published(clip, tmp_path / "other.pt", added_cls=torch.zeros(2, 32)), tmp_path / "other", clip)
    other = models.make(models.section(str(tmp_path / "other")))
    assert other.vision_fingerprint() == model.vision_fingerprint()
    assert other.fingerprint() != model.fingerprint()


def test_other_models_refuse_it(folder: Path) -> None:
    with pytest.raises(ModelNotFound, match="a clip_vip checkpoint; this model loads"):
        ClipTowers(folder, "cpu")


def test_a_library_is_searched_with_it(folder: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for number, one in enumerate(pictures(3)):
        media_files.make_video(videos / f"{number}.mp4", pictures=[one] * 12)
    library = Library(tmp_path / "library", model=models.section(str(folder)))
    library.index([videos])
    assert len(library.search("a red dog", min_relevance=0).hits) == 3
    picture = tmp_path / "like.png"
    Image.fromarray(pictures(3)[2]).save(picture)
    assert Path(library.search("", like=picture, min_relevance=0).hits[0].path).name == "2.mp4"


def test_what_is_no_clip_vip_is_one_line(clip: Path, folder: Path, tmp_path: Path) -> None:
    file = published(clip, tmp_path / "file.pt")
    with pytest.raises(UsageError, match="not an empty folder"):
        convert(file, folder, clip)
    with pytest.raises(ModelNotFound, match="no such file"):
        convert(tmp_path / "nothing.pt", tmp_path / "out", clip)
    with pytest.raises(ModelNotFound, match="not a CLIP checkpoint"):
        convert(file, tmp_path / "out", folder)
    for changes, says in (
        ({"added_cls": None}, "it has no vision_model.embeddings.added_cls"),
        ({"added_cls": torch.zeros(3)}, r"added_cls is \[3\]"),
        ({"added_cls": torch.zeros(3, 7)}, r"added_cls is \[3, 7\], and \[3, 32\] is what goes with its CLIP"),
        ({"class_embedding": None}, "lacks 1 weight of its layout: vision_model.embeddings.class_embedding"),
        ({"class_embedding": torch.full((32,), torch.nan)}, "not finite"),
    ):
        with pytest.raises(ModelNotFound, match=says):
            convert(published(clip, tmp_path / "broken.pt", **changes), tmp_path / "out", clip)
    for value in (
        torch.zeros(3, 32).to_sparse(),
        torch.zeros(3, 32, device="meta"),
        torch.zeros(3, 32, dtype=torch.complex64),
        torch.zeros(3, 32).to(torch.float8_e4m3fn),
    ):
        with pytest.raises(ModelNotFound, match=r"added_cls is sparse, .*; save it dense"):
            convert(published(clip, tmp_path / "broken.pt", added_cls=value), tmp_path / "out", clip)
    torch.save({"state_dict": {"added": print}}, tmp_path / "code.pt")
    with pytest.raises(ModelNotFound, match="which was not run"):
        convert(tmp_path / "code.pt", tmp_path / "out", clip)
    assert not (tmp_path / "out").exists()
    for settings in (
        {"vision_additional_config": None},
        {"vision_additional_config": {"add_cls_num": 3}, "text_config": 1},
    ):
        damaged = tmp_path / "damaged"
        damaged.mkdir(exist_ok=True)
        values = {**json.loads((folder / "config.json").read_text()), **settings}
        (damaged / "config.json").write_text(json.dumps(values))
        with pytest.raises(ModelNotFound, match=r"damaged .*; convert it once more"):
            models.make(models.section(str(damaged)))
    tensors = load_file(folder / "model.safetensors")
    del tensors[f"{EMBEDDINGS}.temporal_embedding"]
    (damaged / "config.json").write_text((folder / "config.json").read_text())
    save_file(tensors, damaged / "model.safetensors")
    with pytest.raises(ModelNotFound, match="lacks 1 weight of its layout"):
        models.make(models.section(str(damaged)))


def test_a_conversion_that_fails_at_writing_leaves_nothing(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    file = published(clip, tmp_path / "file.pt")
    monkeypatch.setattr("mmi_tvr.encoders.clip_vip_file.write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        convert(file, tmp_path / "out", clip)
    assert [path.name for path in tmp_path.iterdir()] == ["file.pt"]


def test_a_conversion_follows_links(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "empty")
    convert(published(clip, tmp_path / "file.pt"), tmp_path / "out", clip)
    assert (tmp_path / "empty" / "model.safetensors").is_file()
    assert (tmp_path / "out").is_symlink()


def test_the_command_converts(clip: Path, tmp_path: Path) -> None:
    file = published(clip, tmp_path / "file.pt")
    result = CliRunner().invoke(
        app.app, ["data", "convert-clip-vip", str(file), str(tmp_path / "vip"), "--clip", str(clip)]
    )
    assert result.exit_code == 0, result.output
    assert "4 places in time, 4 proxies of a video" in " ".join(result.output.split())
    assert models.make(models.section(str(tmp_path / "vip"))).name == "clip4clip"
