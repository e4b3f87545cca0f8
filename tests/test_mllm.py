"""Multimodal embedding models, on random checkpoints of the real classes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import peft
import pytest
import tiny_multimodal
import tiny_towers
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer, Qwen2VLForConditionalGeneration

from mmi_tvr import plugins
from mmi_tvr.errors import ModelNotFound, UsageError
from mmi_tvr.models.mllm import Mllm
from mmi_tvr.types import Features, Query

KINDS = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
TIMES = np.array([[0.0, 2.0, 1.0], [2.0, 4.0, 3.25], [4.0, 5.0, 4.5]])


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: tiny_multimodal.make(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


def built(folder: Path, **options: object) -> Mllm:
    model = plugins.build("models", "mllm", {"checkpoint": str(folder), "image_size": 64, **options}, device="cpu")
    assert isinstance(model, Mllm)
    return model


def pictures(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, 48, 80, 3), dtype=np.uint8))


def plain_state(folder: Path, text: str, **visual: torch.Tensor) -> np.ndarray:
    """The last token's unit vector by a plain forward pass of one prompt."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    types = torch.zeros_like(ids)
    for number, mark in ((1, "<|image_pad|>"), (2, "<|video_pad|>")):
        types[ids == tokenizer.convert_tokens_to_ids(mark)] = number
    model = AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        states = model(input_ids=ids, mm_token_type_ids=types, **visual).last_hidden_state
    vector = states[0, -1].numpy()
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("kind", KINDS)
def test_sentences_of_any_length_together_are_what_each_is_alone(kind: str, checkpoints: dict[str, Path]) -> None:
    model = built(checkpoints[kind], query_instruction="Find it.", batch=2)
    texts = ["a dog", "a red ring moves to the left, then it spins", "x"]
    vectors = model.embed_queries([Query(text) for text in texts])
    for text, vector in zip(texts, vectors, strict=True):
        prompt = f"<|im_start|>system\nFind it.<|im_end|>\n<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
        np.testing.assert_allclose(vector, plain_state(checkpoints[kind], prompt), atol=1e-5)
    assert model.embed_queries([]).shape == (0, tiny_multimodal.HIDDEN)


@pytest.mark.parametrize("kind", KINDS)
def test_key_images_are_the_frames_of_a_video(kind: str, checkpoints: dict[str, Path]) -> None:
    folder = checkpoints[kind]
    model = built(folder, video_instruction="Look.")
    arrays = model.encode_images(pictures(3))
    assert arrays["pixels"].shape == (3, 64, 64, 3)
    (video,) = model.embed_videos([Features(TIMES, arrays)])
    assert (video.video.shape, video.moments.shape) == ((tiny_multimodal.HIDDEN,), (3, tiny_multimodal.HIDDEN))
    processed = AutoImageProcessor.from_pretrained(folder)(images=list(arrays["pixels"]), return_tensors="pt")
    grid, values = processed["image_grid_thw"], processed["pixel_values"]
    count = int(grid[0].prod()) // 4
    if kind == "qwen3_vl":
        one = f"<|vision_start|>{'<|video_pad|>' * count}<|vision_end|>"
        text = "".join(f"<{second} seconds>{one}" for second in ("1.0", "3.2", "4.5"))
    else:
        text = f"<|vision_start|>{'<|video_pad|>' * (3 * count)}<|vision_end|>"
    around = "<|im_start|>system\nLook.<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    whole = torch.tensor([[3, *grid[0, 1:].tolist()]])
    expected = plain_state(folder, around.format(text), pixel_values_videos=values, video_grid_thw=whole)
    np.testing.assert_allclose(video.video, expected, atol=1e-5)
    picture = f"<|vision_start|>{'<|image_pad|>' * count}<|vision_end|>"
    half = values[: len(values) // 3]
    alone = plain_state(folder, around.format(picture), pixel_values=half, image_grid_thw=grid[:1])
    np.testing.assert_allclose(video.moments[0], alone, atol=1e-5)
    together = built(folder, frames="pictures").embed_videos([Features(TIMES, arrays)])[0]
    assert not np.allclose(together.video, video.video, atol=1e-3)
    turned = {"pixels": arrays["pixels"][::-1].copy()}
    assert not np.allclose(model.embed_videos([Features(TIMES, turned)])[0].video, video.video, atol=1e-4)  # order


CHAT = "<|im_start|>system\n{instruction}<|im_end|>\n<|im_start|>user\n{content}<|im_end|>\n<|im_start|>assistant\n"
PUBLISHED = {  # as docs/models.md has them: settings, what is read of a sentence, and of a video, around its marks
    "GME": (
        {"prompt": f"{CHAT}<|endoftext|>"},
        "<|im_start|>system\nFind it.<|im_end|>\n<|im_start|>user\na red ring<|im_end|>\n"
        "<|im_start|>assistant\n<|endoftext|>",
        "<|im_start|>system\nLook.<|im_end|>\n<|im_start|>user\n<|vision_start|>{}<|vision_end|><|im_end|>\n"
        "<|im_start|>assistant\n<|endoftext|>",
    ),
    "VLM2Vec-V2": (
        {"prompt": "{content} {instruction}", "query_prompt": "{instruction} {content}", "bounded": False},
        "Find it. a red ring",
        "{} Look.",
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_prompts_of_gme_and_vlm2vec_are_settings(name: str, checkpoints: dict[str, Path]) -> None:
    """Both are Qwen2-VL. The last token counts, whatever that is."""
    settings, sentence, around = PUBLISHED[name]
    folder = checkpoints["qwen2_vl"]
    model = built(folder, query_instruction="Find it.", video_instruction="Look.", **settings)
    np.testing.assert_allclose(model.embed_queries([Query("a red ring")])[0], plain_state(folder, sentence), atol=1e-5)
    arrays = model.encode_images(pictures(2))
    processed = AutoImageProcessor.from_pretrained(folder)(images=list(arrays["pixels"]), return_tensors="pt")
    grid = processed["image_grid_thw"]
    expected = plain_state(
        folder,
        around.format("<|video_pad|>" * (int(grid.prod(dim=1).sum()) // 4)),
        pixel_values_videos=processed["pixel_values"],
        video_grid_thw=torch.tensor([[2, *grid[0, 1:].tolist()]]),
    )
    (video,) = model.embed_videos([Features(TIMES[:2], arrays)])
    np.testing.assert_allclose(video.video, expected, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_narrower_vector_is_the_beginning_of_the_whole(kind: str, checkpoints: dict[str, Path]) -> None:
    whole, narrow = (built(checkpoints[kind], width=width) for width in (None, 8))
    query = [Query("a dog")]
    start = whole.embed_queries(query)[:, :8]
    np.testing.assert_allclose(narrow.embed_queries(query), start / np.linalg.norm(start), atol=1e-6)
    assert whole.fingerprint() != narrow.fingerprint()
    assert whole.vision_fingerprint() == narrow.vision_fingerprint()  # the cached pixels serve both
    with pytest.raises(UsageError, match="vectors of 32 numbers, not 64"):
        built(checkpoints[kind], width=64)


def test_a_sentence_cannot_speak_as_the_prompt_does(checkpoints: dict[str, Path]) -> None:
    """A mark of pictures in a sentence is text, and no picture that is not there."""
    model = built(checkpoints["qwen2_vl"])
    vectors = model.embed_queries([Query("a <|image_pad|> dog"), Query("a < |image_pad|> dog"), Query("{instruction}")])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)


def test_braces_in_an_instruction_are_characters(checkpoints: dict[str, Path]) -> None:
    """The sentence, and the frames, go where the prompt says, and nowhere else."""
    folder = checkpoints["qwen2_vl"]
    plain = {"prompt": "{instruction} {content}"}
    odd = "Find {content} {video} {x} {"
    (vector,) = built(folder, **plain, query_instruction=odd).embed_queries([Query("a {instruction} dog")])
    np.testing.assert_allclose(vector, plain_state(folder, f"{odd} a {{instruction}} dog"), atol=1e-5)
    model = built(folder, **plain, video_instruction=odd)
    (video,) = model.embed_videos([Features(TIMES[:2], model.encode_images(pictures(2)))])
    assert np.linalg.norm(video.video) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", ["tokenizer.json", "preprocessor_config.json", "model.safetensors"])
def test_a_checkpoint_without_a_part_is_one_line(name: str, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoints["qwen3_vl"], tmp_path / "part"))
    (folder / name).unlink()
    with pytest.raises(ModelNotFound, match=re.escape(str(folder))):
        built(folder)


def test_vectors_that_are_no_numbers_are_refused(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoints["qwen2_vl"], tmp_path / "damaged"))
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("embed_tokens.weight"))
    save_file({**tensors, name: tensors[name] * float("nan")}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelNotFound, match="its vectors are no numbers"):
        built(folder).embed_queries([Query("a dog")])


def test_other_checkpoints_are_refused(tmp_path: Path) -> None:
    clip = tiny_towers.make("clip", tmp_path / "clip")
    with pytest.raises(ModelNotFound, match="a clip checkpoint; this model loads: qwen2_5_vl, qwen2_vl, qwen3_vl"):
        built(clip)
    with pytest.raises(UsageError, match=r"\{content\} stands in it once"):
        built(clip, prompt="Find:")
    with pytest.raises(UsageError, match=r"query_prompt: \{content\} stands in it once"):
        built(clip, query_prompt="{content} {content}")


@pytest.fixture(scope="module", params=["lora", "rslora", "dora"])
def adapter(
    request: pytest.FixtureRequest, checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A random adapter of PEFT on a Qwen2-VL, as it is saved today: its layers are named as transformers names them."""
    kinds = {"use_rslora": request.param == "rslora", "use_dora": request.param == "dora"}
    model = Qwen2VLForConditionalGeneration.from_pretrained(checkpoints["qwen2_vl"])
    # The layers of the language model and, by `qkv`, of the vision tower, as VLM2Vec-V2 trains both.
    adapted = peft.get_peft_model(
        model, peft.LoraConfig(r=3, lora_alpha=12, target_modules=["q_proj", "down_proj", "qkv"], **kinds)
    )
    torch.manual_seed(0)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            parameter.data.add_(torch.randn_like(parameter) * 0.3)
    folder = tmp_path_factory.mktemp("adapter")
    adapted.save_pretrained(folder)
    expected = adapted.merge_and_unload()
    expected.save_pretrained(folder.with_name(f"{folder.name}-merged"))
    for path in checkpoints["qwen2_vl"].iterdir():
        if path.name not in ("config.json", "model.safetensors"):
            shutil.copy(path, folder.with_name(f"{folder.name}-merged"))
    return folder


@pytest.mark.parametrize("names", ["of today", "of former versions"])
def test_an_adapter_is_added_to_its_base(names: str, adapter: Path, tmp_path: Path) -> None:
    """VLM2Vec-V2 is published so. What PEFT merges is the reference."""
    folder = shutil.copytree(adapter, tmp_path / "adapter")
    tensors = load_file(folder / "adapter_model.safetensors")
    assert any(name.startswith("base_model.model.model.language_model.layers") for name in tensors)
    assert any(".visual." in name for name in tensors)
    if names == "of former versions":
        former = {"model.model.language_model.": "model.model.", "model.model.visual.": "model.visual."}
        for today, before in former.items():
            tensors = {name.replace(today, before): tensor for name, tensor in tensors.items()}
        save_file(tensors, folder / "adapter_model.safetensors")
    model, merged = built(folder), built(adapter.with_name(f"{adapter.name}-merged"))
    query, arrays = [Query("a red ring")], model.encode_images(pictures(2))
    np.testing.assert_allclose(model.embed_queries(query), merged.embed_queries(query), atol=1e-5)
    (one,), (other,) = (each.embed_videos([Features(TIMES[:2], arrays)]) for each in (model, merged))
    np.testing.assert_allclose(one.video, other.video, atol=1e-5)
    plain = built(Path(json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]))
    assert not np.allclose(model.embed_queries(query), plain.embed_queries(query), atol=1e-3)
    assert model.fingerprint() != plain.fingerprint()


def test_an_adapter_that_fits_nowhere_is_one_line(adapter: Path, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    def changed(name: str, tensors: dict[str, torch.Tensor] | None = None, **settings: object) -> Path:
        folder = shutil.copytree(adapter, tmp_path / name)
        values = {**json.loads((folder / "adapter_config.json").read_text()), **settings}
        (folder / "adapter_config.json").write_text(json.dumps(values))
        if tensors is not None:
            save_file(tensors, folder / "adapter_model.safetensors")
        return folder

    assert built(changed("moved", base_model_name_or_path="/gone"), base=str(checkpoints["qwen2_vl"])).name == "mllm"
    layer, weight = "base_model.model.model.language_model.layers.0.self_attn.q_proj", torch.ones(3, 32)
    pair = {f"{layer}.lora_A.weight": weight, f"{layer}.lora_B.weight": torch.ones(32, 3)}
    for folder, says in (
        (changed("base", base_model_name_or_path="/gone"), "/gone: no such folder"),
        (changed("type", peft_type="IA3"), "not a LoRA adapter that names its base"),
        (
            changed("saved", modules_to_save=["lm_head"]),
            "modules_to_save is not known here; merge the adapter into its ba",
        ),
        (changed("empty", {}), "holds no LoRA adapter"),
        (
            changed("layer", {name.replace("layers.0", "layers.9"): one for name, one in pair.items()}),
            "has no layer model",
        ),
        (changed("half", {f"{layer}.lora_A.weight": weight}), "q_proj does not fit the model"),
        (changed("size", {**pair, f"{layer}.lora_A.weight": torch.ones(3, 7)}), "q_proj does not fit the model"),
        (
            changed("part", {**pair, f"{layer}.lora_C.weight": weight.clone()}),
            "lora_C.weight is no part of a LoRA adapter",
        ),
    ):
        with pytest.raises(ModelNotFound, match=says):
            built(folder)
